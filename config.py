"""What differs between deployments: read from the environment once, checked as a whole, never changed afterwards."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import click
import phonenumbers
from environs import Env, EnvValidationError
from marshmallow import ValidationError
from marshmallow.validate import ContainsOnly, Length, OneOf, Range
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

GATEWAYS = ("console://", "memory://")
DATABASES = ("sqlite", "postgresql", "postgresql+psycopg")
ENVIRONMENTS = ("development", "testing", "production")
FULL, MASKED, COUNT = INVITEE_NUMBERS = ("full", "masked", "count")
CODE_LENGTHS = (4, 6, 8)
LONGEST_CODE_TTL_SECONDS = 600
"""NIST SP 800-63B-4 §3.1.3.2: a code sent out of band is good for ten minutes at most."""
SHORTEST_SECRET_BYTES = 32
ACCESS_TOKEN_LIFETIME = timedelta(minutes=15)
INSTANCE = Path(__file__).parent / "instance"


class Misconfigured(click.ClickException):
    """All that is wrong with the configuration, one sentence a line. Commands show it as it is, without a traceback."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Hammer does not start with this configuration:\n" + "\n".join(f"  - {p}" for p in problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One deployment's choices. Times are in seconds in the environment and `timedelta` here."""

    env: str
    demo: bool
    secret_key: str = field(repr=False)
    database_url: str = field(repr=False)
    sms_url: str = field(repr=False)
    sms_delay: timedelta
    public_url: str
    region: str
    regions: frozenset[str]
    """Countries that get texts, like `RU`; empty: every country."""
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
    invitee_numbers: str
    """How people see the numbers of those who activated their code: `full`, `masked`, or `count` for how many there are alone."""
    proxy_hops: int
    """How many proxies of our own stand before us and say whom they speak for."""
    guess_budgets: Mapping[int, int]
    """Digits -> wrong guesses a day for everybody together."""
    max_expected_takeovers: float
    """A year; more and production refuses to start."""

    @property
    def expected_takeovers_per_year(self) -> float:
        return expected_takeovers_per_year(self.code_length, self.guesses_per_code, self.guess_budgets)

    def key(self, purpose: str) -> bytes:
        """The 32-byte key for one purpose, so that what one part signs means nothing to another."""
        return hmac.digest(self.secret_key.encode(), f"hammer/{purpose}/v1".encode(), "sha256")

    def keyed_hash(self, purpose: str, value: str) -> str:
        """64 hexadecimal digits that stand for `value` and lead back to it only for who holds the key."""
        return hmac.new(self.key(purpose), value.encode(), hashlib.sha256).hexdigest()

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
            "JWT_SECRET_KEY": self.key("tokens").hex(),
            "JWT_ALGORITHM": "HS256",
            "JWT_ACCESS_TOKEN_EXPIRES": ACCESS_TOKEN_LIFETIME,
            "JWT_TOKEN_LOCATION": ["headers"],
            "JWT_ENCODE_ISSUER": self.public_url,
            "JWT_DECODE_ISSUER": self.public_url,
            "JWT_ENCODE_AUDIENCE": self.public_url,
            "JWT_DECODE_AUDIENCE": self.public_url,
            "JWT_DECODE_LEEWAY": 30,
            "JWT_COOKIE_CSRF_PROTECT": False,
        }


def expected_takeovers_per_year(code_length: int, guesses_per_code: int, guess_budgets: Mapping[int, int]) -> float:
    """The most accounts that guessing is expected to take over in a year, if somebody spends every budget on every day of it.

    Of a code with D values the first guess hits with 1/D, the last of A with 1/(D-A+1), and one that hits is given back, so that a
    budget buys B/(D-A) hits: about B/D. `docs/guessing.md` has the proof.
    """
    in_use = {length: most for length, most in guess_budgets.items() if length >= code_length}
    return 365.0 * sum(most / float(10**length - guesses_per_code) for length, most in in_use.items())


def read() -> Settings:
    """The settings of this process, from its environment. Raises `Misconfigured` with all that is wrong at once."""
    env = Env(eager=False)
    name = env.str("HAMMER_ENV", "development", validate=OneOf(ENVIRONMENTS))
    developing, production = name == "development", name == "production"
    region = env.str("HAMMER_REGION", "RU", validate=OneOf(phonenumbers.SUPPORTED_REGIONS, error="Is no country code like RU."))
    values: dict[str, Any] = {
        "env": name,
        "demo": env.bool("HAMMER_DEMO", developing),
        "secret_key": env.str("SECRET_KEY", "") or ("" if production else _development_secret()),
        "database_url": env.str("DATABASE_URL", "", validate=_database) or _sqlite_in_instance(),
        "sms_url": env.str("HAMMER_SMS_URL", "console://", validate=OneOf(GATEWAYS)),
        "sms_delay": env.float("HAMMER_SMS_DELAY_SECONDS", 1.5 if developing else 0.0, validate=Range(0, 60)),
        "public_url": env.str("HAMMER_PUBLIC_URL", "http://127.0.0.1:5000", validate=_origin),
        "region": region,
        "regions": env.list(
            "HAMMER_REGIONS", [region] if production else [], validate=ContainsOnly(phonenumbers.SUPPORTED_REGIONS)
        ),
        "code_length": env.int("HAMMER_CODE_LENGTH", 4, validate=OneOf(CODE_LENGTHS)),
        "code_ttl": env.int("HAMMER_CODE_TTL_SECONDS", 300, validate=Range(30, LONGEST_CODE_TTL_SECONDS)),
        "guesses_per_code": env.int("HAMMER_GUESSES_PER_CODE", 3, validate=Range(1, 10)),
        "resend_wait": env.int("HAMMER_RESEND_SECONDS", 5 if developing else 60, validate=Range(0, 600)),
        "sends_per_number_day": env.int("HAMMER_SENDS_PER_NUMBER_DAY", 1000 if developing else 5, validate=Range(1, 10_000)),
        "sends_per_prefix_hour": env.int("HAMMER_SENDS_PER_PREFIX_HOUR", 1000 if developing else 10, validate=Range(1, 100_000)),
        "sends_per_address_hour": env.int("HAMMER_SENDS_PER_ADDRESS_HOUR", 1000 if developing else 10, validate=Range(1, 100_000)),
        "sends_per_hour": env.int("HAMMER_SENDS_PER_HOUR", 10_000 if developing else 200, validate=Range(2, 10_000_000)),
        "invitee_numbers": env.str("HAMMER_INVITEE_NUMBERS", FULL, validate=OneOf(INVITEE_NUMBERS)),
        "proxy_hops": env.int("HAMMER_PROXY_HOPS", 0, validate=Range(0, 10)),
        "guess_budgets": env.list("HAMMER_GUESS_BUDGETS", [20, 250, 10_000], subcast=int, validate=[Length(equal=3), _budgets]),
        "max_expected_takeovers": env.float("HAMMER_MAX_EXPECTED_TAKEOVERS", 1.0, validate=Range(0, 1_000_000)),
    }
    problems = []
    try:
        env.seal()
    except EnvValidationError as error:
        problems += [
            f"{variable}: {' '.join(sentences)}"
            for variable, sentences in cast(Mapping[str, list[str]], error.error_messages).items()
        ]
    if production:
        problems += _unsafe_in_production(values)
    if not problems:
        values["guess_budgets"] = dict(zip(CODE_LENGTHS, values["guess_budgets"], strict=True))
        problems += _too_guessable(values) if production else []
    if problems:
        raise Misconfigured(problems)
    for duration in ("sms_delay", "code_ttl", "resend_wait"):
        values[duration] = timedelta(seconds=values[duration])
    return Settings(**values | {"regions": frozenset(values["regions"]), "public_url": values["public_url"].rstrip("/")})


def _budgets(most: list[int]) -> None:
    if min(most) < 0:
        raise ValidationError("Has a budget below nought.")


def _unsafe_in_production(values: Mapping[str, Any]) -> list[str]:
    rules = {
        f"SECRET_KEY: Set one of {SHORTEST_SECRET_BYTES} bytes or more, of your own: python3 -c 'import secrets; "
        "print(secrets.token_urlsafe(32))'.": len(values["secret_key"].encode()) >= SHORTEST_SECRET_BYTES
        and len(set(values["secret_key"])) >= 10,
        "HAMMER_DEMO: Turn it off; it shows everybody's codes.": not values["demo"],
        "HAMMER_SMS_URL: Name a gateway; the console is for development.": values["sms_url"] not in ("console://", "memory://"),
        "HAMMER_PUBLIC_URL: Set the address people use; it begins with https://.": str(values["public_url"]).startswith("https://"),
    }
    return [sentence for sentence, holds in rules.items() if not holds]


def _too_guessable(values: Mapping[str, Any]) -> list[str]:
    expected = expected_takeovers_per_year(values["code_length"], values["guesses_per_code"], values["guess_budgets"])
    if expected <= values["max_expected_takeovers"]:
        return []
    allowed = f"HAMMER_MAX_EXPECTED_TAKEOVERS allows {values['max_expected_takeovers']:g}"
    remedy = "Lower the budgets, or set HAMMER_CODE_LENGTH=6."
    return [f"HAMMER_GUESS_BUDGETS: Guessing may take over {expected:.2f} accounts a year, and {allowed}. {remedy}"]


def _origin(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValidationError("Is no address like https://login.example.com.")


def _database(url: str) -> None:
    try:
        parts = url and make_url(url)
    except (ArgumentError, ValueError):
        parts = None
    if parts is None or (parts and (parts.drivername not in DATABASES or parts.database in (None, "", ":memory:"))):
        raise ValidationError("Is no address like postgresql://user:password@host/name or sqlite:////path/to/file.")


def _sqlite_in_instance() -> str:
    with suppress(OSError):  # `doctor` tells of it, with what to do
        INSTANCE.mkdir(exist_ok=True)
    return f"sqlite:///{INSTANCE / 'hammer.sqlite3'}"


def _development_secret() -> str:
    """Made at the first start and kept beside the database, out of git, so that a restart signs nobody out."""
    file, draft = INSTANCE / "secret_key", INSTANCE / f"secret_key.{os.getpid()}"
    try:
        if not file.exists():
            INSTANCE.mkdir(exist_ok=True)
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(32))
            with suppress(FileExistsError):
                os.link(draft, file)  # whole or not at all, and only the first of several processes wins
            draft.unlink()
        return file.read_text()
    except OSError as error:
        raise Misconfigured([f"SECRET_KEY: Set one, or let this user read and write {INSTANCE}: {error.strerror}."]) from error
