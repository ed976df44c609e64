"""Checks a deployment: `examine` tries every part that the settings name, and says what to do about faults."""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from sqlalchemy import delete, exists, false, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

import config
from config import Settings
from hammer import clock, events
from hammer.db.causes import Cause, cause_of
from hammer.db.database import db, transaction
from hammer.factors import staff, totp
from hammer.grants import logout_notices
from hammer.login import test_numbers
from hammer.models import Event, MessageState, User, Verification
from hammer.operations import doctor_of_clients, doctor_of_passkeys, doctor_of_webhooks, readiness, seals
from hammer.operations.findings import ADVICE, FINE, WRONG, Finding
from hammer.parsing import phones
from hammer.refusals import Invalid, Unavailable
from hammer.sessions import devices
from hammer.sms import gateways, messages, outbox
from hammer.users import people

__all__ = ["ADVICE", "FINE", "WRONG", "Finding", "examine", "first_line"]

LEAST_FREE_BYTES = 200 * 1000 * 1000
OLDEST_POSTGRESQL = 13
MOST_SKEW = timedelta(seconds=5)
"""The largest acceptable difference between the clocks of this machine and the database: codes and tokens live for seconds."""
UNPRUNED = timedelta(days=3)
"""`prune` would have deleted a verification that expired this long ago."""
NUMBERS_SEEN = 10_000
"""How many stored numbers are checked; more would take longer than a second."""
WAITS_LONG = timedelta(minutes=2)
"""A text that waits longer than this is reported."""
MIGRATE = "Run: flask --app wsgi db upgrade"
USE_POOLER = "Set HAMMER_DATABASE_POOLER=on."
REFUSED_OPTIONS = "unsupported startup parameter"
REFUSED_TRANSACTIONS = "statement pooling mode"
"""Words of PgBouncer."""
NO_CONNECTION_LEFT = ("too many connections", "too many clients", "remaining connection slots")
"""Words of PostgreSQL."""
OPEN_LONG = timedelta(seconds=10)
"""A transaction that is open for longer is reported: no request takes that long."""
HOLDERS = """
    select pid, application_name, state, xact_start at time zone 'UTC', count(holder), max(waits)
    from pg_stat_activity left join (
        select unnest(pg_blocking_pids(pid)) as holder, clock_timestamp() - query_start as waits
        from pg_stat_activity where wait_event_type = 'Lock'
    ) as blocked on holder = pid
    where datname = current_database() and pid <> pg_backend_pid() and wait_event_type is distinct from 'Lock'
    group by pid, application_name, state, xact_start, backend_type
    having count(holder) > 0 or backend_type = 'client backend' and clock_timestamp() - xact_start > :long
    order by count(holder) desc, xact_start limit 5
"""
SHOWN_OF_URL = ("host", "port", "target_session_attrs")
"""Parameters that are shown. Others may contain a password."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Checks all parts, one after the other. Changes nothing, but asks Hammer's own address what apps ask."""
    yield from _mode(settings)
    yield from _secret(settings)
    yield from _private()
    yield from _gateways(settings)
    yield from _address(settings)
    yield from _contact(settings)
    yield from _proxies(settings)
    yield from _guessing(settings)
    yield from _test_numbers(settings)
    yield from _redis(settings)
    yield from _tracing(settings)
    yield from _database(settings)


def _mode(settings: Settings) -> Iterator[Finding]:
    demo = "; demo mode is on and shows everyone's codes" if settings.demo else ""
    yield Finding(FINE, "configuration", f"{settings.env}{demo}")
    if settings.env == "production" or settings.local:
        return
    if settings.demo:
        remedy = "Set HAMMER_DEMO=off, unless only people whom you trust can reach it."
        yield Finding(WRONG, "configuration", "demo mode is on at a public address: everyone can sign in as anyone", remedy)
    how = f"{settings.env} at a public address: limits, gateways and secrets are not checked for production use"
    yield Finding(ADVICE, "configuration", how, "If people rely on it, set HAMMER_ENV=production.")


def _secret(settings: Settings) -> Iterator[Finding]:
    file = config.INSTANCE / "secret_key"
    if os.environ.get("SECRET_KEY") == settings.secret_key:
        yield Finding(FINE, "secret key", "from SECRET_KEY")
    elif os.access(file, os.R_OK) and file.read_text() == settings.secret_key:
        yield Finding(FINE, "secret key", f"from {file}")
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding(WRONG, "secret key", "others on this machine can read it", f"Run: chmod 600 {file}")
    else:
        yield Finding(FINE, "secret key", "given by the program that made the application")
    if len(settings.secret_key.encode()) < config.SHORTEST_SECRET_BYTES:
        yield Finding(
            ADVICE,
            "secret key",
            f"shorter than {config.SHORTEST_SECRET_BYTES} bytes; production refuses it",
            "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )


def _tracing(settings: Settings) -> Iterator[Finding]:
    """Names host and port of the collector only: its URL may contain a password."""
    if not settings.tracing:
        yield Finding(FINE, "tracing", "off")
        return
    collector = urlsplit(config.traces_endpoint())
    yield Finding(FINE, "tracing", f"spans go to {collector.scheme}://{collector.netloc.rpartition('@')[2]}")


def _private() -> Iterator[Finding]:
    """Checks who can read `.env`, which may hold secrets, and the folder of the database and the secret key."""
    if config.ENV_FILE.exists():
        yield from _permissions("settings file", config.ENV_FILE)
    if config.INSTANCE.exists() and config.INSTANCE.stat().st_mode & stat.S_IRWXO:
        how = f"others on this machine can read the folder {config.INSTANCE}"
        yield Finding(ADVICE, "folder", how, f"Run: chmod 700 {config.INSTANCE}")


def _permissions(part: str, file: Path) -> Iterator[Finding]:
    """Checks that others on this machine cannot read or replace a file."""
    if file.stat().st_mode & stat.S_IRWXO:
        yield Finding(WRONG, part, f"others on this machine can read {file}", f"Run: chmod o= {file}")
    folder = file.parent.stat().st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        how = f"others on this machine can replace {file}"
        yield Finding(WRONG, part, how, f"Run: chmod o-w {file.parent}")


def _gateways(settings: Settings) -> Iterator[Finding]:
    for found in gateways.examine(settings):
        state = WRONG if not found.works else ADVICE if found.remedy else FINE
        yield Finding(state, "gateway", found.how, found.remedy)
    if not settings.sms_threads:
        yield Finding(FINE, "gateway", "servers send no texts (HAMMER_SMS_THREADS=0); `flask --app wsgi worker` does")


def _address(settings: Settings) -> Iterator[Finding]:
    yield Finding(FINE, "address", f"{settings.public_url}, used in links and in the last line of texts")
    served = config.served_by_another()
    if served and served != settings.public_url:
        remedy = "Set HAMMER_PUBLIC_URL in .env, so that all processes use the same address."
        yield Finding(ADVICE, "address", f"but a server of this folder listens at {served}", remedy)
    if settings.passkey_host is None:
        remedy = f"Use https:// and a host name in HAMMER_PUBLIC_URL; while you develop, {config.USUAL_ADDRESS}."
        yield Finding(ADVICE, "address", "browsers allow no passkeys at an IP address, nor at http:// except on localhost", remedy)
    for language, shortcoming in messages.shortcomings(settings).items():
        remedy = "Use a shorter host in HAMMER_PUBLIC_URL, or a shorter HAMMER_NAME: docs/texts.md says what fits."
        yield Finding(ADVICE, "address", f"its host or HAMMER_NAME is so long that in {language} {shortcoming}", remedy)


def _contact(settings: Settings) -> Iterator[Finding]:
    if settings.env == "production" and not settings.support:
        how = "none: /.well-known/security.txt is 404, and people who find a vulnerability cannot report it"
        yield Finding(ADVICE, "contact", how, "Set HAMMER_SUPPORT, like security@example.com.")


def _proxies(settings: Settings) -> Iterator[Finding]:
    if settings.env == "production" and not settings.proxy_hops:
        how = "none is trusted; behind a proxy, all callers would have its address, and https would look like http"
        yield Finding(ADVICE, "proxies", how, "If Hammer runs behind a proxy with TLS, set HAMMER_PROXY_HOPS=1.")


def _outbox() -> Iterator[Finding]:
    """Reports texts that have waited for long, and those that no gateway took."""
    status = outbox.status()
    given_up = sum(count for (state, _), count in status.newest.items() if state in (MessageState.GIVEN_UP, MessageState.FAILED))
    remedy = "To list them: flask --app wsgi texts list"
    if status.oldest_waiting > WAITS_LONG:
        how = f"one has waited for {status.oldest_waiting.total_seconds() / 60:.0f} minutes"
        yield Finding(ADVICE, "texts", how, "Start a server or `flask --app wsgi worker`; if one is running, look at its log.")
    elif given_up:
        yield Finding(ADVICE, "texts", f"{given_up} of the newest {outbox.COUNTED} were given up, or did not arrive", remedy)
    else:
        yield Finding(FINE, "texts", f"none has waited for long, and none of the newest {outbox.COUNTED} was given up")


def _logout_notices() -> Iterator[Finding]:
    """Reports notices to apps that were due long ago, and those that were given up. Nothing where there is nothing to say."""
    overdue, part = logout_notices.status().overdue, "logout notices"
    if overdue > WAITS_LONG:
        how = f"one has been due for {overdue.total_seconds() / 60:.0f} minutes"
        yield Finding(ADVICE, part, how, "Start a server or `flask --app wsgi worker`; if one is running, look at its log.")
    for client, count in sorted(logout_notices.given_up_lately().items()):
        how = f"{count} for {client} {'was' if count == 1 else 'were'} given up in the last 24 hours: people may still be signed in"
        remedy = f"The log of the worker or server says why. To see the address: flask --app wsgi clients show '{client}'"
        yield Finding(ADVICE, part, how, remedy)


def _seals() -> Finding:
    """Reports events of the audit trail that have waited for their seal for long."""
    status, part = seals.status(), "audit trail"
    if status.oldest_waiting <= seals.STANDS_STILL:
        sealed = f"{status.head.sealed_at:%Y-%m-%d %H:%M} UTC" if status.head else "never"
        return Finding(FINE, part, f"last sealed: {sealed}; events that wait for their seal: {status.waiting}")
    how = f"sealing stands still: an event has waited for {status.oldest_waiting.total_seconds() / 60:.0f} minutes"
    remedy = "Start a server or `flask --app wsgi worker`. If one is running, end transactions that are open for long."
    return Finding(ADVICE, part, how, remedy)


def _guessing(settings: Settings) -> Iterator[Finding]:
    """The limit on accounts taken over by guessing, and the attacks that it does not cover (`docs/guessing.md`)."""
    how = f"at most {settings.expected_takeovers_per_year:.2f} accounts a year, whatever an attacker spends"
    if settings.expected_takeovers_per_year <= settings.max_expected_takeovers:
        yield Finding(FINE, "guessing", how)
    else:
        remedy = "Lower HAMMER_GUESS_BUDGETS, or set HAMMER_CODE_LENGTH=6; production refuses it."
        yield Finding(ADVICE, "guessing", f"{how}; {settings.max_expected_takeovers:g} are allowed", remedy)
    chance = f"{100 * devices.MOST_GUESSES / 10**settings.code_length:.5f}".rstrip("0")
    of_a_copy = f"the copied token of a known device, {devices.MOST_GUESSES} guesses at one account ({chance} %)"
    others = "intercepted texts, swapped SIM cards, and pages that ask for codes"
    yield Finding(FINE, "guessing", f"not covered by that: {of_a_copy}; {others}")
    accepted = totp.ACCEPTED * len(settings.keys("second-factors"))
    share = 365 * staff.WRONG_PER_DAY * accepted / (totp.CODES - accepted)
    how = f"the app codes of a staff member: at most {100 * share:.2f} % a year, for an attacker who has their number already"
    yield Finding(FINE, "guessing", how)


def _test_numbers(settings: Settings) -> Iterator[Finding]:
    """What the fixed codes of `HAMMER_TEST_NUMBERS` are good for today. Shows no code, and only parts of the numbers."""
    if not settings.test_numbers:
        return
    part, active = "test numbers", test_numbers.active(settings, clock.now())
    shown = ", ".join(map(phones.masked, settings.test_numbers))
    if active:
        yield Finding(FINE, part, f"{len(active)} with fixed codes, until {settings.test_numbers_until} (UTC): {shown}")
    else:
        how = f"{len(settings.test_numbers)} whose last day is over; they are numbers like any other: {shown}"
        yield Finding(ADVICE, part, how, "Remove HAMMER_TEST_NUMBERS, or set new codes and another HAMMER_TEST_NUMBERS_UNTIL.")
    for number, code in settings.test_numbers.items():
        if not _can_sign_in(settings, number):
            remedy = "Choose a mobile number of a country that you serve, and write it with `+` and digits only, like +79290000001."
            how = f"nobody can sign in with {phones.masked(number)}: it is not accepted as a number"
            yield Finding(WRONG if active else ADVICE, part, how, remedy)
        if _is_tried_first(code):
            remedy = "Draw it: python3 -c 'import secrets; print(f\"{secrets.randbelow(10**8):08}\")'"
            yield Finding(ADVICE, part, f"the code of {phones.masked(number)} has a pattern that people try first", remedy)


def _can_sign_in(settings: Settings, number: str) -> bool:
    """Whether the number is accepted, and written as it is stored."""
    try:
        return phones.read(settings, number) == number
    except Invalid:
        return False


def _is_tried_first(code: str) -> bool:
    """Whether the digits count up or down, or one part of them is repeated."""
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(code)}
    return len(steps) == 1 or any(code == code[:part] * (len(code) // part) for part in (2, 3, 4))


def _test_users(settings: Settings) -> Iterator[Finding]:
    """Reports test numbers whose users are staff, or were there before the number was a test number: they may be real people."""
    uses = select(func.min(Event.at)).where(Event.user_id == User.id, Event.kind == events.Kind.TEST_NUMBER_USED)
    found = select(User.telephone_number, User.is_staff, User.date_joined, uses.scalar_subquery()).where(
        User.telephone_number.in_(test_numbers.active(settings, clock.now()))
    )
    for number, is_staff, joined, first_use in db.session.execute(found):
        shown = phones.masked(number or "")
        if is_staff:
            how = f"{shown} is the number of staff: it gets texts, and its fixed code is not accepted"
            yield Finding(WRONG, "test numbers", how, "Choose another number, or: flask --app wsgi users make-staff --undo NUMBER")
        elif not _made_by_code(joined, first_use):
            how = f"{shown} has a user who was not made by its fixed code: who knows the code can sign in as them"
            yield Finding(ADVICE, "test numbers", how, "Choose another number, unless the user is one of yours for tests.")


def _made_by_code(joined: datetime, first_use: datetime | None) -> bool:
    """Whether a user who joined then was made by the first sign-in with a fixed code."""
    return first_use is not None and first_use - joined < timedelta(minutes=1)


def _redis(settings: Settings) -> Iterator[Finding]:
    if not settings.redis_url:
        if settings.env == "production" and db.engine.dialect.name != "sqlite":
            remedy = "With more than one process, set REDIS_URL."
            yield Finding(ADVICE, "redis", "none: each process counts requests per address on its own", remedy)
        return
    from redis import Redis, RedisError  # noqa: PLC0415  # takes 60 ms, and is only needed with a Redis

    try:
        with Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2, retry=None) as server:
            version = server.info("server")["redis_version"]
    except RedisError as error:
        how = f"does not answer: {type(error).__name__}. Everything works, but each process counts requests on its own"
        yield Finding(WRONG, "redis", how, "Start it, or correct host, port and password in REDIS_URL.")
    else:
        yield Finding(FINE, "redis", f"Redis {version}")


def _database(settings: Settings) -> Iterator[Finding]:
    """Checks the database step by step, and stops at the first step that fails."""
    on_sqlite = db.engine.dialect.name == "sqlite"
    try:
        yield from _sqlite() if on_sqlite else _postgresql(settings)
    except (OperationalError, PoolTimeout) as error:
        why = first_line(error)
        if REFUSED_OPTIONS in why:
            yield Finding(WRONG, "pooler", f"{_where()} is one, and does not forward time limits: {why}", USE_POOLER)
        elif REFUSED_TRANSACTIONS in why:
            yield Finding(WRONG, "pooler", f"{_where()} is one: {why}", "Set pool_mode = transaction in its configuration.")
        elif any(words in why for words in NO_CONNECTION_LEFT):
            yield Finding(WRONG, "database", f"{_where()}: {why}", "Raise the limit, or put PgBouncer in front: docs/deploy.md.")
        else:
            yield Finding(WRONG, "database", f"{_where()} does not answer: {why}", _how_to_reach(on_sqlite))
        return
    except DBAPIError as error:
        yield Finding(WRONG, "database", f"{_where()}: {first_line(error)}", "Correct what the message says.")
        return
    if not on_sqlite:
        yield from _locks()
    try:
        yield from _tables(settings, on_sqlite)
    except (DBAPIError, PoolTimeout) as error:
        if cause_of(error) != Cause.LOCKED:
            raise
        db.session.rollback()
        yield Finding(ADVICE, "database", f"further checks were left out: {first_line(error)}", "Run doctor again afterwards.")


def _tables(settings: Settings, on_sqlite: bool) -> Iterator[Finding]:
    """Checks what is in the database. Raises the error of a table that stays locked."""
    migrated = _migrated()
    yield migrated
    if migrated.state == FINE:
        yield _writable(on_sqlite)
        yield _clocks(on_sqlite)
        yield from _outbox()
        yield from _logout_notices()
        yield _seals()
        yield _numbers(settings)
        yield from _test_users(settings)
        yield from doctor_of_clients.examine(settings)
        yield from doctor_of_passkeys.examine(settings)
        yield from doctor_of_webhooks.examine(settings, waits_long=WAITS_LONG)
        yield from _advice_for_production(settings, on_sqlite)


def _numbers(settings: Settings) -> Finding:
    """Checks that stored numbers are still valid. Numbering plans change, and an owner of an invalid number cannot sign in."""
    lost, seen = people.sample_unreadable(settings, NUMBERS_SEEN)
    sampled = ", taken at random," if seen == NUMBERS_SEEN else ""
    if not lost:
        return Finding(FINE, "numbers", f"of {seen} that are stored{sampled} none has become unreadable")
    remedy = "List them: flask --app wsgi users unreadable. Then move each (users move), or set HAMMER_EXTRA_RANGES."
    return Finding(
        ADVICE,
        "numbers",
        f"{lost} of {seen} that are stored{sampled} are no mobile numbers any more: their owners cannot sign in",
        remedy,
    )


def _sqlite() -> Iterator[Finding]:
    journal = db.session.scalar(text("pragma journal_mode"))
    yield Finding(FINE, "database", f"SQLite {readiness.server()[1]}, {_where()}")
    file = str(db.session.scalar(text("select file from pragma_database_list where name = 'main'")))
    if journal != "wal":
        yield Finding(
            WRONG,
            "database",
            f"its journal is {journal}, not wal: readers and writers block each other",
            "Put it on a local disk that this user may write to. WAL does not work on network shares.",
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
            yield from _permissions("database file", each)
    free = shutil.disk_usage(Path(file).parent).free
    amount = f"{free / 1e9:.1f} GB free beside the database"
    yield Finding(FINE, "disk", amount) if free >= LEAST_FREE_BYTES else Finding(WRONG, "disk", amount, "Free some space.")


def _postgresql(settings: Settings) -> Iterator[Finding]:
    from hammer.db import postgresql  # noqa: PLC0415  # imports the driver, which SQLite does not need

    with db.engine.connect() as connection:
        driver = cast(Any, connection.connection.driver_connection)
        server, is_pooled = postgresql.server(driver), postgresql.is_pooled(driver)
    version = readiness.server()[1]
    yield Finding(FINE, "database", f"PostgreSQL {version}, {_where()}, at {server}")
    yield from _pooler(settings, is_pooled)
    if int(version.split(".", 1)[0]) < OLDEST_POSTGRESQL:
        yield Finding(ADVICE, "database", "an old PostgreSQL, without security updates", f"Update to {OLDEST_POSTGRESQL} or newer.")
    encoding = db.session.scalar(text("show server_encoding"))
    if encoding != "UTF8":
        yield Finding(WRONG, "database", f"its encoding is {encoding}", "Create it again: createdb -E UTF8 -T template0 …")


def _locks() -> Iterator[Finding]:
    """The transactions for which others wait, or that have been open for long. Only those that wait for no other one."""
    holders = db.session.execute(text(HOLDERS), {"long": OPEN_LONG}).all()
    for pid, program, state, opened, waiting, longest in holders:
        since = f"has been open since {opened:%H:%M:%S} UTC" if opened else "is open"
        how = f"the transaction of process {pid} of PostgreSQL ({program or 'unnamed'}, {state or 'of another role'}) {since}"
        if waiting:
            how += f"; {waiting} {'waits' if waiting == 1 else 'wait'} for it, up to {longest.total_seconds():.0f} s now"
        remedy = f"Unless it ends by itself soon, like a dump or a migration, end it: select pg_terminate_backend({pid})"
        yield Finding(WRONG if waiting else ADVICE, "locks", how, remedy)
    if not holders:
        yield Finding(FINE, "locks", "no transaction waits for another one, and none has been open for long")


def _pooler(settings: Settings, is_pooled: bool) -> Iterator[Finding]:
    """Whether the setting says what is there. Nothing where there is no pooler, and none is expected."""
    if is_pooled and not settings.database_pooler:
        how = "there is one: prepared statements fail, and waits have no limit, where it gives a session to several clients"
        yield Finding(WRONG, "pooler", how, USE_POOLER)
    elif settings.database_pooler and not is_pooled:
        how = "there is none, so statements are parsed each time for nothing"
        yield Finding(ADVICE, "pooler", how, "Set HAMMER_DATABASE_POOLER=off, or DATABASE_URL to the pooler.")
    elif is_pooled:
        yield Finding(FINE, "pooler", "nothing is kept in a session of PostgreSQL")


def _migrated() -> Finding:
    """Whether the tables are at the newest step of `migrations/`: wrong if they are missing, too old, or of a newer program."""
    migrated = inspect(db.engine).has_table("alembic_version")
    at = readiness.migration() if migrated else None
    newest = readiness.NEWEST_MIGRATION
    if at is None:
        return Finding(WRONG, "tables", "there are none yet", MIGRATE)
    if at < newest:
        return Finding(WRONG, "tables", f"at step {at}, and this program needs {newest}", MIGRATE)
    if at > newest:
        return Finding(WRONG, "tables", f"at step {at}, which this program does not know", "Start the newer program.")
    return Finding(FINE, "tables", f"migrated, step {at}")


def _writable(on_sqlite: bool) -> Finding:
    """Checks the right to write by a DELETE of no rows in each table, and the free space by a row that is written and deleted."""
    try:
        with transaction() as tx:
            for table in db.metadata.sorted_tables:
                tx.execute(delete(table).where(false()))
            readiness.write(tx)
    except Unavailable as no:
        cause = no.__cause__
        if isinstance(cause, OperationalError) and cause_of(cause) != Cause.LOCKED:
            return _read_only(cause, on_sqlite)
        return Finding(
            WRONG, "writing", "another program holds the database locked", "Find and end it, or wait, and run doctor again."
        )
    except DBAPIError as error:
        return _read_only(error, on_sqlite)
    return Finding(FINE, "writing", "allowed in every table")


def _read_only(error: DBAPIError, on_sqlite: bool) -> Finding:
    if cause_of(error) == Cause.FULL:
        return Finding(WRONG, "writing", first_line(error), "Free space on the disk of the database.")
    remedy = (
        "Let the user that runs Hammer write to the file and to its directory (chown, chmod)."
        if on_sqlite
        else "Set DATABASE_URL to the primary server, with a role that may write."
    )
    return Finding(WRONG, "writing", first_line(error), remedy)


def _clocks(on_sqlite: bool) -> Finding:
    """Compares our clock with PostgreSQL's. SQLite has no clock: there, no row may be from the future."""
    if on_sqlite:
        now = clock.now()
        ahead = min(now - (db.session.scalar(select(func.max(User.date_joined))) or now), timedelta(0))
    else:
        ahead, now = readiness.clock_ahead(), clock.now()
    if abs(ahead) <= MOST_SKEW:
        return Finding(FINE, "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")
    how = f"{now:%Y-%m-%d %H:%M:%S} UTC, but {now - ahead:%Y-%m-%d %H:%M:%S} in the database"
    return Finding(WRONG, "clock", how, "Synchronise both clocks by NTP: timedatectl set-ntp true")


def _advice_for_production(settings: Settings, on_sqlite: bool) -> Iterator[Finding]:
    """Advice for production only."""
    if settings.env != "production":
        return
    if on_sqlite:
        yield Finding(ADVICE, "database", "SQLite serves one machine", "For more than one, set DATABASE_URL to a PostgreSQL.")
    if not db.session.scalar(select(exists().where(User.is_staff))):
        yield Finding(ADVICE, "staff", "there are none", "Run: flask --app wsgi createsuperuser PHONE")
    if oldest := unpruned_since():
        yield Finding(
            ADVICE, "retention", f"verifications of {oldest:%Y-%m-%d} are not deleted yet", "Hourly: flask --app wsgi prune"
        )


def unpruned_since() -> datetime | None:
    """Of when the oldest verification is that `prune` would have deleted; None if there is none."""
    oldest = db.session.scalar(select(func.min(Verification.expires_at)))
    return oldest if oldest is not None and oldest < clock.now() - UNPRUNED else None


def _where() -> str:
    url = db.engine.url
    shown = {name: value for name, value in url.query.items() if name in SHOWN_OF_URL}
    return url.set(query=shown).render_as_string(hide_password=True).replace("%2C", ",").replace("%3A", ":")


def _how_to_reach(on_sqlite: bool) -> str:
    if on_sqlite:
        return "Create its directory, and let the user that runs Hammer write to it; or set DATABASE_URL."
    return "Start it, or correct host, port, name, user and password in DATABASE_URL."


def first_line(error: Exception) -> str:
    """The first line of the database's own error message, without the SQL statement; of several hosts, one line for each."""
    message = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    if each := re.findall(r"^- host: .*?'\: connection failed: (.*)", message, re.MULTILINE):
        return "; ".join(each)
    return message.splitlines()[0].rstrip(".") if message else type(error).__name__
