"""Servers on loopback that answer as a test says, byte by byte if it wants, with and without TLS."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hammer import clock

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answer = Callable[[socket.socket, "Server"], object]


@dataclass
class Server:
    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """The names that clients asked for in TLS (SNI)."""
    stopped: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when a client closed its connection before the whole answer was sent."""


def fixed(answer: bytes) -> Answer:
    """An answer that is sent at once."""
    return lambda connection, _: connection.sendall(answer)


def dripping(beginning: bytes, drop: bytes, end: bytes = b"", *, drops: int = 400) -> Answer:
    """An answer of which a part comes every 50 ms, for 20 seconds."""

    def answer(connection: socket.socket, server: Server) -> None:
        connection.sendall(beginning)
        for _ in range(drops):
            if server.stopped.wait(0.05):
                return
            connection.sendall(drop)
        connection.sendall(end)

    return answer


@contextmanager
def serving(
    answer: Answer, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None, reads: bool = True
) -> Iterator[Server]:
    """Listens until the end of the block. Reads one request of each connection, unless `reads` is off, and answers it."""
    listener = socket.create_server((host, port), backlog=50)
    listener.settimeout(0.05)
    server = Server(listener.getsockname()[1])
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: server.names.append(name)

    def serve(connection: socket.socket) -> None:
        try:
            with connection, tls.wrap_socket(connection, server_side=True) if tls else connection as plain:
                if reads:
                    server.requests.append(_request(plain))
                answer(plain, server)
        except OSError:
            server.gone.set()

    def accept() -> None:
        while not server.stopped.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                connection.settimeout(30)
                server.connections += 1
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    threads: list[threading.Thread] = []
    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield server
    finally:
        server.stopped.set()
        accepting.join()
        for thread in threads:
            thread.join()
        listener.close()


def _request(connection: socket.socket) -> bytes:
    """The whole request, with a body of the length that it states."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += connection.recv(4096) or b"\r\n\r\n"
    head, _, body = read.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(4096)
    return head + b"\r\n\r\n" + body


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server with a certificate for `name`, and for clients that trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - timedelta(days=1))
        .not_valid_after(clock.now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(file)
    return of_server, ssl.create_default_context(cafile=str(file))
