"""A server with either application in its own processes, and their CPU time and memory."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.serving import surroundings

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30
THREADS = 8
SERVER = f"gunicorn, 1 gthread worker of {THREADS} threads"


@dataclass(frozen=True)
class Server:
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """User and system time of the server's processes so far, to the nanosecond."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self._processes())  # the id of a process' CPU clock on Linux

    def worker_megabytes(self) -> float:
        """Resident memory of the process that serves, shared pages included."""
        return max(_resident(pid) for pid in self._processes())

    def _processes(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *(int(child) for child in children)]


@contextmanager
def serve(make: str, environment: Mapping[str, str]) -> Iterator[Server]:
    """Serves the application that `make` (module:function()) returns, on a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", "1", "--threads", str(THREADS)]
    command += ["--keep-alive", "120", "--log-level", "warning", "--bind", f"127.0.0.1:{port}", make]
    process = subprocess.Popen(command, cwd=ROOT, env=surroundings() | dict(environment), stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield Server(port, process.pid)
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
