"""What is wrong with this deployment, and what to do about it: `examine` tries every real part that the settings name."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import delete, exists, false, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

import config
from config import Settings
from hammer import clock
from hammer.db.database import db, transaction
from hammer.models import MessageState, User, Verification
from hammer.operations import readiness
from hammer.refusals import Unavailable
from hammer.sessions import devices
from hammer.sms import gateways, messages, outbox
from hammer.users import people

FINE: Final = "fine"
ADVICE: Final = "advice"
"""It works, and could be better."""
WRONG: Final = "wrong"

LEAST_FREE_BYTES = 200 * 1000 * 1000
OLDEST_POSTGRESQL = 13
MOST_SKEW = timedelta(seconds=5)
"""Between this machine's clock and the database's: codes and tokens count in seconds."""
UNPRUNED = timedelta(days=3)
"""So old a verification would be gone if `prune` ran at all."""
NUMBERS_SEEN = 10_000
"""So many stored numbers are looked at; more would take longer than a second."""
WAITS_LONG = timedelta(minutes=2)
MIGRATE = "Run: flask --app wsgi db upgrade"


@dataclass(frozen=True)
class Finding:
    """One part of the deployment: how it is, and what to do unless it is fine."""

    state: str
    part: str
    how: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything there is to say, part by part. Leaves everything as it was."""
    yield from _mode(settings)
    yield from _secret(settings)
    yield from _private()
    yield from _gateways(settings)
    yield from _address(settings)
    yield from _contact(settings)
    yield from _proxies(settings)
    yield from _guessing(settings)
    yield from _redis(settings)
    yield from _database(settings)


def _mode(settings: Settings) -> Iterator[Finding]:
    demo = "; demo mode is on and shows everybody's codes" if settings.demo else ""
    yield Finding(FINE, "configuration", f"{settings.env}{demo}")
    if settings.env == "production" or settings.local:
        return
    if settings.demo:
        remedy = "Unless only people whom you trust reach it, set HAMMER_DEMO=off."
        yield Finding(WRONG, "configuration", "demo mode is on at a public address: everybody can sign in as anybody", remedy)
    how = f"{settings.env} at a public address: nothing sees to it that limits, gateways and secrets are fit for people"
    yield Finding(ADVICE, "configuration", how, "If people rely on it, set HAMMER_ENV=production.")


def _secret(settings: Settings) -> Iterator[Finding]:
    file = config.INSTANCE / "secret_key"
    if os.environ.get("SECRET_KEY") == settings.secret_key:
        yield Finding(FINE, "secret key", "from SECRET_KEY")
    elif os.access(file, os.R_OK) and file.read_text() == settings.secret_key:
        yield Finding(FINE, "secret key", f"from {file}")
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding(WRONG, "secret key", "others on this machine may read it", f"Run: chmod 600 {file}")
    else:
        yield Finding(FINE, "secret key", "given by the program that made the application")
    if len(settings.secret_key.encode()) < config.SHORTEST_SECRET_BYTES:
        yield Finding(
            ADVICE,
            "secret key",
            f"shorter than {config.SHORTEST_SECRET_BYTES} bytes; production refuses it",
            "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )


def _private() -> Iterator[Finding]:
    """Of what stands beside the program: `.env`, which may hold secrets, and the folder of the database and the key."""
    if config.ENV_FILE.exists():
        yield from _shut("settings file", config.ENV_FILE)
    if config.INSTANCE.exists() and config.INSTANCE.stat().st_mode & stat.S_IRWXO:
        how = f"others on this machine may look into {config.INSTANCE}"
        yield Finding(ADVICE, "folder", how, f"Run: chmod 700 {config.INSTANCE}")


def _shut(part: str, file: Path) -> Iterator[Finding]:
    """Whether others on this machine can read a file, or put another in its place."""
    if file.stat().st_mode & stat.S_IRWXO:
        yield Finding(WRONG, part, f"others on this machine may read {file}", f"Run: chmod o= {file}")
    folder = file.parent.stat().st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        how = f"others on this machine may put another in the place of {file}"
        yield Finding(WRONG, part, how, f"Run: chmod o-w {file.parent}")


def _gateways(settings: Settings) -> Iterator[Finding]:
    for standing in gateways.examine(settings):
        state = WRONG if not standing.works else ADVICE if standing.remedy else FINE
        yield Finding(state, "gateway", standing.how, standing.remedy)
    if not settings.sms_threads:
        yield Finding(FINE, "gateway", "this process carries no texts (HAMMER_SMS_THREADS=0); `flask --app wsgi worker` does")


def _address(settings: Settings) -> Iterator[Finding]:
    yield Finding(FINE, "address", f"{settings.public_url}, in links and in the last line of texts")
    served = config.served_by_another()
    if served and served != settings.public_url:
        remedy = "Set HAMMER_PUBLIC_URL in .env, so that all processes read the same."
        yield Finding(ADVICE, "address", f"but a server of this folder is at {served}", remedy)
    for language, shortcoming in messages.shortcomings(settings).items():
        remedy = "Use a shorter host in HAMMER_PUBLIC_URL; 25 letters fit every text."
        yield Finding(ADVICE, "address", f"its host is so long that in {language} {shortcoming}", remedy)


def _contact(settings: Settings) -> Iterator[Finding]:
    if settings.env == "production" and not settings.support:
        how = "none: /.well-known/security.txt is 404, and people who find a fault do not know whom to write to"
        yield Finding(ADVICE, "contact", how, "Set HAMMER_SUPPORT, like security@example.com.")


def _proxies(settings: Settings) -> Iterator[Finding]:
    if settings.env == "production" and not settings.proxy_hops:
        how = "none is believed; behind one, all people would be one address, and calls would seem to come by http"
        yield Finding(ADVICE, "proxies", how, "If one with TLS stands before Hammer, set HAMMER_PROXY_HOPS=1.")


def _outbox() -> Iterator[Finding]:
    """Texts that wait although there was time, and those that no gateway took."""
    status = outbox.status()
    given_up = sum(count for (state, _), count in status.newest.items() if state in (MessageState.GIVEN_UP, MessageState.FAILED))
    remedy = "Look at them: flask --app wsgi texts list"
    if status.oldest_waiting > WAITS_LONG:
        how = f"one has waited for {status.oldest_waiting.total_seconds() / 60:.0f} minutes"
        yield Finding(ADVICE, "texts", how, "Start a server or `flask --app wsgi worker`; if one runs, look at its log.")
    elif given_up:
        yield Finding(ADVICE, "texts", f"{given_up} of the newest {outbox.COUNTED} were given up, or did not arrive", remedy)
    else:
        yield Finding(FINE, "texts", f"none waits long, and of the newest {outbox.COUNTED} none was given up")


def _guessing(settings: Settings) -> Iterator[Finding]:
    """The bound, and what is outside of it (`docs/guessing.md`)."""
    how = f"at most {settings.expected_takeovers_per_year:.2f} accounts a year, whatever is spent on it"
    if settings.expected_takeovers_per_year <= settings.max_expected_takeovers:
        yield Finding(FINE, "guessing", how)
    else:
        remedy = "Lower HAMMER_GUESS_BUDGETS, or set HAMMER_CODE_LENGTH=6; production refuses it."
        yield Finding(ADVICE, "guessing", f"{how}; {settings.max_expected_takeovers:g} are allowed", remedy)
    chance = f"{100 * devices.MOST_GUESSES / 10**settings.code_length:.5f}".rstrip("0")
    of_a_copy = f"the copied token of a known device, {devices.MOST_GUESSES} guesses at one account ({chance} %)"
    others = "intercepted texts, swapped SIM cards, and pages that ask for codes"
    yield Finding(FINE, "guessing", f"outside of that: {of_a_copy}; {others}")


def _redis(settings: Settings) -> Iterator[Finding]:
    if not settings.redis_url:
        if settings.env == "production" and db.engine.dialect.name != "sqlite":
            remedy = "With more than one process, set REDIS_URL."
            yield Finding(ADVICE, "redis", "none: each process counts requests per address by itself", remedy)
        return
    from redis import Redis, RedisError  # noqa: PLC0415  # 60 ms that only those with a Redis pay

    try:
        with Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2, retry=None) as server:
            version = server.info("server")["redis_version"]
    except RedisError as error:
        how = f"does not answer: {type(error).__name__}. All works, and each process counts requests by itself"
        yield Finding(WRONG, "redis", how, "Start it, or mend host, port and password in REDIS_URL.")
    else:
        yield Finding(FINE, "redis", f"Redis {version}")


def _database(settings: Settings) -> Iterator[Finding]:
    """Each step only if the one before it holds: of a database that does not answer there is nothing more to say."""
    on_sqlite = db.engine.dialect.name == "sqlite"
    try:
        yield from _sqlite() if on_sqlite else _postgresql()
    except (OperationalError, PoolTimeout) as error:
        yield Finding(WRONG, "database", f"{_where()} does not answer: {first_line(error)}", _how_to_reach(on_sqlite))
        return
    except DBAPIError as error:
        yield Finding(WRONG, "database", f"{_where()}: {first_line(error)}", "Mend what it says.")
        return
    migrated = _migrated()
    yield migrated
    if migrated.state == FINE:
        yield _writable(on_sqlite)
        yield _clocks(on_sqlite)
        yield from _outbox()
        yield _numbers(settings)
        yield from _housekeeping(settings, on_sqlite)


def _numbers(settings: Settings) -> Finding:
    """Whether people can still sign in with the numbers that are stored: numbering plans change."""
    lost, seen = people.sample_unreadable(settings, NUMBERS_SEEN)
    drawn = ", taken at random," if seen == NUMBERS_SEEN else ""
    if not lost:
        return Finding(FINE, "numbers", f"of {seen} that are stored{drawn} none has become unreadable")
    remedy = "List them: flask --app wsgi users unreadable. Then move each (users move), or set HAMMER_EXTRA_RANGES."
    return Finding(
        ADVICE,
        "numbers",
        f"{lost} of {seen} that are stored{drawn} are no mobile numbers any more: their owners cannot sign in",
        remedy,
    )


def _sqlite() -> Iterator[Finding]:
    journal = db.session.scalar(text("pragma journal_mode"))
    yield Finding(FINE, "database", f"SQLite {db.session.scalar(text('select sqlite_version()'))}, {_where()}")
    file = str(db.session.scalar(text("select file from pragma_database_list where name = 'main'")))
    if journal != "wal":
        yield Finding(
            WRONG,
            "database",
            f"its journal is {journal}, not wal: readers and writers shut each other out",
            "Put it on a local disk (network shares cannot do this) that this user may write to.",
        )
    if os.environ.get("WEB_CONCURRENCY", "1") not in ("", "0", "1"):
        yield Finding(
            ADVICE,
            "database",
            "several web workers (WEB_CONCURRENCY) share one SQLite and wait for each other's writes",
            "Set WEB_CONCURRENCY=1, or DATABASE_URL to a PostgreSQL.",
        )
    for each in (Path(file + ending) for ending in ("", "-wal", "-shm")):
        with suppress(FileNotFoundError):
            yield from _shut("database file", each)
    free = shutil.disk_usage(Path(file).parent).free
    amount = f"{free / 1e9:.1f} GB free beside the database"
    yield Finding(FINE, "disk", amount) if free >= LEAST_FREE_BYTES else Finding(WRONG, "disk", amount, "Make room.")


def _postgresql() -> Iterator[Finding]:
    version = str(db.session.scalar(text("show server_version")))
    yield Finding(FINE, "database", f"PostgreSQL {version}, {_where()}")
    if int(version.split(".", 1)[0]) < OLDEST_POSTGRESQL:
        yield Finding(ADVICE, "database", "an old PostgreSQL, without security updates", f"Update to {OLDEST_POSTGRESQL} or newer.")
    encoding = db.session.scalar(text("show server_encoding"))
    if encoding != "UTF8":
        yield Finding(WRONG, "database", f"its encoding is {encoding}", "Make it anew: createdb -E UTF8 -T template0 …")


def _migrated() -> Finding:
    from alembic.migration import MigrationContext  # noqa: PLC0415  # 60 ms that no other command should pay
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    steps = ScriptDirectory(str(Path(__file__).parent.parent.parent / "migrations"))
    newest = steps.get_current_head()
    with db.engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_revision()
    if at == newest:
        return Finding(FINE, "tables", f"migrated, step {at}")
    if at is None:
        return Finding(WRONG, "tables", "there are none yet", MIGRATE)
    if at in {step.revision for step in steps.walk_revisions()}:
        return Finding(WRONG, "tables", f"at step {at}, and this program needs {newest}", MIGRATE)
    return Finding(WRONG, "tables", f"at step {at}, which this program does not know", "Start the newer program.")


def _writable(on_sqlite: bool) -> Finding:
    """Whether every table lets us write: deletes no row from each, which asks for the same right as deleting one. And whether there
    is room: that only shows when something is written, and then taken away again."""
    try:
        with transaction() as tx:
            for table in db.metadata.sorted_tables:
                tx.execute(delete(table).where(false()))
            readiness.write(tx)
    except Unavailable as no:
        cause = no.__cause__
        if isinstance(cause, OperationalError) and readiness.word(cause) != readiness.LOCKED:
            return _read_only(cause, on_sqlite)
        return Finding(WRONG, "writing", "another program holds the database locked", "Find and end it, or wait, and look again.")
    except DBAPIError as error:
        return _read_only(error, on_sqlite)
    return Finding(FINE, "writing", "allowed in every table")


def _read_only(error: DBAPIError, on_sqlite: bool) -> Finding:
    if readiness.word(error) == readiness.FULL:
        return Finding(WRONG, "writing", first_line(error), "Make room on the disk of the database.")
    remedy = (
        "Let the user that runs Hammer write to the file and to its directory (chown, chmod)."
        if on_sqlite
        else "Name the primary server and a role that may write in DATABASE_URL."
    )
    return Finding(WRONG, "writing", first_line(error), remedy)


def _clocks(on_sqlite: bool) -> Finding:
    """PostgreSQL's clock against ours; SQLite has none, so there the newest rows must not come from the future."""
    now = clock.now()
    if on_sqlite:
        theirs: datetime = db.session.scalar(select(func.max(User.date_joined))) or now
        skew = max(theirs - now, timedelta(0))
    else:
        theirs = db.session.scalars(select(func.clock_timestamp())).one()
        skew = abs(theirs - now)
    if skew <= MOST_SKEW:
        return Finding(FINE, "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")
    how = f"{now:%Y-%m-%d %H:%M:%S} UTC, and by the database it is {theirs:%Y-%m-%d %H:%M:%S}"
    return Finding(WRONG, "clock", how, "Set both clocks by NTP: timedatectl set-ntp true")


def _housekeeping(settings: Settings, on_sqlite: bool) -> Iterator[Finding]:
    """What only matters where people rely on it."""
    if settings.env != "production":
        return
    if on_sqlite:
        yield Finding(ADVICE, "database", "SQLite serves one machine", "For more than one, set DATABASE_URL to a PostgreSQL.")
    if not db.session.scalar(select(exists().where(User.is_staff))):
        yield Finding(ADVICE, "staff", "there is nobody", "Run: flask --app wsgi createsuperuser PHONE")
    oldest = db.session.scalar(select(func.min(Verification.expires_at)))
    if oldest is not None and oldest < clock.now() - UNPRUNED:
        yield Finding(ADVICE, "keeping", f"verifications of {oldest:%Y-%m-%d} are still there", "Hourly: flask --app wsgi prune")


def _where() -> str:
    return db.engine.url.set(query={}).render_as_string(hide_password=True)  # a password may stand in the query


def _how_to_reach(on_sqlite: bool) -> str:
    if on_sqlite:
        return "Make its directory, and let the user that runs Hammer write to it; or set DATABASE_URL."
    return "Start it, or mend host, port, name, user and password in DATABASE_URL."


def first_line(error: Exception) -> str:
    """What the database itself said, without the statement and the background reading."""
    said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__
