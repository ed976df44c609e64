"""Debian's Apache with mod_auth_openidc, by a configuration of our own on a free port, apart from the service of the machine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests import parts
from tests.integrate.conftest import answering
from tests.integrate.guides import EXAMPLES
from tests.serving import HOME

_MODULES: Final = ("mpm_event", "authn_core", "authz_core", "authz_user", "dir", "mime", "include", "auth_openidc")
_USER: Final = "User www-data\nGroup www-data" if os.getuid() == 0 else ""
"""Apache that root starts does its work as another user, as Debian's own does."""
_PUBLIC: Final = '<p>For everyone.</p><a href="/members/">Members</a>'
_MEMBERS: Final = """<p>You are <!--#echo var="OIDC_CLAIM_phone_number" -->, with the id <!--#echo var="REMOTE_USER" -->.</p>
<a href="/members/callback?logout=SITE_URL/">Sign out</a>"""


@contextmanager
def apache(port: int, environment: dict[str, str]) -> Iterator[None]:
    """A site with a page for everyone and one for people who are signed in, with the settings of the guide."""
    program, modules = parts.program("apache2"), Path(parts.program("mod_auth_openidc.so")).parent
    folder = Path(tempfile.mkdtemp(prefix="hammer-apache-"))  # the folders of pytest are closed to other users
    pages = folder / "pages"
    lines = [
        "ServerName localhost",
        f"Listen {HOME}:{port}",
        "PidFile apache.pid",
        "DefaultRuntimeDir .",
        "Mutex file:. default",
        "ErrorLog /dev/stderr",
        *(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in _MODULES),
        _USER,
        f"DocumentRoot {pages}",
        "DirectoryIndex index.shtml",
        "TypesConfig /dev/null",
        "AddType text/html .shtml",
        "AddOutputFilter INCLUDES .shtml",
        f"<Directory {pages}>",
        "Options +Includes",
        "</Directory>",
        f"Include {EXAMPLES / 'mod_auth_openidc.conf'}",
    ]
    try:
        folder.chmod(0o755)
        (pages / "members").mkdir(parents=True)
        (pages / "index.shtml").write_text(_page(_PUBLIC))
        (pages / "members" / "index.shtml").write_text(_page(_MEMBERS.replace("SITE_URL", environment["SITE_URL"])))
        (folder / "apache.conf").write_text("\n".join(lines))
        command = (program, "-DFOREGROUND", "-d", str(folder), "-f", str(folder / "apache.conf"))
        with answering(command, pages, environment, port):
            yield
    finally:
        shutil.rmtree(folder)


def _page(words: str) -> str:
    return f'<!doctype html><link rel=icon href="data:,"><title>Site</title>{words}'
