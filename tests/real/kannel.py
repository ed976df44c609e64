"""Kannel as Debian has it, on free ports: sendsms -> smsbox -> bearerbox -> an operator's centre, played by a tool of Kannel's."""

import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote_to_bytes

from tests import parts
from tests.delivery import wait_until
from tests.serving import free_port

NUMBER_OF_BOXES = 13001
"""The port to which drive_smpp connects for replies. It cannot be changed."""

CORE = """
group = core
admin-port = {admin}
admin-password = bar
admin-interface = 127.0.0.1
smsbox-port = {boxes}
smsbox-interface = 127.0.0.1
box-allow-ip = "127.0.0.1"
box-deny-ip = "*.*.*.*"
store-type = file
store-location = "{directory}/kannel.store"
sms-resend-freq = 1
sms-resend-retry = 100
dlr-storage = internal

group = smsbox
smsbox-id = hammer
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
global-sender = Hammer

group = sendsms-user
username = tester
password = foobar
concatenation = true
max-messages = 10

group = sms-service
keyword = default
max-messages = 0
text = ""

"""
FAKE = """group = smsc
smsc = fake
smsc-id = FAKE
port = {smsc}
connect-allow-ip = 127.0.0.1
"""
SMPP = """group = smsc
smsc = smpp
smsc-id = SMPP
host = 127.0.0.1
port = {smsc}
smsc-username = foo
smsc-password = bar
system-type = "VMA"
transceiver-mode = false
"""


class Kannel:
    """Each part can be ended and started again. What the centre received is read from the output of the tool that plays it."""

    def __init__(self, directory: Path, centre: str = "fake") -> None:
        self.directory = directory
        self.admin, self.boxes, self.sendsms, self.smsc = (free_port() for _ in range(4))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.configuration = directory / "kannel.conf"
        ports = {"admin": self.admin, "boxes": self.boxes, "sendsms": self.sendsms, "smsc": self.smsc}
        self.configuration.write_text((CORE + (FAKE if centre == "fake" else SMPP)).format(directory=directory, **ports))

    @property
    def template(self) -> str:
        """What to write into `HAMMER_SMS_URL`, as docs/texts.md has it."""
        return (
            f"http://127.0.0.1:{self.sendsms}/cgi-bin/sendsms?username=tester&password=foobar&to={{to}}&text={{text}}"
            "&charset=UTF-8&coding={coding}&validity={validity}&dlr-mask=31&dlr-url={dlr}?status=%25d"
        )

    def start(self, name: str, *arguments: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [parts.program(name), *arguments], cwd=self.directory, stdout=log, stderr=log, start_new_session=True
            )

    def start_bearerbox(self) -> None:
        self.start("bearerbox", str(self.configuration))
        wait_until(lambda: "Status: running" in self.status())

    def start_smsbox(self) -> None:
        self.start("smsbox", str(self.configuration))
        wait_until(lambda: "hammer, IP" in self.status() and self.listens())

    def start_fakesmsc(self) -> None:
        self.start("fakesmsc", "-H", "127.0.0.1", "-r", str(self.smsc), "-i", "1", "-m", "0", "1 2 text nop")
        wait_until(lambda: re.search(r"FAKE.*online", self.status()) is not None)

    def start_drive_smpp(self) -> None:
        self.start("drive_smpp", "-v", "0", "-p", str(self.smsc), "-m", "1")

    def kill(self, name: str) -> None:
        """Ends a part at once, and what it has started in its own place."""
        process = self.running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)

    def status(self) -> str:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/status.txt?password=bar", timeout=5) as page:
            return str(page.read().decode())
        return ""

    def listens(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.sendsms}/cgi-bin/sendsms", timeout=5).close()
        except urllib.error.HTTPError:
            return True  # it asks who we are
        except OSError:
            return False
        return True

    def log(self, name: str) -> str:
        file = self.directory / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def arrived(self, telephone_number: str) -> list[str]:
        """The words of the texts to this number as its telephone would show them."""
        texts: list[tuple[str, str, str]] = []
        for line in re.findall(r"Got message \d+: <(.*)>\s*$", self.log("fakesmsc"), re.MULTILINE):
            if head := re.fullmatch(r"Hammer (\S+) (text|ucs-2|data) (.*)", line):
                texts.append((head[1], head[2], head[3]))
            else:  # plain text goes there as it is, and a line of it is a message to the player
                number, kind, before = texts.pop()
                texts.append((number, kind, f"{before}\n{line}"))
        return [read(kind, sent) for number, kind, sent in texts if number == telephone_number]

    def __enter__(self) -> "Kannel":
        return self

    def __exit__(self, _: type[BaseException] | None, fault: BaseException | None, __: TracebackType | None) -> None:
        if fault is not None:
            for name in self.running:
                fault.add_note(f"--- {name}:\n{self.log(name)[-3000:]}")
        for name in list(self.running):
            self.kill(name)


def read(kind: str, sent: str) -> str:
    """Octets as URLs have them, spaces as `+`; of a text that is plain, the plain text."""
    octets = unquote_to_bytes(sent.replace("+", " "))
    return octets.decode("utf-16-be") if kind == "ucs-2" else octets.decode() if kind == "data" else sent
