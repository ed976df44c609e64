"""The settings of a deployment. Each is declared once, as a field of `Settings`. `read` reads all of them from the environment, and
refuses values that are wrong or unsafe. They never change while a process runs.

From top to bottom: constants, how a setting is declared, checks of one value, defaults that depend on other settings, `Settings`,
`read`, checks of all values together, the file `.env`, the address that `flask run` serves.
"""

import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, TextIO, cast
from urllib.parse import SplitResult, unquote, urlsplit

import click
import phonenumbers
from dotenv import dotenv_values, find_dotenv
from dotenv.parser import parse_stream
from environs import Env, EnvValidationError
from marshmallow import ValidationError
from marshmallow.validate import ContainsOnly, Length, OneOf, Range, Regexp
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

OWN_GATEWAYS = {"console", "memory", "http", "https", "post+http", "post+https", "sns"}
SMS_SERVICES = {
    "46elks", "atalk", "bulksms", "bulkvs", "burstsms", "clickatell", "clicksend", "cm", "d7sms", "eight00com", "elks",
    "exotel", "gupshup", "httpsms", "infobip", "kaleyra", "kavenegar", "klr", "kudosity", "mobilemessage", "mobilemsg", "msg91",
    "msgbird", "nexmo", "notifyre", "octopush", "plivo", "ringc", "serwersms", "seven", "sfr", "sinch", "smsc", "smseagle",
    "smseagles", "smsmanager", "smsmgr", "smstunnel", "telesign", "telnyx", "twilio", "voipms", "vonage",
}  # fmt: skip
"""Services that apprise supports. Its SMPP is left out: it reports a refused message as sent. Use Kannel for SMPP."""
MOST_GATEWAYS = 4
LONGEST_GOOD_ANSWER = 200
DATABASES = ("sqlite", "postgresql", "postgresql+psycopg")
ENVIRONMENTS = ("development", "testing", "production")
FULL, MASKED, COUNT = INVITEE_NUMBERS = ("full", "masked", "count")
CODE_LENGTHS = (4, 6, 8)
LONGEST_INVITATION = 200
LONGEST_NAME = 30
NAME = "Hammer"
"""The name where the operator sets none."""
MOST_MARK_BYTES = 20_000
ANDROID_HASH_LENGTH = 11
"""Of the hash at the end of a text by which Android finds the app that waits for it (SMS Retriever API)."""
LONGEST_CODE_TTL_SECONDS = 600
"""NIST SP 800-63B-4 §3.1.3.2: a code that is sent out of band is valid for ten minutes at most."""
LONGEST_HOST = 253
"""Maximum length of a DNS name (RFC 1035 §2.3.4)."""
MOST_DIGITS = 15
"""Maximum length of a telephone number with its country code (ITU-T E.164)."""
LEAST_EVENTS_KEPT = timedelta(days=90)
"""The database refuses to delete younger events, also to a person who has the password of the application."""
MOST_TEST_NUMBERS = 10
LONGEST_TEST = timedelta(days=90)
"""Test numbers have an end, at most this long after the start of the process: a fixed code becomes known over time."""
SHORTEST_SECRET_BYTES = 32
SHORTEST_TOKEN = 16
ACCESS_TOKEN_LIFETIME = timedelta(minutes=15)
ACCESS_TOKEN_LEEWAY = timedelta(seconds=30)
"""Clocks of our machines may differ by this much."""
ID_TOKEN_LIFETIME = timedelta(minutes=5)
"""An app reads an id token once, when it gets it."""
INSTANCE = Path(__file__).parent / "instance"
ENV_FILE = Path(__file__).resolve().parent / ".env"
"""Every process reads this file. `FLASK_SKIP_DOTENV=1` switches it off, as it does for Flask."""
USUAL_ADDRESS = "http://localhost:5000"
"""The address that `flask run` serves unless another port is named. An IP address would be no host for passkeys."""
_OPENED_AT_LOCALHOST = ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104
"""Addresses at which a server listens that browsers open as `localhost`: loopback, and all of this machine."""
_LOCAL = [
    ipaddress.ip_network(each)
    for each in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1", "fc00::/7", "fe80::/10")
]
"""Loopback, RFC 1918, ULA and link-local: networks that strangers cannot reach."""
_UNITS = {"HOURS": timedelta(hours=1), "DAYS": timedelta(days=1)}
"""End of a setting's name -> its unit; all other times are in seconds."""
_ENDS_IN_NUMBER = re.compile(r"(?:\A|\.)(?:[0-9]+|0x[0-9a-f]*)\.?\Z", re.IGNORECASE)
"""Matches the hosts that browsers read as IPv4 addresses (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_OF_KUBERNETES = re.compile(r"HAMMER_(\w+_)?(SERVICE_(HOST|PORT)|PORT)(_\w+)?")
"""Variables that Kubernetes sets in each pod for a service whose name begins with `hammer`."""


class Misconfigured(click.ClickException):
    """All that is wrong with the configuration, one sentence a line. Commands print it without a traceback."""

    exit_code = 78
    """EX_CONFIG of sysexits.h: systemd does not restart a service that ended with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Hammer does not start with this configuration:\n" + "\n".join(f"  - {p}" for p in problems))
        self.problems = problems


# How a setting is declared


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """All that is known of a setting before the environment is read. docs/settings.md and .env.example are made from it."""

    name: str
    kind: type
    """`str`, `int`, `float`, `bool` or `list`."""
    help: str
    default: Any
    """A value, or a function of the fields of `Settings` that are read so far."""
    development: Any
    """The default in development, if it is another one."""
    default_text: str
    """The default in words, where it is a function."""
    item: type | Callable[[str], Any]
    """What reads one entry of a list."""
    check: Any
    """A validator of marshmallow, or a function that raises `ValidationError`."""
    convert: Callable[[Any], Any]
    """Makes the field of `Settings` from a good value."""
    empty_is_unset: bool
    secret: bool

    def read(self, env: Env, earlier: Mapping[str, Any]) -> Any:
        """The value for `Settings`; None where the environment holds a bad one, which `env` then remembers."""
        given = os.environ.get(self.name)
        if given is None or (self.empty_is_unset and not given):
            return self.convert(self._default(earlier))
        options = {"subcast": self.item} if self.kind is list else {}
        value = getattr(env, self.kind.__name__)(self.name, validate=self.check, **options)
        return None if value is None else self.convert(value)

    def shown(self, value: Any) -> str:
        """A value of the field as one writes it into the environment; a secret only as `set` or empty."""
        if self.secret:
            return "set" if value else ""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, timedelta):
            return f"{value / _unit(self.name):g}"
        if isinstance(value, Mapping):
            return ",".join(map(str, value.values()))
        return ",".join(sorted(value)) if isinstance(value, frozenset | tuple) else str(value)

    def is_default(self, value: Any, values: Mapping[str, Any]) -> bool:
        """Whether the field has its default, where the fields have these values."""
        return bool(value == self.convert(self._default(values)))

    def _default(self, earlier: Mapping[str, Any]) -> Any:
        if self.development is not None and earlier["env"] == "development":
            return self.development
        return self.default(earlier) if callable(self.default) else self.default


def setting(
    name: str,
    kind: type,
    default: Any,
    help: str,  # noqa: A002  # as argparse and click call it
    *,
    development: Any = None,
    default_text: str = "",
    item: type | Callable[[str], Any] = str,
    check: Any = None,
    convert: Callable[[Any], Any] = lambda value: value,
    empty_is_unset: bool = False,
    secret: bool = False,
) -> Any:
    """A field of `Settings` that is read from the environment variable `name`. The arguments are explained in `Declaration`."""
    declaration = Declaration(
        name=name, kind=kind, default=default, help=help, development=development, default_text=default_text, item=item,
        check=check, convert=convert, empty_is_unset=empty_is_unset, secret=secret,
    )  # fmt: skip
    return field(repr=not secret, metadata={"declaration": declaration})


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def _hours(value: int) -> timedelta:
    return timedelta(hours=value)


def _days(value: int) -> timedelta:
    return timedelta(days=value)


def _unit(name: str) -> timedelta:
    return _UNITS.get(name.rpartition("_")[2], timedelta(seconds=1))


# Checks of one value


def _text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValidationError("Must be valid UTF-8.") from error


def _previous_keys(keys: str) -> None:
    _text(keys)
    each = keys.split()
    if any(_is_weak(key) for key in each):
        raise ValidationError(f"Each must have {SHORTEST_SECRET_BYTES} bytes or more, ten of them different, and no space.")
    if len(set(each)) < len(each):
        raise ValidationError("Names a key twice.")


def _is_weak(secret_key: str) -> bool:
    return len(secret_key.encode(errors="ignore")) < SHORTEST_SECRET_BYTES or len(set(secret_key)) < 10


def _sentence(value: str) -> None:
    if len(value) > LONGEST_INVITATION or not value.isprintable() or re.search(r"[<>]", value) or value != value.strip():
        raise ValidationError(f"Write one line of plain text, {LONGEST_INVITATION} characters at most, without markup.")


def _name(value: str) -> None:
    if not 0 < len(value) <= LONGEST_NAME or not value.isprintable() or re.search(r"[<>]", value) or value != value.strip():
        raise ValidationError(f"Write a name of 1 to {LONGEST_NAME} characters on one line, without < and >.")


def _mark(path: str) -> None:
    if path and not Path(path).is_file():
        raise ValidationError("There is no such file. Name an SVG file.")


def _folder(path: str) -> None:
    if path and not Path(path).is_dir():
        raise ValidationError("There is no such folder.")


def _page(url: str) -> None:
    parts = _parts(url)
    if url and (parts is None or parts.scheme != "https" or not re.fullmatch(r"[!-~]+", url.replace("{language}", "en"))):
        raise ValidationError("Must be an address like https://example.com/terms or https://example.com/{language}/terms.")
    if re.search(r"[{}]", url.replace("{language}", "")):
        raise ValidationError("{language} is the only placeholder.")


def _android_apps(apps: list[str]) -> None:
    if not all(re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+:[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}", app, re.ASCII) for app in apps):
        raise ValidationError("Write PACKAGE:FINGERPRINT, like com.example.app:14:6D:E9:…, with the 32 bytes of a SHA-256.")


def _apple_apps(apps: list[str]) -> None:
    if not all(re.fullmatch(r"[A-Z0-9]{10}\.[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", app) for app in apps):
        raise ValidationError("Write TEAM.BUNDLE, like A1B2C3D4E5.com.example.app: a team id of 10 characters, and the bundle id.")


def _parts(url: str) -> SplitResult | None:
    """The parts of an address; None where the text is no address with a host."""
    try:
        parts = urlsplit(url)
        known = parts.port is None or parts.port > 0
    except ValueError:
        return None
    return parts if parts.hostname and known else None


def fault_of_origin(url: str, example: str = "https://app.example.com") -> str:
    """What is wrong with an origin (RFC 6454: a scheme, a host, and a port or none); empty if nothing is."""
    if url == "*":
        return f"* is not allowed; name each, like {example}."
    parts = _parts(url)
    if parts is None or parts.scheme not in ("http", "https") or parts.path.strip("/") or re.search(r"[?#@\\\s]", url):
        return f"Must be an address like {example}."
    if len(parts.hostname or "") > LONGEST_HOST:
        return f"Its host is longer than {LONGEST_HOST} letters."
    if not url.isascii():
        return "Write its host in ASCII, as browsers send it: xn--…."
    if not re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?", parts.netloc):  # or browsers read another host in it
        return "Its host contains characters that are not allowed in a host name."
    return ""


def serialized_origin(url: str) -> str:
    """An origin as browsers write it (RFC 6454 §6.2): in lower case, without a slash and without the usual port of its scheme.

    Expects an address without a `fault_of_origin`.
    """
    parts = urlsplit(url.lower())
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = parts.netloc if parts.port is None else parts.netloc.rpartition(":")[0]
    return f"{parts.scheme}://{host.rstrip(':')}" + ("" if parts.port in (None, usual) else f":{parts.port}")


def _hosts(hosts: list[str]) -> None:
    wrong = [f"{host!a}: Name a host alone, like grafana.internal or 10.0.0.7." for host in hosts if not _is_host(host)]
    if wrong:
        raise ValidationError(wrong)


def _is_host(host: str) -> bool:
    """Whether it is a host name or an address, without a scheme, a port or brackets."""
    try:
        return bool(ipaddress.ip_address(host)) and "%" not in host
    except ValueError:
        return bool(re.fullmatch(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", host)) and len(host) <= LONGEST_HOST


def _origin(url: str) -> None:
    if fault := fault_of_origin(url, "https://login.example.com"):
        raise ValidationError(fault)


def _origins(urls: list[str]) -> None:
    wrong = [f"{url!a}: {fault}" for url, fault in ((url, fault_of_origin(url)) for url in urls) if fault]
    if wrong:
        raise ValidationError(wrong)


def _gateways(urls: str) -> None:
    """Checks their form only. URLs of gateways hold passwords, so a problem names the position of the gateway, never its URL."""
    each = urls.split()
    if not each:
        raise ValidationError("Names no gateway.")
    if len(each) > MOST_GATEWAYS:
        raise ValidationError(f"Names more than {MOST_GATEWAYS} gateways.")
    wrong = [f"Gateway {place} {fault}" for place, fault in enumerate(map(_fault_of_gateway, each), 1) if fault]
    if wrong:
        raise ValidationError(wrong)


def _fault_of_gateway(url: str) -> str:
    kind, _, rest = url.partition("://")
    if kind in ("console", "memory"):
        return f"is {kind}:// alone." if rest else ""
    if kind == "sns":
        return "" if re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", rest) else "names a region alone, like sns://eu-central-1."
    if kind in SMS_SERVICES:
        return "" if "{phone}" in rest else f"({kind}) does not say with {{phone}} where the number goes."
    if kind in OWN_GATEWAYS:
        return _fault_of_template(url.removeprefix("post+"))
    return "is of no kind that docs/texts.md lists."


def _fault_of_template(url: str) -> str:
    url, _, good_answer = url.partition("#")
    parts = _parts(url)
    if parts is None or "{" in parts.netloc or not url.isascii():
        return "is no address like https://host/send?to={to}&text={text}."
    is_rule = re.fullmatch(rf"body=.{{1,{LONGEST_GOOD_ANSWER}}}", good_answer)
    if good_answer and not (is_rule and unquote(good_answer.removeprefix("body=")).strip()):  # spaces do not count
        return f"says after # something else than body= and what a good answer contains, {LONGEST_GOOD_ANSWER} characters at most."
    places = set(re.findall(r"\{(.*?)\}", url))
    if not {"to", "text"} <= places:
        return "needs the placeholders {to} and {text} for the number and the text."
    strange = places - {"to", "text", "coding", "validity", "dlr"}
    known = "{to}, {text}, {coding}, {validity} and {dlr}"
    return f"has {len(strange)} unknown placeholders; known are {known}." if strange else ""


def _database(url: str) -> None:
    if url and (fault := _fault_of_database(url)):
        raise ValidationError(fault)


def _fault_of_database(url: str) -> str:
    """What is wrong with the address of a database; empty if nothing is. It names parameters, never their values."""
    try:
        parts = make_url(_with_list_of_hosts(url))
    except (ArgumentError, ValueError):
        parts = None
    if parts is None or parts.drivername not in DATABASES or parts.database in (None, "", ":memory:") or "@" in (parts.host or ""):
        return "Must be an address like postgresql://user:password@host/name or sqlite:////path/to/file."
    known = _parameters_of_sqlite(parts.query) if parts.drivername == "sqlite" else _parameters_of_postgresql()
    if unknown := sorted(set(parts.query) - known):
        hint = " Behind a pooler, set HAMMER_DATABASE_POOLER=on." if "prepare_threshold" in unknown else ""
        return f"There is no parameter {', '.join(f'`{name}`' for name in unknown)} of this database.{hint}"
    try:
        _, arguments = parts.get_dialect()().create_connect_args(parts)
    except (ArgumentError, ValueError):
        arguments = {"host": "["}
    if any(isinstance(value, tuple) for value in arguments.values()) or "[" in arguments.get("host", ""):
        return "A host, a port or another parameter in it is not valid, or is there twice."
    return ""


def _parameters_of_sqlite(given: Mapping[str, Any]) -> set[str]:
    known = {"timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
    return known | set(given) if "uri" in given else known  # those of a URI go to SQLite itself, which ignores unknown ones


def _parameters_of_postgresql() -> set[str]:
    from psycopg.pq import Conninfo  # noqa: PLC0415  # only those with a PostgreSQL need the driver

    return {option.keyword.decode() for option in Conninfo.get_defaults()}


def _with_list_of_hosts(url: str) -> str:
    """The same address of a PostgreSQL, with several hosts as SQLAlchemy and the driver read them: not before the name of the
    database, but as `host=…,…&port=…,…` after it."""
    found = re.fullmatch(r"(postgresql(?:\+psycopg)?://(?:[^/?#]*@)?)([^/?#@]*,[^/?#@]*)(/[^?#]*)(?:\?(.*))?", url)
    if found is None:
        return url
    before, places, name, parameters = found.groups()
    hosts, ports = zip(*map(_host_and_port, places.split(",")), strict=True)
    listed = f"host={','.join(hosts)}" + (f"&port={','.join(ports)}" if any(ports) else "")
    return f"{before}{name}?{listed}" + (f"&{parameters}" if parameters else "")


def _host_and_port(place: str) -> tuple[str, str]:
    """The parts of `host`, `host:port` or `[::1]:port`; the port is empty where there is none."""
    address, bracket, rest = place.removeprefix("[").partition("]")
    if bracket:
        return address, rest.removeprefix(":")
    host, _, port = place.partition(":")
    return host, port


def _redis(url: str) -> None:
    if not url:
        return
    from redis import ConnectionPool  # noqa: PLC0415  # 60 ms that only those with a Redis pay

    parts = _parts(url)
    if parts is None or not re.fullmatch(r"(/\d*)?", parts.path):
        raise ValidationError("Must be an address like redis://:password@host:6379/0.")
    try:
        ConnectionPool.from_url(url).make_connection()  # does not connect yet
    except (ValueError, TypeError) as error:
        raise ValidationError("Must be an address like redis://:password@host:6379/0.") from error


def _contact(address: str) -> None:
    parts = _parts(address)
    by_web = parts is not None and parts.scheme == "https" and re.fullmatch(r"[!-~]+", address)
    if address and not by_web and not _MAIL.fullmatch(address.removeprefix("mailto:")):
        raise ValidationError("Must be an address like https://example.com/help or help@example.com.")


def _token(token: str) -> None:
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise ValidationError(f"Make it {SHORTEST_TOKEN} letters, digits and signs or more, without a space.")


def _place(place: str) -> None:
    host, _, port = place.rpartition(":")
    if place and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536 and (_is_host(host) if ":" in place else True)):
        raise ValidationError("Write a port, like 9101, or a host and a port, like 10.0.0.12:9101.")


def _ranges(ranges: list[str]) -> None:
    wrong = [f"{extra!a} {fault}" for extra, fault in ((extra, _fault_of_range(extra)) for extra in ranges) if fault]
    if wrong:
        raise ValidationError(wrong)


def _fault_of_range(extra: str) -> str:
    """What is wrong with a range of numbers like `+22901xxxxxxxx`; empty if nothing is."""
    if not re.fullmatch(r"\+[1-9][0-9]*x+", extra):
        return "is no range like +22901xxxxxxxx: a plus, the digits that all its numbers begin with, and an x for each other digit."
    if not 8 <= len(extra) - 1 <= MOST_DIGITS:
        return f"has {len(extra) - 1} digits; a telephone number has 8 to {MOST_DIGITS} with its country code."
    known = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    code = next((digits for digits in (extra[1:2], extra[1:3], extra[1:4]) if digits.isdigit() and int(digits) in known), "")
    if not code or known[int(code)] == ("001",):
        return "begins with no country code."
    if extra[1:].rstrip("x") == code:
        return "is a whole country; name one digit after its code or more."
    return ""


def _test_numbers(entries: str) -> None:
    """A problem names the position of an entry, never its number or its code."""
    each = _entries(entries)
    if len(each) > MOST_TEST_NUMBERS:
        raise ValidationError(f"Names more than {MOST_TEST_NUMBERS} numbers.")
    wrong = [f"Entry {place} {fault}" for place, fault in enumerate(map(_fault_of_test_number, each), 1) if fault]
    if wrong:
        raise ValidationError(wrong)
    for what, values in (("A number", [entry.partition("=")[0] for entry in each]), ("A code", [*_fixed_codes(entries).values()])):
        if len(set(values)) < len(each):
            raise ValidationError(f"{what} is there twice.")


def _fault_of_test_number(entry: str) -> str:
    number, _, code = entry.partition("=")
    if not re.fullmatch(rf"\+[1-9][0-9]{{7,{MOST_DIGITS - 1}}}", number):
        return "does not begin with a number like +79290000001 and an equals sign."
    if not re.fullmatch(r"[0-9]{6}|[0-9]{8}", code):
        return "has a code that is not six or eight digits."
    return "has a code that is one digit repeated." if len(set(code)) == 1 else ""


def _fixed_codes(entries: str) -> dict[str, str]:
    """Number -> code of `+79290000001=482915 +79290000002=90715526`."""
    return dict(entry.split("=") for entry in _entries(entries))


def _entries(text: str) -> list[str]:
    """The parts of a list with spaces or commas between them."""
    return text.replace(",", " ").split()


def _day(text: str) -> None:
    try:
        good = re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) and date.fromisoformat(text)
    except ValueError:
        good = None
    if not good:
        raise ValidationError("Must be a day like 2027-01-31.")


def _budgets(most: list[int]) -> None:
    if any(budget < 0 for budget in most):
        raise ValidationError("Has a negative budget.")


def is_local(url: str) -> bool:
    """Whether an address (`//host:port` is enough) is of this machine or a private network. The name of another host never is."""
    parts = _parts(url)
    host = parts.hostname if parts else None
    if host and (host == "localhost" or host.endswith(".localhost")):  # which never leave the machine (RFC 6761)
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _LOCAL)


# Defaults that depend on other settings


def _default_public_url(earlier: Mapping[str, Any]) -> str:
    return _served_at() if earlier["env"] == "development" else USUAL_ADDRESS


def _default_demo(earlier: Mapping[str, Any]) -> bool:
    return earlier["env"] == "development" and is_local(earlier["public_url"] or "")


def _default_regions(earlier: Mapping[str, Any]) -> list[str]:
    return [earlier["region"]] if earlier["env"] == "production" and earlier["region"] else []


def _default_secret(earlier: Mapping[str, Any]) -> str:
    return "" if earlier["env"] == "production" else _development_secret()


def _default_database(_: Mapping[str, Any]) -> str:
    return _sqlite_in_instance()


def _sqlite_in_instance() -> str:
    file = INSTANCE / "hammer.sqlite3"
    with suppress(OSError):  # `doctor` reports it, with what to do
        INSTANCE.mkdir(mode=0o700, exist_ok=True)
    return f"sqlite:///{file}"


def _development_secret() -> str:
    """Made at the first start and kept beside the database, outside git, so that sessions survive a restart."""
    file, draft = INSTANCE / "secret_key", INSTANCE / f"secret_key.{os.getpid()}"
    try:
        if not file.exists():
            INSTANCE.mkdir(mode=0o700, exist_ok=True)
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(32))
            with suppress(FileExistsError):
                os.link(draft, file)  # whole or not at all, and only the first of several processes wins
            draft.unlink()
        return file.read_text()
    except OSError as error:
        raise Misconfigured([f"SECRET_KEY: Set one, or let this user read and write {INSTANCE}: {error.strerror}."]) from error


# The settings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one deployment, in the order in which they are read and documented."""

    # fmt: off
    env: str = setting(
        "HAMMER_ENV", str, "development",
        "What this installation is for. Where it is not set, Hammer refuses to start at a public address.",
        check=OneOf(ENVIRONMENTS),
    )
    public_url: str = setting(
        "HAMMER_PUBLIC_URL", str, _default_public_url,
        "The address that people use. It is in links, in tokens and in the last line of a text, and is never read from a "
        "request. With `https://` cookies are `Secure`. Passkeys belong to its host: an IP address can have none.",
        default_text=f"`{USUAL_ADDRESS}`; in development the address that `flask run` of this folder serves",
        check=_origin, convert=lambda url: url.rstrip("/"),
    )
    origins: frozenset[str] = setting(
        "HAMMER_ORIGINS", list, [],
        "Other origins whose pages may call the API, like `https://app.example.com,https://shop.example.com`: "
        "[single-page-app.md](integrate/single-page-app.md). Clients have origins of their own besides.",
        item=str.strip, check=_origins, convert=lambda urls: frozenset(map(serialized_origin, urls)), empty_is_unset=True,
    )
    demo: bool = setting(
        "HAMMER_DEMO", bool, _default_demo,
        "Demo mode: answers and pages show the codes. Every page, `doctor` and the log say that it is on. Production refuses "
        "to start with it.",
        default_text="on in development where `HAMMER_PUBLIC_URL` is a loopback or private address",
    )
    secret_key: str = setting(
        "SECRET_KEY", str, _default_secret,
        f"{SHORTEST_SECRET_BYTES} bytes or more of your own in production. The keys for codes, sessions, tokens and forms are "
        "derived from it.",
        default_text="made once in `instance/secret_key` in development", check=_text, empty_is_unset=True, secret=True,
    )
    secret_key_previous: tuple[str, ...] = setting(
        "SECRET_KEY_PREVIOUS", str, "",
        "Secret keys of before, with spaces between them. What was made with one of them is accepted, and nothing is made with "
        "them. So no user is signed out when `SECRET_KEY` changes: [recovery.md](recovery.md#change-secret_key).",
        check=_previous_keys, convert=lambda keys: tuple(keys.split()), empty_is_unset=True, secret=True,
    )
    database_url: str = setting(
        "DATABASE_URL", str, _default_database,
        "The address of the database: `postgresql://…` for more than one server process, also with several hosts. "
        "[deploy.md](deploy.md) says more.",
        default_text="SQLite in `instance/`", check=_database, convert=_with_list_of_hosts, empty_is_unset=True, secret=True,
    )
    database_pooler: bool = setting(
        "HAMMER_DATABASE_POOLER", bool, False,
        "On where `DATABASE_URL` is the address of a pooler, like PgBouncer in transaction mode: then nothing is kept in a session "
        "of PostgreSQL, no prepared statement and no time limit.",
    )
    redis_url: str = setting(
        "REDIS_URL", str, "",
        "Like `redis://127.0.0.1:6379/0`: counts the requests of each address for all processes together. While Redis is "
        "unreachable or slow, each process counts its own.",
        check=_redis, secret=True,
    )
    sms_url: str = setting(
        "HAMMER_SMS_URL", str, "console://",
        "The gateway that sends the texts, or up to four in order of preference with spaces between them: Twilio, Vonage, SMSC "
        "and some thirty more, AWS SNS, Kannel or any other that takes a URL. The list: [texts.md](texts.md).",
        check=_gateways, secret=True,
    )
    sms_threads: int = setting(
        "HAMMER_SMS_THREADS", int, 4,
        "How many texts a serving process sends at once. `0` where `flask --app wsgi worker` sends them, and posts logout notices "
        "and webhooks.",
        check=Range(0, 64),
    )
    sms_delay: timedelta = setting(
        "HAMMER_SMS_DELAY_SECONDS", float, 0.0, "How long the console gateway pretends to take.",
        development=1.5, check=Range(0, 10), convert=_seconds,
    )
    region: str = setting(
        "HAMMER_REGION", str, "RU", "The country of a number that is typed without `+`.",
        check=OneOf(phonenumbers.SUPPORTED_REGIONS, error="Must be a country code like RU."),
    )
    regions: frozenset[str] = setting(
        "HAMMER_REGIONS", list, _default_regions, "The countries that get texts, like `RU,KZ`.",
        default_text="every country; in production `HAMMER_REGION` alone",
        check=ContainsOnly(phonenumbers.SUPPORTED_REGIONS, error="Must be country codes like RU,KZ."),
        convert=frozenset, empty_is_unset=True,
    )
    extra_ranges: tuple[str, ...] = setting(
        "HAMMER_EXTRA_RANGES", list, [],
        "Mobile numbers that the numbering plans of this release lack, like `+22901xxxxxxxx,+7100xxxxxxx`: the digits that "
        "they begin with, and an `x` for each further one. When to set it: [deploy.md](deploy.md).",
        item=str.strip, check=_ranges, convert=tuple,
    )
    test_numbers: Mapping[str, str] = setting(
        "HAMMER_TEST_NUMBERS", str, "",
        "Numbers that sign in with a fixed code and get no texts, for store review and end-to-end tests, like "
        f"`+79290000001=482915 +79290000002=90715526`: {MOST_TEST_NUMBERS} at most, with spaces or commas between them, and "
        "codes of six or eight digits. The rules: [test-numbers.md](test-numbers.md).",
        check=_test_numbers, convert=_fixed_codes, secret=True,
    )
    test_numbers_until: date | None = setting(
        "HAMMER_TEST_NUMBERS_UNTIL", str, "",
        "The last day (UTC) of the fixed codes, like `2027-01-31`; required with `HAMMER_TEST_NUMBERS`, and at most "
        f"{LONGEST_TEST.days} days after the start. After it they are numbers like any other.",
        check=_day, convert=lambda text: date.fromisoformat(text) if text else None, empty_is_unset=True,
    )
    code_length: int = setting(
        "HAMMER_CODE_LENGTH", int, 4,
        "Digits of a one-time code, until too many wrong codes are entered: [guessing.md](guessing.md).",
        check=OneOf(CODE_LENGTHS),
    )
    code_ttl: timedelta = setting(
        "HAMMER_CODE_TTL_SECONDS", int, 300, "How long a one-time code is valid.",
        check=Range(30, LONGEST_CODE_TTL_SECONDS), convert=_seconds,
    )
    guesses_per_code: int = setting("HAMMER_GUESSES_PER_CODE", int, 3, "Guesses at one code.", check=Range(1, 10))
    guess_budgets: Mapping[int, int] = setting(
        "HAMMER_GUESS_BUDGETS", list, [20, 250, 10_000],
        "Wrong guesses a day for the whole system at 4, 6 and 8 digits. When a budget is spent, new codes are longer.",
        item=int, check=[Length(equal=len(CODE_LENGTHS)), _budgets],
        convert=lambda budgets: dict(zip(CODE_LENGTHS, budgets, strict=True)),
    )
    max_expected_takeovers: float = setting(
        "HAMMER_MAX_EXPECTED_TAKEOVERS", float, 1.0,
        "Accounts that guessing may be expected to take over in a year. Production refuses to start with settings that allow "
        "more.",
        check=Range(0, 1_000_000),
    )
    resend_wait: timedelta = setting(
        "HAMMER_RESEND_SECONDS", int, 60,
        "Before the second text to a number. It doubles with each further text, up to ten minutes, and starts again at this "
        "value after a login.",
        development=5, check=Range(0, 600), convert=_seconds,
    )
    sends_per_number_day: int = setting(
        "HAMMER_SENDS_PER_NUMBER_DAY", int, 5, "Texts to one number in 24 hours.", development=1000, check=Range(1, 10_000)
    )
    sends_per_prefix_hour: int = setting(
        "HAMMER_SENDS_PER_PREFIX_HOUR", int, 10, "Texts an hour to all numbers that differ in their last four digits only.",
        development=1000, check=Range(1, 100_000),
    )
    sends_per_address_hour: int = setting(
        "HAMMER_SENDS_PER_ADDRESS_HOUR", int, 10,
        "Texts an hour that one address may ask for; three times that a day. For IPv6: one network of 64 bits, twice as many "
        "for one of 56, four times as many for one of 48 (why: [security.md](security.md)). Devices that signed in before have "
        "three times that an hour (four times in 56 bits, five times in 48), counted separately.",
        development=1000, check=Range(1, 100_000),
    )
    sends_per_hour: int = setting(
        "HAMMER_SENDS_PER_HOUR", int, 200,
        "Texts an hour for the whole system, ten times that a day. Three tenths are reserved for devices that signed in "
        "before.",
        development=10_000, check=Range(2, 10_000_000),
    )
    requests_per_address_minute: int = setting(
        "HAMMER_REQUESTS_PER_ADDRESS_MINUTE", int, 600,
        "Requests of any kind a minute from one address, files included, counted before anything else is done; `0` for no "
        "limit. For IPv6: one network of 64 bits, twice as many for one of 56, four times as many for one of 48. Many "
        "customers of a mobile operator share one address, or one network of 48 bits.",
        development=1_000_000, check=Range(0, 10_000_000),
    )
    proxy_hops: int = setting(
        "HAMMER_PROXY_HOPS", int, 0,
        "How many proxies of your own forward requests to Hammer and state the address of the client. No header is trusted "
        "beyond them.",
        check=Range(0, 10),
    )
    support: str = setting(
        "HAMMER_SUPPORT", str, "",
        "How people reach you, like `https://example.com/help` or `help@example.com`. Pages about errors that only you can mend "
        "link to it. It is published in `/.well-known/security.txt`, which is 404 without it. An "
        "e-mail address is also named in the message to the old number after a change of number.",
        check=_contact,
        convert=lambda address: f"mailto:{address}" if _MAIL.fullmatch(address) else address,
    )
    invitation_default: str = setting(
        "HAMMER_INVITATION", str, "",
        f"Your own sentence on the landing page of an invite link: plain text, {LONGEST_INVITATION} characters at most. "
        "Without it the page has a neutral sentence.",
        check=_sentence,
    )
    invitation_en: str = setting("HAMMER_INVITATION_EN", str, "", "The same for English pages.", check=_sentence)
    invitation_ru: str = setting("HAMMER_INVITATION_RU", str, "", "The same for Russian pages.", check=_sentence)
    name: str = setting(
        "HAMMER_NAME", str, NAME,
        f"What your service is called on pages, in texts and in the API's document, {LONGEST_NAME} characters at most: "
        "[branding.md](branding.md), also for the settings that follow.",
        check=_name, empty_is_unset=True,
    )
    mark: str = setting(
        "HAMMER_MARK", str, "",
        f"The file of your mark: a square SVG of {MOST_MARK_BYTES // 1000} kB at most, without scripts, links to other files and "
        "a DOCTYPE.",
        check=_mark,
    )
    accent: str = setting(
        "HAMMER_ACCENT", str, "",
        "The colour of buttons, links and focus, like `#14673A`. It needs a contrast of 4.5:1 on the paper of the pages. The "
        "shade for the dark scheme is made from it.",
        check=Regexp(r"(#[0-9A-Fa-f]{6})?\Z", error="Must be a colour like #14673A."),
    )
    terms_url: str = setting(
        "HAMMER_TERMS_URL", str, "",
        "The page with your terms of use, linked at the foot of every page. `{language}` in it becomes `en` or `ru`.",
        check=_page,
    )
    privacy_url: str = setting("HAMMER_PRIVACY_URL", str, "", "The same for your privacy notice.", check=_page)
    help_url: str = setting("HAMMER_HELP_URL", str, "", "The same for your help.", check=_page)
    templates: str = setting(
        "HAMMER_TEMPLATES", str, "",
        "A folder with templates of your own, which are used instead of those with the same name in `hammer/templates/`.",
        check=_folder,
    )
    android_app_hash: str = setting(
        "HAMMER_ANDROID_APP_HASH", str, "",
        "The hash of your Android app for the SMS Retriever API, the last word of each text with a code, so that the app reads "
        "the code by itself.",
        check=Regexp(rf"([A-Za-z0-9+/]{{{ANDROID_HASH_LENGTH}}})?\Z", error="Must be 11 characters like FA+9qCX9VSu."),
    )
    android_apps: tuple[str, ...] = setting(
        "HAMMER_ANDROID_APP", list, [],
        "The Android app that opens invite links, like `com.example.app:14:6D:E9:…`: its package and the SHA-256 fingerprint of "
        "its certificate. Several with commas between them.",
        item=str.strip, check=_android_apps, convert=tuple, empty_is_unset=True,
    )
    apple_apps: tuple[str, ...] = setting(
        "HAMMER_APPLE_APP", list, [],
        "The app of Apple's phones that opens invite links, like `A1B2C3D4E5.com.example.app`: team id and bundle id. Several "
        "with commas between them.",
        item=str.strip, check=_apple_apps, convert=tuple, empty_is_unset=True,
    )
    invitee_numbers: str = setting(
        "HAMMER_INVITEE_NUMBERS", str, FULL,
        "How people see the numbers of those who activated their code: whole, masked (`+7········01`), or only how many and "
        "when.",
        check=OneOf(INVITEE_NUMBERS),
    )
    webhook_hosts: frozenset[str] = setting(
        "HAMMER_WEBHOOK_HOSTS", list, [],
        "Hosts to which Hammer may post although they are in your own network or have its own address, like "
        "`grafana.internal,10.0.0.7`; also by `http://`. All others need `https://` and public addresses: the URL of an app must "
        "not lead Hammer into the network behind it. In development Hammer may post to its own machine.",
        item=str.strip, check=_hosts, convert=lambda hosts: frozenset(host.lower() for host in hosts), empty_is_unset=True,
    )
    texts_kept: timedelta = setting(
        "HAMMER_TEXTS_KEPT_HOURS", int, 24,
        "How long codes that were asked for, and the texts with them, are kept after their end, to find out why a login failed. "
        "They name numbers of people who may have no account: [privacy.md](privacy.md), also for the three settings that follow.",
        check=Range(1, 24), convert=_hours,
    )
    sessions_kept: timedelta = setting(
        "HAMMER_SESSIONS_KEPT_DAYS", int, 30, "How long sessions are kept after their end, to investigate a theft.",
        check=Range(1, 30), convert=_days,
    )
    webhook_log_kept: timedelta = setting(
        "HAMMER_WEBHOOK_LOG_KEPT_DAYS", int, 30,
        "How long the log of posts to webhook endpoints is kept, and what waits for a disabled endpoint. Posts are repeated for "
        "more than three days.",
        check=Range(7, 30), convert=_days,
    )
    events_kept: timedelta = setting(
        "HAMMER_EVENTS_KEPT_DAYS", int, 365,
        "How long events are kept: the audit trail, and the feed that apps read. After a higher value is set, `audit verify` "
        "reports those that were deleted by the lower one, until they would be as old as the higher one.",
        check=Range(LEAST_EVENTS_KEPT.days, 365), convert=_days,
    )
    metrics_token: str = setting(
        "HAMMER_METRICS_TOKEN", str, "",
        "The bearer token that opens `/metrics`. Without one, `/metrics` is closed in production and open elsewhere.",
        check=_token, secret=True,
    )
    worker_metrics: str = setting(
        "HAMMER_WORKER_METRICS", str, "",
        "Where a worker (`flask worker`) answers `/metrics`: a port of 127.0.0.1, like `9101`, or a host and a port, like "
        "`10.0.0.12:9101`. Workers on one host need a port each. `HAMMER_METRICS_TOKEN` opens it as on a server.",
        check=_place, default_text="nowhere",
    )
    metrics_directory: str = setting(
        "PROMETHEUS_MULTIPROC_DIR", str, "",
        "Directory in which the processes of one server add up their figures for `/metrics`.",
        default_text="none; `gunicorn.conf.py` sets it",
    )
    tracing: bool = setting(
        "HAMMER_TRACING", bool, False,
        "Whether traces of requests and texts are sent to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names: "
        "[deploy.md](deploy.md#traces).",
    )
    # fmt: on

    @property
    def expected_takeovers_per_year(self) -> float:
        """The most accounts that guessing is expected to take over in a year."""
        return expected_takeovers_per_year(self.code_length, self.guesses_per_code, self.guess_budgets)

    def invitation(self, language: str) -> str:
        """The operator's sentence on the landing page of an invite link, in this language; "" where there is none."""
        return {"en": self.invitation_en, "ru": self.invitation_ru}.get(language) or self.invitation_default

    def key(self, purpose: str) -> bytes:
        """The 32-byte key for one purpose. What is signed for one purpose is not valid for another."""
        return _derived(self.secret_key, purpose)

    def keys(self, purpose: str) -> tuple[bytes, ...]:
        """The keys for one purpose that are accepted: that of `SECRET_KEY`, with which all is made, before those of
        `SECRET_KEY_PREVIOUS`."""
        return self.key(purpose), *(_derived(secret_key, purpose) for secret_key in self.secret_key_previous)

    def keyed_hash(self, purpose: str, value: str) -> str:
        """HMAC-SHA256 of `value` in hexadecimal digits. Only a holder of the key can find `value` from it, by trying."""
        return hmac.digest(self.key(purpose), value.encode(), "sha256").hex()

    def keyed_hashes(self, purpose: str, value: str) -> tuple[str, ...]:
        """The same by each of the `keys`. What is counted is counted under all of them, and what is looked for may be under any."""
        return tuple(hmac.digest(key, value.encode(), "sha256").hex() for key in self.keys(purpose))

    def number_hash(self, number: str) -> str:
        """The keyed hash of a telephone number, for limits, tombstones and exports: it may outlive the person's data."""
        return self.keyed_hash("numbers", number)

    def number_hashes(self, number: str) -> tuple[str, ...]:
        """The same by each of the `keys`."""
        return self.keyed_hashes("numbers", number)

    @property
    def local(self) -> bool:
        """Whether the public address is one that strangers cannot reach."""
        return is_local(self.public_url)

    @property
    def passkey_host(self) -> str | None:
        """The host that passkeys belong to (WebAuthn's relying-party id); None where browsers allow none: at an IP address, also
        one that only they read as such, like `127.1`, and at `http://` except on `localhost`."""
        host = urlsplit(self.public_url).hostname or ""
        secure = self.https or host == "localhost" or host.endswith(".localhost")
        return None if not secure or ":" in host or _ENDS_IN_NUMBER.search(host) else host

    @property
    def gateways(self) -> list[str]:
        """The URLs of the gateways, the preferred one first."""
        return self.sms_url.split()

    @property
    def https(self) -> bool:
        return self.public_url.startswith("https://")

    def flask(self) -> dict[str, Any]:
        """The same for Flask and its extensions, under their names."""
        return {
            "SETTINGS": self,
            "TESTING": self.env == "testing",
            "SECRET_KEY": self.key("pages").hex(),
            "SECRET_KEY_FALLBACKS": [key.hex() for key in self.keys("pages")[1:]],
            "WTF_CSRF_SECRET_KEY": [key.hex() for key in reversed(self.keys("pages"))],  # the last one signs
            "SQLALCHEMY_DATABASE_URI": self.database_url,
            "MAX_CONTENT_LENGTH": 16 * 1024,
            "SESSION_COOKIE_NAME": "__Host-hammer_form" if self.https else "hammer_form",
            "SESSION_COOKIE_SECURE": self.https,
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_SAMESITE": "Lax",
            "WTF_CSRF_TIME_LIMIT": None,
            "JWT_ALGORITHM": "EdDSA",
            "JWT_ACCESS_TOKEN_EXPIRES": ACCESS_TOKEN_LIFETIME,
            "JWT_TOKEN_LOCATION": ["headers"],
            "JWT_ENCODE_ISSUER": self.public_url,
            "JWT_ENCODE_AUDIENCE": self.public_url,
            "JWT_ENCODE_NBF": False,
            "JWT_COOKIE_CSRF_PROTECT": False,
        }


@cache
def _derived(secret_key: str, purpose: str) -> bytes:
    return hmac.digest(secret_key.encode(), f"hammer/{purpose}/v1".encode(), "sha256")


def expected_takeovers_per_year(code_length: int, guesses_per_code: int, guess_budgets: Mapping[int, int]) -> float:
    """The most accounts that guessing is expected to take over in a year, if every budget is spent every day.

    A code has D values. The first guess at it is right with probability 1/D, the last of A guesses with 1/(D-A+1). A right guess is
    given back, so a budget of B guesses buys at most B/(D-A) right ones. `docs/guessing.md` has the proof.
    """
    in_use = {length: most for length, most in guess_budgets.items() if length >= code_length}
    return 365.0 * sum(most / float(10**length - guesses_per_code) for length, most in in_use.items())


DECLARED: Mapping[str, Declaration] = {each.name: each.metadata["declaration"] for each in fields(Settings)}
"""Field of `Settings` -> how it is declared."""
NAMES = frozenset(declared.name for declared in DECLARED.values())
"""The environment variables that are settings."""


def read() -> Settings:
    """The settings of this process, from its environment and `.env`. Raises `Misconfigured` with all that is wrong."""
    problems = load_env_file()
    problems += _unknown_names() + _set_only_for_flask()
    env, values = Env(eager=False), dict[str, Any]()
    for name, declared in DECLARED.items():
        values[name] = declared.read(env, values)
    malformed = _malformed(env)
    problems += [f"{variable}: {sentence}" for variable, sentence in malformed.items()]
    problems += _public_by_mistake(values["public_url"])
    if values["secret_key"] in (values["secret_key_previous"] or ()):
        problems.append("SECRET_KEY_PREVIOUS: Names SECRET_KEY itself. Name the keys that were in use before.")
    problems += [f"{variable}: {sentence}" for variable, sentence in _unsafe_tests(values).items() if variable not in malformed]
    problems += [f"HAMMER_TRACING: {sentence}" for sentence in _missing_for_tracing()] if values["tracing"] else []
    if values["env"] == "production":
        unsafe = _unsafe_in_production(values)
        problems += [f"{variable}: {sentence}" for variable, sentence in unsafe.items() if variable not in malformed]
        problems = problems or _too_guessable(values)
    if problems:
        raise Misconfigured(problems)
    return Settings(**values)


# Checks of all values together


def _malformed(env: Env) -> dict[str, str]:
    """Variable -> what is wrong with its value."""
    try:
        env.seal()
    except EnvValidationError as error:
        found = cast(Mapping[str, Any], error.error_messages)
        return {variable: " ".join(_sentences(wrong)) for variable, wrong in found.items()}
    return {}


def _sentences(found: Any) -> list[str]:
    """What is wrong with a value. For a list environs reports only the positions of bad entries."""
    if isinstance(found, str | int):
        return [found if isinstance(found, str) else f"Entry {found + 1} is invalid."]
    each = found.values() if isinstance(found, Mapping) else found
    return list(dict.fromkeys(sentence for part in each for sentence in _sentences(part)))


def _unknown_names() -> list[str]:
    """A problem for each variable that looks like a setting and is none: a typing error would leave its setting at the default."""
    problems, ours = [], {name.removeprefix("HAMMER_"): name for name in NAMES}
    for name in sorted(os.environ):
        if name.upper().startswith("HAMMER_") and name not in NAMES and not _OF_KUBERNETES.fullmatch(name):
            nearest = get_close_matches(name.upper().removeprefix("HAMMER_"), sorted(ours), n=1, cutoff=0.7)
            hint = f"The nearest is {ours[nearest[0]]}." if nearest else "docs/settings.md lists all."
            problems.append(f"{name}: There is no such setting. {hint}")
    return problems


def _public_by_mistake(public_url: str | None) -> list[str]:
    """A problem if the public address is not local and `HAMMER_ENV` is not set: development, the default, would be public."""
    if not public_url or is_local(public_url) or "HAMMER_ENV" in os.environ:
        return []
    choose = "set it to production; or to development, if this installation is for trying things out."
    return [f"HAMMER_ENV: People reach {public_url} from outside: {choose}"]


def _unsafe_in_production(values: Mapping[str, Any]) -> dict[str, str]:
    """Variable -> what to do about it. Malformed values (None) are reported elsewhere."""
    secret, gateways, public_url = (values[name] or "" for name in ("secret_key", "sms_url", "public_url"))
    unsafe = {}
    if _is_weak(secret):
        make_one = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        unsafe["SECRET_KEY"] = f"Set one of {SHORTEST_SECRET_BYTES} bytes or more, ten of them different, of your own: {make_one}."
    if values["demo"]:
        unsafe["HAMMER_DEMO"] = "Turn it off; it shows everybody's codes."
    if any(url.startswith(("console://", "memory://")) for url in gateways.split()):
        unsafe["HAMMER_SMS_URL"] = "Name a real gateway; console:// and memory:// are for development."
    if os.environ.get("FLASK_DEBUG", "").lower() not in ("", "0", "false", "no"):  # as Flask reads it
        unsafe["FLASK_DEBUG"] = "Turn it off; it opens a console to anyone, and shows the details of errors."
    if not public_url.startswith("https://"):
        unsafe["HAMMER_PUBLIC_URL"] = "Set the address people use; it begins with https://."
    return unsafe


def _unsafe_tests(values: Mapping[str, Any]) -> dict[str, str]:
    """Variable -> what is wrong with the test numbers. A last day that is over is none: a restart in the night after it must not
    stop the service, and the fixed codes have ended."""
    numbers, until, unsafe = values["test_numbers"] or {}, values["test_numbers_until"], dict[str, str]()
    if any(len(code) < (values["code_length"] or 0) for code in numbers.values()):
        unsafe["HAMMER_TEST_NUMBERS"] = "Give each code as many digits as HAMMER_CODE_LENGTH, or more."
    latest = (datetime.now(UTC) + LONGEST_TEST).date()
    if numbers and until is None:
        unsafe["HAMMER_TEST_NUMBERS_UNTIL"] = f"Say on which day the test numbers end, {latest} at the latest."
    elif until is not None and until > latest:
        unsafe["HAMMER_TEST_NUMBERS_UNTIL"] = f"Choose an earlier day, {latest} at the latest."
    return unsafe


def _missing_for_tracing() -> list[str]:
    """What to do before traces can be sent. By itself the library would send them to a port of this machine."""
    missing, endpoint = [], _parts(traces_endpoint())
    if not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        missing.append("Install what it needs: pip install -r requirements-tracing.txt.")
    if endpoint is None or endpoint.scheme not in ("http", "https"):
        missing.append("Set OTEL_EXPORTER_OTLP_ENDPOINT to your collector, like http://127.0.0.1:4318.")
    if _of_otlp("PROTOCOL") not in ("", "http/protobuf"):
        missing.append("Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and name the port for it (usually 4318).")
    return missing


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # a package around it
        return False


def traces_endpoint() -> str:
    """Where OpenTelemetry sends traces, by its own variables; empty if they name no place."""
    return _of_otlp("ENDPOINT")


def _of_otlp(name: str) -> str:
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def _too_guessable(values: Mapping[str, Any]) -> list[str]:
    expected = expected_takeovers_per_year(values["code_length"], values["guesses_per_code"], values["guess_budgets"])
    if expected <= values["max_expected_takeovers"]:
        return []
    allowed = f"HAMMER_MAX_EXPECTED_TAKEOVERS allows {values['max_expected_takeovers']:g}"
    remedy = "Lower the budgets, or set HAMMER_CODE_LENGTH=6."
    return [f"HAMMER_GUESS_BUDGETS: Guessing may take over {expected:.2f} accounts a year, and {allowed}. {remedy}"]


# The file `.env`


def load_env_file() -> list[str]:
    """Adds to the environment what `.env` sets and the environment does not. Returns the problems of the file."""
    if _skips_env_file() or not ENV_FILE.exists():
        return []
    try:
        text = ENV_FILE.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return [f"{ENV_FILE}: Cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}."]
    for name, value in dotenv_values(stream=StringIO(text)).items():
        if value is not None:
            os.environ.setdefault(name, value)
    lines = [part.original.line for part in parse_stream(StringIO(text)) if part.error or (part.key and part.value is None)]
    return [f"{ENV_FILE}: Line {line} is not NAME=value." for line in lines]


def _skips_env_file() -> bool:
    return os.environ.get("FLASK_SKIP_DOTENV", "").lower() not in ("", "0", "false", "no")  # as Flask reads it


def _set_only_for_flask() -> list[str]:
    """A problem for each setting in a file that `flask` reads and servers do not: `.flaskenv`, or `.env` of another folder."""
    if _skips_env_file() or click.get_current_context(silent=True) is None:
        return []
    problems = []
    for file in filter(None, (find_dotenv(name, usecwd=True) for name in (".flaskenv", ".env"))):
        if ENV_FILE.exists() and ENV_FILE.samefile(file):
            continue
        with suppress(OSError, UnicodeDecodeError):
            found = [name for name, value in dotenv_values(file).items() if name in NAMES and os.environ.get(name) == value]
            problems += [f"{name}: {file} sets it, which flask reads and servers do not. Set it in {ENV_FILE}." for name in found]
    return problems


# The address that `flask run` serves, for the other commands of this folder

_notes: list[TextIO] = []
"""Kept open, and so locked, for as long as this process lives."""


def _served_at() -> str:
    """The address of this process if it is `flask run`; else of another `flask run` of this folder; else the usual one."""
    command = click.get_current_context(silent=True)
    if command is None or command.info_name != "run" or "port" not in command.params:
        return served_by_another() or USUAL_ADDRESS
    host, port = command.params["host"], command.params["port"]
    here = "localhost" if host in _OPENED_AT_LOCALHOST else host
    url = f"{'https' if command.params.get('cert') else 'http'}://{f'[{here}]' if ':' in here else here}:{port}"
    _leave_note(url, port)
    return url


def _leave_note(url: str, port: int) -> None:
    """Writes the address where commands in other terminals find it. The lock on the file ends with this process."""
    with suppress(ImportError, OSError):
        import fcntl  # noqa: PLC0415  # not on every system

        INSTANCE.mkdir(mode=0o700, exist_ok=True)
        note = open(INSTANCE / f"served-{port}", "a+", opener=lambda path, flags: os.open(path, flags, 0o600))  # noqa: SIM115
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        note.truncate(0)
        note.write(url)
        note.flush()
        _notes.append(note)


def served_by_another() -> str | None:
    """The address of the `flask run` of this folder that was started last and still runs."""
    with suppress(ImportError, OSError):
        import fcntl  # noqa: PLC0415

        for note in sorted(INSTANCE.glob("served-*"), key=lambda file: file.stat().st_mtime, reverse=True):
            with note.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return file.read()
    return None
