"""Programs that nobody here wrote and that some tests need: Chromium, Kannel, PostgreSQL, Redis, proxies."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

PACKAGES: Final = {
    "bearerbox": "kannel",
    "chromium": "chromium",
    "docker-compose": "docker-compose",
    "drive_smpp": "kannel-extras",
    "fakesmsc": "kannel-extras",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "postgres": "postgresql",
    "redis-server": "redis-server",
    "smsbox": "kannel",
    "systemd-analyze": "systemd",
}
"""Program -> the package of Debian that has it; `.ci/run` installs all of them."""
_POSTGRESQL: Final = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
_PLACES: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/kannel/test", *_POSTGRESQL])


def program(name: str) -> str:
    """Where it is installed, or where `TEST_CHROMIUM` says that it is.

    Where it is missing, whatever needs it is skipped and says what to install; in CI, where nobody looks at what was skipped, it
    fails.
    """
    found = os.environ.get(f"TEST_{name.upper()}") or shutil.which(name, path=_PLACES)
    if found:
        return found
    sentence = f"This needs {name}: apt-get install {PACKAGES[name]}"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)
