"""What differs between deployments: read from the environment once, checked as a whole, never changed afterwards."""

import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, TextIO, cast
from urllib.parse import SplitResult, urlsplit

import click
import phonenumbers
from dotenv import dotenv_values, find_dotenv
from dotenv.parser import parse_stream
from environs import Env, EnvValidationError
from marshmallow import ValidationError
from marshmallow.validate import ContainsOnly, Length, OneOf, Range
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

OWN_GATEWAYS = {"console", "memory", "http", "https", "post+http", "post+https", "sns"}
SMS_SERVICES = {
    "46elks", "atalk", "bulksms", "bulkvs", "burstsms", "clickatell", "clicksend", "cm", "d7sms", "eight00com", "elks",
    "exotel", "gupshup", "httpsms", "infobip", "kaleyra", "kavenegar", "klr", "kudosity", "mobilemessage", "mobilemsg", "msg91",
    "msgbird", "nexmo", "notifyre", "octopush", "plivo", "ringc", "serwersms", "seven", "sfr", "sinch", "smsc", "smseagle",
    "smseagles", "smsmanager", "smsmgr", "smstunnel", "telesign", "telnyx", "twilio", "voipms", "vonage",
}  # fmt: skip
"""Those that apprise knows. Its SMPP is not among them: it takes a refusal for a success. Kannel speaks SMPP."""
MOST_GATEWAYS = 4
DATABASES = ("sqlite", "postgresql", "postgresql+psycopg")
ENVIRONMENTS = ("development", "testing", "production")
FULL, MASKED, COUNT = INVITEE_NUMBERS = ("full", "masked", "count")
CODE_LENGTHS = (4, 6, 8)
LONGEST_INVITATION = 200
LONGEST_CODE_TTL_SECONDS = 600
"""NIST SP 800-63B-4 §3.1.3.2: a code sent out of band is good for ten minutes at most."""
LONGEST_HOST = 253
"""Letters in a name of the DNS (RFC 1035 §2.3.4)."""
MOST_DIGITS = 15
"""Of a telephone number with its country code (ITU-T E.164)."""
SHORTEST_SECRET_BYTES = 32
SHORTEST_TOKEN = 16
ACCESS_TOKEN_LIFETIME = timedelta(minutes=15)
ACCESS_TOKEN_LEEWAY = timedelta(seconds=30)
"""So much the clocks of our machines may differ."""
INSTANCE = Path(__file__).parent / "instance"
ENV_FILE = Path(__file__).resolve().parent / ".env"
"""Read by every process alike. `FLASK_SKIP_DOTENV=1` switches it off, as it does for Flask."""
_CHOOSE = "set it to production; or to development in so many words, if this is a place to try things out."
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_OF_KUBERNETES = re.compile(r"HAMMER_(\w+_)?(SERVICE_(HOST|PORT)|PORT)(_\w+)?")
"""What Kubernetes sets in each pod for a service whose name begins with `hammer`."""


USUAL_ADDRESS = "http://127.0.0.1:5000"
"""Where `flask run` serves unless another port is named."""
_notes: list[TextIO] = []
"""Kept open, and so locked, for as long as this process lives."""
_LOCAL = [
    ipaddress.ip_network(each)
    for each in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1", "fc00::/7", "fe80::/10")
]
"""Loopback, RFC 1918, ULA and link-local: networks that strangers do not reach."""


class Misconfigured(click.ClickException):
    """All that is wrong with the configuration, one sentence a line. Commands show it as it is, without a traceback."""

    exit_code = 78
    """EX_CONFIG of sysexits.h: systemd does not try again what is so the next time too."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Hammer does not start with this configuration:\n" + "\n".join(f"  - {p}" for p in problems))
        self.problems = problems


@cache
def _derived(secret_key: str, purpose: str) -> bytes:
    return hmac.digest(secret_key.encode(), f"hammer/{purpose}/v1".encode(), "sha256")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One deployment's choices. Times are in seconds in the environment and `timedelta` here."""

    env: str
    demo: bool
    secret_key: str = field(repr=False)
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    """Where requests of an address are counted for all processes together; empty: each process counts its own."""
    sms_url: str = field(repr=False)
    """Gateways in order of preference, separated by spaces."""
    sms_threads: int
    """How many threads of a serving process carry texts; 0 where `worker` does it."""
    sms_delay: timedelta
    public_url: str
    region: str
    regions: frozenset[str]
    """Countries that get texts, like `RU`; empty: every country."""
    extra_ranges: tuple[str, ...] = ()
    """Mobile numbers beside those that phonenumbers knows, like `+22901xxxxxxxx`: each `x` is a digit."""
    code_length: int
    code_ttl: timedelta
    guesses_per_code: int
    resend_wait: timedelta
    """Before the second text to a number; doubles with each further one."""
    sends_per_number_day: int
    sends_per_prefix_hour: int
    """To all numbers that differ in their last four digits alone."""
    sends_per_address_hour: int
    sends_per_hour: int
    """Of the whole system; what follows a day is ten times that."""
    support: str
    """How the operator is reached, as a URI (`https:` or `mailto:`); empty: not at all."""
    invitee_numbers: str
    """How people see the numbers of those who activated their code: `full`, `masked`, or `count` for how many there are alone."""
    invitations: Mapping[str, str]
    """Language, or "" for all of them -> the operator's sentence on the landing of an invite link; "" where there is none."""
    requests_per_address_minute: int
    """Of any kind, files included; 0 for no limit."""
    metrics_token: str = field(repr=False)
    """What shows that somebody may read `/metrics`; without one it is closed in production, and open elsewhere."""
    metrics_directory: str
    """Where the processes of one server put their figures together; empty: there is one process."""
    proxy_hops: int
    """How many proxies of our own stand before us and say whom they speak for."""
    guess_budgets: Mapping[int, int]
    """Digits -> wrong guesses a day for everybody together."""
    max_expected_takeovers: float
    """A year; more and production refuses to start."""

    @property
    def expected_takeovers_per_year(self) -> float:
        """The most accounts that guessing is expected to take over in a year."""
        return expected_takeovers_per_year(self.code_length, self.guesses_per_code, self.guess_budgets)

    def invitation(self, language: str) -> str:
        """What one is invited to, in the operator's own words; "" where the operator has none for this language."""
        return self.invitations.get(language) or self.invitations[""]

    def key(self, purpose: str) -> bytes:
        """The 32-byte key for one purpose, so that what one part signs means nothing to another."""
        return _derived(self.secret_key, purpose)

    def keyed_hash(self, purpose: str, value: str) -> str:
        """64 hexadecimal digits that stand for `value` and lead back to it only for who holds the key."""
        return hmac.digest(self.key(purpose), value.encode(), "sha256").hex()

    def number_hash(self, number: str) -> str:
        """What stands for a telephone number in limits, tombstones and exports: it outlives the person's data and names nobody."""
        return self.keyed_hash("numbers", number)

    @property
    def local(self) -> bool:
        """Whether the public address is one that strangers do not reach."""
        return is_local(self.public_url)

    @property
    def gateways(self) -> list[str]:
        """The URLs of the gateways, the preferred one first."""
        return self.sms_url.split()

    @property
    def https(self) -> bool:
        return self.public_url.startswith("https://")

    def flask(self) -> dict[str, Any]:
        """The same, as Flask and its extensions want it."""
        return {
            "SETTINGS": self,
            "TESTING": self.env == "testing",
            "SECRET_KEY": self.key("pages").hex(),
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


def expected_takeovers_per_year(code_length: int, guesses_per_code: int, guess_budgets: Mapping[int, int]) -> float:
    """The most accounts that guessing is expected to take over in a year, if somebody spends every budget on every day of it.

    Of a code with D values the first guess hits with 1/D, the last of A with 1/(D-A+1), and one that hits is given back, so that a
    budget buys B/(D-A) hits: about B/D. `docs/guessing.md` has the proof.
    """
    in_use = {length: most for length, most in guess_budgets.items() if length >= code_length}
    return 365.0 * sum(most / float(10**length - guesses_per_code) for length, most in in_use.items())


def load_env_file() -> list[str]:
    """Adds to the environment what `.env` sets and the environment does not. Returns what is wrong with the file."""
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


def _known_to_flask_alone(known: set[str]) -> list[str]:
    """Flask also reads `.flaskenv`, and files of other folders; servers do not. Commands would see other settings than they."""
    if _skips_env_file() or click.get_current_context(silent=True) is None:
        return []
    problems = []
    for file in filter(None, (find_dotenv(name, usecwd=True) for name in (".flaskenv", ".env"))):
        if ENV_FILE.exists() and ENV_FILE.samefile(file):
            continue
        with suppress(OSError, UnicodeDecodeError):
            found = [name for name, value in dotenv_values(file).items() if name in known and os.environ.get(name) == value]
            problems += [f"{name}: {file} sets it, which flask reads and servers do not. Set it in {ENV_FILE}." for name in found]
    return problems


def _unknown(known: set[str]) -> list[str]:
    """A name with a typing error would leave its setting at the default, in silence."""
    problems = []
    for name in sorted(os.environ):
        if name.upper().startswith("HAMMER_") and name not in known and not _OF_KUBERNETES.fullmatch(name):
            [nearest] = get_close_matches(name.upper(), known, n=1, cutoff=0) or [""]
            problems.append(f"{name}: There is no such setting. The nearest is {nearest}.")
    return problems


def is_local(url: str) -> bool:
    """Whether an address (`//host:port` is enough) is of this machine or a private network. A name of another host never is."""
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


def _served_at() -> str:
    """Where this process serves if it is `flask run`; else where another of this folder does, or would."""
    command = click.get_current_context(silent=True)
    if command is None or command.info_name != "run" or "port" not in command.params:
        return served_by_another() or USUAL_ADDRESS
    host, port = command.params["host"], command.params["port"]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # of all addresses of this machine the nearest
    url = f"{'https' if command.params.get('cert') else 'http'}://{f'[{here}]' if ':' in here else here}:{port}"
    _leave_note(url, port)
    return url


def _leave_note(url: str, port: int) -> None:
    """Lets commands in other terminals know where this process serves, until it ends: the lock on the note goes with it."""
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
    """Where a `flask run` of this folder serves now, of several the one that was started last."""
    with suppress(ImportError, OSError):
        import fcntl  # noqa: PLC0415

        for note in sorted(INSTANCE.glob("served-*"), key=lambda file: file.stat().st_mtime, reverse=True):
            with note.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return file.read()
    return None


def read() -> Settings:
    """The settings of this process, from its environment and `.env`. Raises `Misconfigured` with all that is wrong at once."""
    unreadable = load_env_file()
    env = Env(eager=False)
    values = _values(env)
    problems = unreadable + _problems(env, values)
    if not problems:
        values["guess_budgets"] = dict(zip(CODE_LENGTHS, values["guess_budgets"], strict=True))
        problems = _too_guessable(values) if values["env"] == "production" else []
    if problems:
        raise Misconfigured(problems)
    for duration in ("sms_delay", "code_ttl", "resend_wait"):
        values[duration] = timedelta(seconds=values[duration])
    values["regions"], values["public_url"] = frozenset(values["regions"]), values["public_url"].rstrip("/")
    if _MAIL.fullmatch(values["support"]):
        values["support"] = f"mailto:{values['support']}"
    values["extra_ranges"] = tuple(values["extra_ranges"])
    return Settings(**values)


def _values(env: Env) -> dict[str, Any]:
    """Field of `Settings` -> what the environment sets, or its default; None where that is malformed."""
    name = env.str("HAMMER_ENV", "development", validate=OneOf(ENVIRONMENTS))
    developing, production = name == "development", name == "production"
    served_at = _served_at() if developing and "HAMMER_PUBLIC_URL" not in os.environ else USUAL_ADDRESS
    public_url = env.str("HAMMER_PUBLIC_URL", served_at, validate=_origin)
    region = env.str("HAMMER_REGION", "RU", validate=OneOf(phonenumbers.SUPPORTED_REGIONS, error="Is no country code like RU."))
    return {
        "env": name,
        "demo": env.bool("HAMMER_DEMO", developing and is_local(public_url or "")),
        "secret_key": env.str("SECRET_KEY", "", validate=_text) or ("" if production else _development_secret()),
        "database_url": env.str("DATABASE_URL", "", validate=_database) or _sqlite_in_instance(),
        "sms_url": env.str("HAMMER_SMS_URL", "console://", validate=_gateways),
        "sms_threads": env.int("HAMMER_SMS_THREADS", 4, validate=Range(0, 64)),
        "sms_delay": env.float("HAMMER_SMS_DELAY_SECONDS", 1.5 if developing else 0.0, validate=Range(0, 10)),
        "redis_url": env.str("REDIS_URL", "", validate=_redis),
        "public_url": public_url,
        "region": region,
        "regions": env.list(
            "HAMMER_REGIONS",
            [],
            validate=ContainsOnly(phonenumbers.SUPPORTED_REGIONS, error="Holds what is no country code like RU."),
        )
        or ([region] if production else []),
        "extra_ranges": env.list("HAMMER_EXTRA_RANGES", [], subcast=str.strip, validate=_ranges),
        "code_length": env.int("HAMMER_CODE_LENGTH", 4, validate=OneOf(CODE_LENGTHS)),
        "code_ttl": env.int("HAMMER_CODE_TTL_SECONDS", 300, validate=Range(30, LONGEST_CODE_TTL_SECONDS)),
        "guesses_per_code": env.int("HAMMER_GUESSES_PER_CODE", 3, validate=Range(1, 10)),
        "resend_wait": env.int("HAMMER_RESEND_SECONDS", 5 if developing else 60, validate=Range(0, 600)),
        "sends_per_number_day": env.int("HAMMER_SENDS_PER_NUMBER_DAY", 1000 if developing else 5, validate=Range(1, 10_000)),
        "sends_per_prefix_hour": env.int("HAMMER_SENDS_PER_PREFIX_HOUR", 1000 if developing else 10, validate=Range(1, 100_000)),
        "sends_per_address_hour": env.int("HAMMER_SENDS_PER_ADDRESS_HOUR", 1000 if developing else 10, validate=Range(1, 100_000)),
        "sends_per_hour": env.int("HAMMER_SENDS_PER_HOUR", 10_000 if developing else 200, validate=Range(2, 10_000_000)),
        "requests_per_address_minute": env.int(
            "HAMMER_REQUESTS_PER_ADDRESS_MINUTE", 1_000_000 if developing else 600, validate=Range(0, 10_000_000)
        ),
        "support": env.str("HAMMER_SUPPORT", "", validate=_contact),
        "metrics_token": env.str("HAMMER_METRICS_TOKEN", "", validate=_token),
        "metrics_directory": env.str("PROMETHEUS_MULTIPROC_DIR", ""),
        "invitee_numbers": env.str("HAMMER_INVITEE_NUMBERS", FULL, validate=OneOf(INVITEE_NUMBERS)),
        "invitations": {
            "": env.str("HAMMER_INVITATION", "", validate=_sentence),
            "en": env.str("HAMMER_INVITATION_EN", "", validate=_sentence),
            "ru": env.str("HAMMER_INVITATION_RU", "", validate=_sentence),
        },
        "proxy_hops": env.int("HAMMER_PROXY_HOPS", 0, validate=Range(0, 10)),
        "guess_budgets": env.list("HAMMER_GUESS_BUDGETS", [20, 250, 10_000], subcast=int, validate=[Length(equal=3), _budgets]),
        "max_expected_takeovers": env.float("HAMMER_MAX_EXPECTED_TAKEOVERS", 1.0, validate=Range(0, 1_000_000)),
    }


def _problems(env: Env, values: Mapping[str, Any]) -> list[str]:
    """What is wrong with values that were read from this environment, and with names that it has."""
    malformed: Mapping[str, Any] = {}
    try:
        env.seal()
    except EnvValidationError as error:
        malformed = cast(Mapping[str, Any], error.error_messages)
    known = {*env.dump(), *malformed}  # all that was asked for
    problems = _unknown(known) + _known_to_flask_alone(known)
    problems += [f"{variable}: {' '.join(_sentences(found))}" for variable, found in malformed.items()]
    public_url = values["public_url"]
    if public_url and not is_local(public_url) and "HAMMER_ENV" not in os.environ:
        problems.append(f"HAMMER_ENV: People reach {public_url} from outside: {_CHOOSE}")
    if values["env"] == "production":
        unsafe = _unsafe_in_production(values)
        problems += [f"{variable}: {sentence}" for variable, sentence in unsafe.items() if variable not in malformed]
    return problems


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


def _budgets(most: list[int]) -> None:
    if any(budget < 0 for budget in most):
        raise ValidationError("Has a budget below nought.")


def _unsafe_in_production(values: Mapping[str, Any]) -> dict[str, str]:
    """Variable -> what to do about it. What is malformed (None) is told of elsewhere."""
    secret, gateways, public_url = (values[name] or "" for name in ("secret_key", "sms_url", "public_url"))
    unsafe = {}
    if len(secret.encode(errors="ignore")) < SHORTEST_SECRET_BYTES or len(set(secret)) < 10:
        make_one = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        unsafe["SECRET_KEY"] = f"Set one of {SHORTEST_SECRET_BYTES} bytes or more, of your own: {make_one}."
    if values["demo"]:
        unsafe["HAMMER_DEMO"] = "Turn it off; it shows everybody's codes."
    if any(url.startswith(("console://", "memory://")) for url in gateways.split()):
        unsafe["HAMMER_SMS_URL"] = "Name a real gateway; console:// and memory:// are for development."
    if os.environ.get("FLASK_DEBUG", "").lower() not in ("", "0", "false", "no"):  # as Flask reads it
        unsafe["FLASK_DEBUG"] = "Turn it off; it opens a console to whoever finds it, and shows faults as they are."
    if not public_url.startswith("https://"):
        unsafe["HAMMER_PUBLIC_URL"] = "Set the address people use; it begins with https://."
    return unsafe


def _sentences(found: Any) -> list[str]:
    """What is wrong with a value. Of a list environs tells only at which places something is."""
    if isinstance(found, str | int):
        return [found if isinstance(found, str) else f"Entry {found + 1} is none."]
    each = found.values() if isinstance(found, Mapping) else found
    return list(dict.fromkeys(sentence for part in each for sentence in _sentences(part)))


def _too_guessable(values: Mapping[str, Any]) -> list[str]:
    expected = expected_takeovers_per_year(values["code_length"], values["guesses_per_code"], values["guess_budgets"])
    if expected <= values["max_expected_takeovers"]:
        return []
    allowed = f"HAMMER_MAX_EXPECTED_TAKEOVERS allows {values['max_expected_takeovers']:g}"
    remedy = "Lower the budgets, or set HAMMER_CODE_LENGTH=6."
    return [f"HAMMER_GUESS_BUDGETS: Guessing may take over {expected:.2f} accounts a year, and {allowed}. {remedy}"]


def _text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValidationError("Is no text in UTF-8.") from error


def _sentence(value: str) -> None:
    if len(value) > LONGEST_INVITATION or not value.isprintable() or re.search(r"[<>]", value) or value != value.strip():
        raise ValidationError(f"Write one line of plain text, {LONGEST_INVITATION} characters at most, without markup.")


def _parts(url: str) -> SplitResult | None:
    """Of an address; None where it is none."""
    try:
        parts = urlsplit(url)
        known = parts.port is None or parts.port > 0
    except ValueError:
        return None
    return parts if parts.hostname and known else None


def _origin(url: str) -> None:
    parts = _parts(url)
    if parts is None or parts.scheme not in ("http", "https") or parts.path.strip("/") or re.search(r"[?#@\\\s]", url):
        raise ValidationError("Is no address like https://login.example.com.")
    if len(parts.hostname or "") > LONGEST_HOST:
        raise ValidationError(f"Its host is longer than {LONGEST_HOST} letters.")
    if not url.isascii():
        raise ValidationError("Write its host in ASCII, as browsers send it: xn--….")
    if not re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?", parts.netloc):  # or browsers read another host in it
        raise ValidationError("Its host has signs that no name has.")


def _gateways(urls: str) -> None:
    """By their form alone. They hold passwords, so what is said of one names its place, never itself."""
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
    parts = _parts(url)
    if parts is None or "{" in parts.netloc or parts.fragment or not url.isascii():
        return "is no address like https://host/send?to={to}&text={text}."
    places = set(re.findall(r"\{(.*?)\}", url))
    if not {"to", "text"} <= places:
        return "does not say with {to} and {text} where the number and the words go."
    strange = places - {"to", "text", "coding", "dlr"}
    return (
        f"has place-holders that are none: {len(strange)}; there are {{to}}, {{text}}, {{coding}} and {{dlr}}." if strange else ""
    )


def _database(url: str) -> None:
    if not url:
        return
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        parts = None
    if parts is None or parts.drivername not in DATABASES or parts.database in (None, "", ":memory:") or "@" in (parts.host or ""):
        raise ValidationError("Is no address like postgresql://user:password@host/name or sqlite:////path/to/file.")


def _redis(url: str) -> None:
    if not url:
        return
    from redis import ConnectionPool  # noqa: PLC0415  # 60 ms that only those with a Redis pay

    parts = _parts(url)
    if parts is None or not re.fullmatch(r"(/\d*)?", parts.path):
        raise ValidationError("Is no address like redis://:password@host:6379/0.")
    try:
        ConnectionPool.from_url(url).make_connection()  # does not connect yet
    except (ValueError, TypeError) as error:
        raise ValidationError("Is no address like redis://:password@host:6379/0.") from error


def _contact(address: str) -> None:
    parts = _parts(address)
    by_web = parts is not None and parts.scheme == "https" and re.fullmatch(r"[!-~]+", address)
    if address and not by_web and not _MAIL.fullmatch(address.removeprefix("mailto:")):
        raise ValidationError("Is no address like https://example.com/help or help@example.com.")


def _token(token: str) -> None:
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise ValidationError(f"Make it {SHORTEST_TOKEN} letters, digits and signs or more, without a space.")


def _sqlite_in_instance() -> str:
    file = INSTANCE / "hammer.sqlite3"
    with suppress(OSError):  # `doctor` tells of it, with what to do
        INSTANCE.mkdir(mode=0o700, exist_ok=True)
    return f"sqlite:///{file}"


def _development_secret() -> str:
    """Made at the first start and kept beside the database, out of git, so that a restart signs nobody out."""
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
