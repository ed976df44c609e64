"""Several hosts on one machine: a network namespace for each, on a switch in a namespace of its own, so that nothing of this is to
be seen from outside; or, where namespaces cannot be made, addresses of the loopback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

NAMES = ("front", "base", "web1", "web2", "worker1", "worker2", "people")


@dataclass(frozen=True)
class Host:
    address: str
    prefix: Sequence[str]
    """What a command begins with that runs there."""
    space: str = ""
    """Its namespace."""

    def tell(self, what: signal.Signals) -> None:
        """Sends a signal to every program of this host, until there is none that has not got it."""
        told: set[int] = set()
        while new := _programs(self.space) - told:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, what)
            told |= new

    def cut_off(self) -> None:
        """From the network: what is sent to it and by it is lost."""
        self._cable("down")

    def reconnect(self) -> None:
        self._cable("up")

    def _cable(self, state: str) -> None:
        mark, name = self.space.split("-")
        _ip("-n", f"{mark}-switch", "link", "set", name, state)


@contextmanager
def hosts(names: Sequence[str] = NAMES) -> Iterator[dict[str, Host]]:
    """All of them, each with an address that the others reach. What still runs there at the end is killed."""
    mark = f"hammer{os.getpid()}"
    with ExitStack() as made:
        try:
            _ip("netns", "add", f"{mark}-switch")
        except (subprocess.CalledProcessError, FileNotFoundError) as fault:
            why = fault.stderr.decode().strip() if isinstance(fault, subprocess.CalledProcessError) else "no iproute2"
            sys.__stderr__ and print(
                f"\nNo network namespaces here ({why}): the hosts are addresses of the loopback.", file=sys.__stderr__
            )
            yield {name: Host(f"127.0.7.{n}", ()) for n, name in enumerate(names, 1)}
            return
        made.callback(_ip, "netns", "delete", f"{mark}-switch")
        _ip("-n", f"{mark}-switch", "link", "add", "lan", "type", "bridge")
        _ip("-n", f"{mark}-switch", "link", "set", "lan", "up")
        there = {}
        for n, name in enumerate(names, 1):
            space = f"{mark}-{name}"
            _ip("netns", "add", space)
            made.callback(_delete, space)
            _ip("link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", name, "netns", f"{mark}-switch")
            _ip("-n", f"{mark}-switch", "link", "set", name, "master", "lan", "up")
            _ip("-n", space, "address", "add", f"10.213.7.{n}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", space, "link", "set", device, "up")
            there[name] = Host(f"10.213.7.{n}", ("ip", "netns", "exec", space), space)
        yield there


def _programs(space: str) -> set[int]:
    return {int(pid) for pid in _ip("netns", "pids", space).split()}


def _delete(space: str) -> None:
    Host("", (), space).tell(signal.SIGKILL)
    _ip("netns", "delete", space)


def _ip(*words: str) -> bytes:
    return subprocess.run(["ip", *words], check=True, capture_output=True).stdout
