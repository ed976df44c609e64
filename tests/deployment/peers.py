"""Real servers of our own beside Hammer, to be stopped, frozen and started again: PostgreSQL and Redis."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import psycopg

from tests import parts
from tests.serving import free_port

START_SECONDS = 60


def wait_until(holds: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Looks often, and fails when it never comes."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"Waited {seconds:g} s in vain: {what}."
        time.sleep(0.02)


def answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Peer:
    """A program that runs, in the network namespace that `prefix` enters or in ours."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        kept: Sequence[int] = (),
        at: Path = Path("/"),
    ) -> None:
        self.command = [*prefix, *command]
        self.log = log
        self.environment = environment
        self.kept = kept
        self.at = at
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.at,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=self.kept,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it and waits for its end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=START_SECONDS)

    def freeze(self) -> None:
        self._tell(signal.SIGSTOP)

    def thaw(self) -> None:
        self._tell(signal.SIGCONT)

    def _tell(self, what: signal.Signals) -> None:
        """Parents before children, so that none is born meanwhile."""
        family = [self.pid]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, what)
            with suppress(OSError):  # one that was thawed may end at once, and its directory with it
                for task in Path(f"/proc/{pid}/task").glob("*/children"):
                    family += map(int, task.read_text().split())


class Postgres(Peer):
    """A cluster that keeps what it is told: commits wait for the disk, as in production.

    :param data: the directory of its data, if it is not in `home`. The log of transactions stays in `home`.
    :param primary: a cluster of which this one is a hot standby.
    :param further: settings of the server.
    """

    def __init__(
        self,
        home: Path,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        *,
        data: Path | None = None,
        primary: "Postgres | None" = None,
        further: Mapping[str, str] | None = None,
    ) -> None:
        self.host, self.port = host, free_port()
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        if as_postgres:
            for directory in (home, data.parent if data else home):
                os.chown(directory, pwd.getpwnam("postgres").pw_uid, -1)
        aside = [] if data is None else [f"--waldir={home / 'wal'}"]
        data = data or home / "data"
        make = ["initdb", "-U", "hammer", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        if primary is not None:
            make = ["pg_basebackup", "-d", primary.url, "--write-recovery-conf", "--checkpoint=fast"]
        program = str(Path(parts.program("postgres")).resolve().with_name(make[0]))
        command = [*as_postgres, program, *make[1:], "-D", str(data), *aside, "--no-sync"]
        subprocess.run(command, cwd="/", check=True, capture_output=True)
        if host != "127.0.0.1":
            with (data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")
        settings = {"listen_addresses": host, "port": str(self.port), "unix_socket_directories": "", "max_connections": "200"}
        options = [f"--{name}={value}" for name, value in (settings | dict(further or {})).items()]
        super().__init__([*as_postgres, parts.program("postgres"), "-D", str(data), *options], home / "log", prefix)

    @property
    def url(self) -> str:
        return f"postgresql://hammer@{self.host}:{self.port}/postgres"

    def start(self) -> Self:
        super().start()
        if not self.command[0].endswith("ip"):
            wait_until(self.ready, "PostgreSQL")
        return self

    def ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """At once, as in a crash: nothing is written first."""
        super().stop(how)


class PgBouncer(Peer):
    """A pooler in front of `server`, with few sessions of the server for all clients."""

    def __init__(self, home: Path, server: Postgres, sessions: int = 4, **settings: str) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        common = {
            "listen_addr": self.host, "listen_port": str(self.port), "unix_socket_dir": "", "auth_type": "any",
            "pool_mode": "transaction", "default_pool_size": str(sessions), "max_client_conn": "500", "server_login_retry": "1",
        }  # fmt: skip
        lines = ["[databases]", f"* = host={server.host} port={server.port} user=hammer", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in (common | settings).items()]
        (home / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        super().__init__([*as_postgres, parts.program("pgbouncer"), str(home / "pgbouncer.ini")], home / "pgbouncer.log")

    @property
    def url(self) -> str:
        return f"postgresql://hammer@{self.host}:{self.port}/postgres"

    def start(self) -> Self:
        super().start()
        wait_until(lambda: answers(self.host, self.port), "PgBouncer")
        return self


class Redis(Peer):
    def __init__(self, home: Path, host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> None:
        self.host, self.port = host, free_port()
        options = ["--port", str(self.port), "--bind", host, "--save", "", "--appendonly", "no", "--protected-mode", "no"]
        super().__init__(["redis-server", *options, "--dir", str(home)], home / "log", prefix)

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def start(self) -> Self:
        super().start()
        if not self.command[0].endswith("ip"):
            wait_until(lambda: answers(self.host, self.port), "Redis")
        return self


@contextmanager
def home() -> Iterator[Path]:
    """A directory that other users can reach, unlike those of pytest."""
    made = Path(tempfile.mkdtemp(prefix="hammer-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
