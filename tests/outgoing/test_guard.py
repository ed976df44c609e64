"""Which servers Hammer may post to: hostile URLs, and the exceptions that the operator makes."""

import socket
import threading
from dataclasses import replace
from ipaddress import ip_address

import pytest

from config import Settings
from hammer.outgoing.guard import Guard, Refused, is_public
from hammer.outgoing.post import Fault, post
from tests.outgoing.servers import OK, fixed, serving

SECONDS = 10.0
OWN = "login.example.com"

LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.0.1.", "127.8.8.8",
    "localhost", "localhost.", "LOCALHOST", "0", "0.0.0", "0x0", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]", "[::127.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]",
]  # fmt: skip
INNER = [
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.254", "0.1.2.3",
    "192.0.0.8", "192.0.0.10", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "[::ffff:10.0.0.1]", "[::a00:1]", "[2002:a00:1::1]", "[2002:a9fe:a9fe::]",
    "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a00:1]", "[fec0::1]", "[fe80::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[ff0e::1]",
    "[2001::1]", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[4000::1]",
]  # fmt: skip
MALFORMED = [
    "", "8.8.8.8", "https:8.8.8.8", "//8.8.8.8/", "https://", "https:///8.8.8.8/", "https:/8.8.8.8/", "ftp://8.8.8.8/",
    "file:///etc/passwd", "gopher://8.8.8.8/", "httpſ://8.8.8.8/", "https://user@8.8.8.8/", "https://user:pw@8.8.8.8/",
    "https://@8.8.8.8/", "https://8.8.8.8\\@127.0.0.1/", "https://8.8.8.8#@127.0.0.1/", "https://8.8.8.8/#top", "https://8.8.8.8\\/",
    "https://8.8.8.8/\\", "https://8.8.8.8:0/", "https://8.8.8.8:65536/", "https://8.8.8.8:443443/", "https://8.8.8.8:/",
    "https://8.8.8.8:-1/", "https://8.8.8.8:4４3/", " https://8.8.8.8/", "https://8.8.8.8/ ", "https://8.8.8.8/\n",
    "https://8.8.8.8/a b", "https://8.8.8.8/\r\nX: y", "https://8.8.8.8\t/", "https://8.8.8.8/\x00", "https://１２７.0.0.1/", "https://ⓛocalhost/",
    "https://exаmple.com/", "https://8.8.8.8/путь", "https://8。8。8。8/", "https://[fe80::1%25lo]/", "https://[::1/", "https://[::g]/",
    "https://[8.8.8.8", "https://a..b/", "https://.a/", "https://8.8.8.8../", f"https://{'a' * 64}.com/", "https://8.8.8.8,10.0.0.1/",
    "https://8.8.8.8%00.example.com/", "https://8.8.8.8;10.0.0.1/", "https://[::1]8.8.8.8/",
]  # fmt: skip


@pytest.fixture
def guard() -> Guard:
    return Guard(OWN)


@pytest.mark.parametrize("host", LOOPBACK)
def test_no_spelling_of_this_machine_is_reached(guard: Guard, host: str) -> None:
    with serving(fixed(OK)) as server:
        outcome = post(guard, f"https://{host}:{server.port}/", b"", {}, seconds=SECONDS)
    assert server.connections == 0
    assert outcome.fault in (Fault.REFUSED, Fault.RESOLVE)  # not every resolver reads each of these as an address


@pytest.mark.parametrize("host", INNER)
def test_no_address_of_an_inner_network_is_reached(guard: Guard, host: str) -> None:
    with pytest.raises(Refused):
        guard.check(f"https://{host}/", SECONDS)


@pytest.mark.parametrize("url", MALFORMED, ids=ascii)
def test_a_url_that_could_be_read_in_two_ways_is_refused(guard: Guard, url: str) -> None:
    with pytest.raises(Refused):
        guard.check(url, SECONDS)


def test_http_is_refused_without_tls(guard: Guard) -> None:
    with pytest.raises(Refused):
        guard.check("http://8.8.8.8/", SECONDS)
    with pytest.raises(Refused):
        guard.check("http://nowhere.invalid/", SECONDS)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://8.8.8.8", "8.8.8.8", 443, "/", "8.8.8.8"),
        ("HTTPS://8.8.8.8:8443/a/b?c=%20d&e", "8.8.8.8", 8443, "/a/b?c=%20d&e", "8.8.8.8:8443"),
        ("https://8.8.8.8?c=d", "8.8.8.8", 443, "/?c=d", "8.8.8.8"),
        ("https://[2606:4700:4700::1111]/", "2606:4700:4700::1111", 443, "/", "[2606:4700:4700::1111]"),
        ("https://[64:ff9b::808:808]:444/", "64:ff9b::808:808", 444, "/", "[64:ff9b::808:808]:444"),
    ],
)
def test_a_public_server_may_be_reached(guard: Guard, url: str, host: str, port: int, path: str, authority: str) -> None:
    target = guard.check(url, SECONDS)
    assert (target.secure, target.host, target.port, target.path, target.authority) == (True, host, port, path, authority)
    assert target.addresses == [ip_address(host)]


def test_one_inner_address_among_the_answers_is_enough_to_refuse(guard: Guard) -> None:
    answers = ["8.8.8.8", "8.8.4.4"]
    guard = replace(guard, resolve=lambda host: ["9.9.9.9"] if host == OWN else answers)
    assert guard.check("https://hook.test/", SECONDS).addresses == [ip_address(each) for each in answers]
    answers.append("10.0.0.1")
    with pytest.raises(Refused):
        guard.check("https://hook.test/", SECONDS)


@pytest.mark.parametrize("of_app", ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_our_own_address_is_refused_in_every_form(guard: Guard, of_app: str) -> None:
    guard = replace(guard, resolve=lambda host: ["8.8.4.4", "8.8.8.8"] if host == OWN else [of_app])
    with pytest.raises(Refused):
        guard.check("https://hook.test/", SECONDS)
    replace(guard, inner_hosts={"hook.test"}).check("https://hook.test/", SECONDS)


def test_our_own_name_may_be_unknown_inside(guard: Guard) -> None:
    def resolve(host: str) -> list[str]:
        if host == OWN:
            raise socket.gaierror
        return ["8.8.8.8"]

    assert replace(guard, resolve=resolve).check("https://hook.test/", SECONDS).host == "hook.test"


@pytest.mark.parametrize("url", ["http://Hook.Internal/", "https://hook.internal./", "http://10.0.0.7:8080/", "http://[fd00::7]/"])
def test_hosts_that_the_operator_names_may_be_inner_and_without_tls(settings: Settings, url: str) -> None:
    named = frozenset({"hook.internal", "10.0.0.7", "fd00::7"})
    guard = Guard.of(replace(settings, env="production", public_url=f"https://{OWN}", webhook_hosts=named))
    guard = replace(guard, resolve=lambda host: [host] if host in named - {"hook.internal"} else ["10.0.0.8"])
    guard.check(url, SECONDS)
    for other in ("http://other.hook.internal/", "https://10.0.0.8/", "https://hook.internal.test/"):
        with pytest.raises(Refused):
            guard.check(other, SECONDS)


def test_only_who_develops_may_reach_their_own_machine(settings: Settings) -> None:
    url = "http://localhost:3000/logout"
    Guard.of(settings).check(url, SECONDS)
    with pytest.raises(Refused):
        Guard.of(settings).check("http://10.0.0.1/", SECONDS)
    for other in (replace(settings, env="production"), replace(settings, public_url="https://login.example.com")):
        with pytest.raises(Refused):
            Guard.of(other).check(url, SECONDS)


def test_a_host_without_an_address_is_no_fault_of_the_guard(guard: Guard) -> None:
    with pytest.raises(socket.gaierror):
        replace(guard, resolve=lambda _: []).check("https://hook.test/", SECONDS)


def test_a_resolver_that_hangs_is_not_waited_for(guard: Guard) -> None:
    answer = threading.Event()

    def resolve(_: str) -> list[str]:
        answer.wait(60)
        return ["8.8.8.8"]

    with pytest.raises(TimeoutError):
        replace(guard, resolve=resolve).check("https://hook.test/", 0.05)
    answer.set()


def test_the_networks_of_the_guard_do_not_depend_on_the_version_of_python() -> None:
    assert not any(
        is_public(ip_address(host.strip("[]"))) for host in INNER if not host.startswith(("[::", "[2002:", "[64:ff9b::"))
    )
    assert all(is_public(ip_address(each)) for each in ("1.1.1.1", "93.184.216.34", "2a00:1450:4010::1"))
