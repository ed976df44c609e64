"""The proxies of `docs/deploy/`, each with the very file that stands there, on ports and with a certificate of the tests' own."""

import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.deployment.peers import Peer, answers, wait_until
from tests.serving import ROOT, free_port

DEPLOY = ROOT / "docs" / "deploy"


@contextmanager
def nginx(home: Path, upstream: int) -> Iterator[int]:
    """`docs/deploy/nginx.conf` before a port of this machine. Yields the port that it answers on, by TLS."""
    plain, secure = free_port(), free_port()
    make_certificate(home)
    swapped = {
        "listen 80;": f"listen 127.0.0.1:{plain};", "listen [::]:80;": "", "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
        "listen [::]:443 ssl http2;": "", "/etc/ssl/certs/": f"{home}/", "/etc/ssl/private/": f"{home}/",
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
    }  # fmt: skip
    site = with_replaced("nginx.conf", swapped)
    around = f"daemon off; pid {home}/nginx.pid; error_log stderr; events {{}} http {{ {_places(home)}\n{site} }}"
    (home / "nginx.conf").write_text(around)
    with _running(["nginx", "-c", str(home / "nginx.conf"), "-p", str(home)], home / "nginx.log", secure):
        yield secure


@contextmanager
def haproxy(home: Path, upstream: int) -> Iterator[int]:
    """`docs/deploy/haproxy.cfg` before a port of this machine, in place of two hosts. Yields the port as `nginx` does."""
    secure = free_port()
    make_certificate(home)
    swapped = {
        "bind :443": f"bind 127.0.0.1:{secure}", "/etc/haproxy/": f"{home}/", "10.0.0.11:8000": f"127.0.0.1:{upstream}",
        "    server web2 10.0.0.12:8000\n": "",
    }  # fmt: skip
    (home / "haproxy.cfg").write_text(BEFORE_HAPROXYS + with_replaced("haproxy.cfg", swapped))
    with _running(["haproxy", "-db", "-f", str(home / "haproxy.cfg")], home / "haproxy.log", secure):
        yield secure


BEFORE_HAPROXYS = "global\n    log /dev/log local0\ndefaults\n    log global\n    timeout client 30s\n"
"""What Debian's own file has before ours, as far as ours needs it."""


def make_certificate(home: Path) -> None:
    """`hammer.key`, and `hammer.pem` with both the certificate and the key."""
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=login.example.com"]
    subprocess.run([*make, "-keyout", "hammer.key", "-out", "hammer.pem"], cwd=home, check=True, capture_output=True)
    with (home / "hammer.pem").open("a") as certificate:
        certificate.write((home / "hammer.key").read_text())


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a certificate that the test has just made
    return context


def with_replaced(name: str, swapped: Mapping[str, str]) -> str:
    text = (DEPLOY / name).read_text()
    for old, new in swapped.items():
        assert old in text, f"docs/deploy/{name} has no {old!r} any more."
        text = text.replace(old, new)
    return text


def _places(home: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)


@contextmanager
def _running(command: list[str], log: Path, port: int) -> Iterator[None]:
    server = Peer(command, log).start()
    try:
        wait_until(lambda: answers("127.0.0.1", port), command[0])
        yield
    finally:
        server.stop()
