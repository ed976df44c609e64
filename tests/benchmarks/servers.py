"""A server with one of the applications in its own processes, as it is deployed, and their CPU time and memory."""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.serving import surroundings

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30
THREADS = 8
SERVER = f"gunicorn with gunicorn.conf.py, 1 gthread worker of {THREADS} threads, log into a file"


@dataclass(frozen=True)
class Server:
    port: int
    pid: int
    database_url: str = ""

    def cpu_seconds(self) -> float:
        """User and system time so far of the server's processes, and of those of PostgreSQL that serve its connections."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in (*self._processes(), *self._backends()))  # a process's CPU clock

    def worker_megabytes(self) -> float:
        """Resident memory of the process that serves, shared pages included."""
        return max(_resident(pid) for pid in self._processes())

    def _processes(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *(int(child) for child in children)]

    def _backends(self) -> list[int]:
        """The processes of PostgreSQL that serve connections to this database. They must run on this machine."""
        if not self.database_url.startswith("postgresql"):
            return []
        with psycopg.connect(self.database_url.replace("+psycopg", "")) as connection:
            others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            return [pid for (pid,) in connection.execute(others)]


@contextmanager
def serve(
    make: str, environment: Mapping[str, str], *, workers: int = 1, threads: int = THREADS, root: Path = ROOT
) -> Iterator[Server]:
    """Serves the application that `make` (module:function()) returns, on a free port of 127.0.0.1, from the source at `root`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--config", str(root / "gunicorn.conf.py"), "--workers", str(workers)]
    command += ["--threads", str(threads), "--keep-alive", "120", "--bind", f"127.0.0.1:{port}", make]
    with (
        tempfile.TemporaryFile() as log,
        _stopped(subprocess.Popen(command, cwd=root, env=surroundings() | dict(environment), stdout=log, stderr=log)) as process,
    ):
        try:
            wait_for(port, process)
        except RuntimeError as error:
            log.seek(0)
            error.add_note(log.read().decode()[-2000:])
            raise
        yield Server(port, process.pid, environment.get("DATABASE_URL", ""))


@contextmanager
def redis() -> Iterator[str]:
    """A Redis that keeps nothing on the disk: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with _stopped(subprocess.Popen(command, stdout=subprocess.DEVNULL)):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _stopped(process: "subprocess.Popen[bytes]") -> "Iterator[subprocess.Popen[bytes]]":
    """The process, which ends with the block."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Waits for the first answer."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: login.example.com\r\nConnection: close\r\n\r\n")
                if connection.recv(64).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            time.sleep(0.005)
    raise RuntimeError("The server did not start.")


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
