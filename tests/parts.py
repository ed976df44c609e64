"""Programs of others that some tests need: Apache, Chromium, Kannel, PostgreSQL, Prometheus, Redis, proxies."""

import os
import re
import shutil
from pathlib import Path
from typing import Final

import pytest

PACKAGES: Final = {
    "apache2": "apache2-bin",
    "bearerbox": "kannel",
    "chromium": "chromium",
    "docker-compose": "docker-compose",
    "drive_smpp": "kannel-extras",
    "etcd": "etcd-server",
    "fakesmsc": "kannel-extras",
    "haproxy": "haproxy",
    "javac": "default-jdk-headless",
    "mod_auth_openidc.so": "libapache2-mod-auth-openidc",
    "nginx": "nginx-light",
    "node": "nodejs",
    "openssl": "openssl",
    "patroni": "patroni",
    "pgbouncer": "pgbouncer",
    "postgres": "postgresql",
    "promtool": "prometheus",
    "redis-server": "redis-server",
    "smsbox": "kannel",
    "systemd-analyze": "systemd",
}
"""Program, or module of Apache -> the Debian package that has it. `.ci/run` installs all of them, except those of tests marked
`cluster`."""
_POSTGRESQL: Final = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
_FURTHER: Final = ("/usr/sbin", "/usr/lib/apache2/modules", "/usr/lib/kannel/test")
_PLACES: Final = os.pathsep.join([os.environ.get("PATH", ""), *_FURTHER, *_POSTGRESQL])


def program(name: str) -> str:
    """The path of a program: the one in `TEST_CHROMIUM` (for Chromium), or the one that is installed.

    If it is missing, the test is skipped with a reason that names the package. In CI (the variable `CI` is set) the test fails
    instead, because a skipped test is easily overlooked there.
    """
    mode = os.F_OK if name.endswith(".so") else os.F_OK | os.X_OK
    found = os.environ.get(f"TEST_{name.upper()}") or shutil.which(name, mode, _PLACES)
    if found:
        return found
    sentence = f"This needs {name}: apt-get install {PACKAGES[name]}"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


def packages_in(sentence: str) -> list[str]:
    """The packages that a reason for a skip names."""
    return re.findall(r"apt-get install (\S+)", sentence)
