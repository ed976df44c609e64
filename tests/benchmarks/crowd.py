"""Fills a migrated, empty database with many people, in bulk. Each person is computed from a number n. One of them is famous:
every hundredth person activated their code.

    python -m tests.benchmarks.crowd postgresql://…/crowd --people 10000000
"""

import argparse
import contextlib
import hashlib
import re
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
from sqlalchemy import make_url

ALPHABET = "23456789BCDFGHJKMNPQRSTVWXYZ"
FIRST = (
    "Анна Борис Вера Глеб Дарья Егор Жанна Захар Ирина Кирилл Лидия "
    "Максим Нина Олег Полина Роман Софья Тимур Ульяна Фёдор Юлия Яков"
)
LAST = (
    "Абрам Бел Воробь Гаврил Данил Ефим Жуков Зайц Иван Козл Лебед "
    "Морозов Никит Орл Петр Романов Сокол Тихон Федор Чернов Шевел Яковл"
)
ENDS = "ов ев ин ский ко ян"
FAMOUS = 1
"""The n of the famous person."""


def person_id(n: int) -> str:
    """The id of the n-th person."""
    return hashlib.md5(f"user{n}".encode()).hexdigest()[:22]  # noqa: S324  # not a secret, and PostgreSQL has MD5 too


def statements(people: int) -> list[str]:
    """SQL for both databases that fills the tables. `at(x)` is a time in the last five years: 0 is their start, 1 is now."""
    code = " || ".join(f"substr('{ALPHABET}', 1 + cast(n * 48271 % 481890304 / {28**k} % 28 AS int), 1)" for k in range(6))
    number = "'+79' || substr(cast(1000000000 + n * 48271 % 1000000000 AS text), 2)"
    part = f"n * 1.0 / {people}"

    def invited(n: str) -> str:
        return f"CASE WHEN {n} > 2 AND {n} <= {people} AND ({n}) % 5 < 2 AND ({n}) % 100 <> 0 THEN 1 ELSE 0 END"

    count = f"CASE WHEN n = {FAMOUS} THEN {people} / 100 ELSE {invited('n * 2')} + {invited('n * 2 + 1')} END"
    return [
        (
            "INSERT INTO users (id, telephone_number, invite_code, invite_count, username, first_name, last_name, is_staff, "
            f"date_joined) SELECT id('user', n), {number}, {code}, {count}, CASE n % 3 WHEN 0 THEN 'person' || n END, "
            f"word('{FIRST}', n), word('{LAST}', n / 7) || word('{ENDS}', n / 3), false, at({part}) FROM numbered"
        ),
        (
            "INSERT INTO referrals (referee_id, referrer_id, activated_at) SELECT id('user', n), "
            f"id('user', CASE n % 100 WHEN 0 THEN {FAMOUS} ELSE n / 2 END), at({part}) FROM numbered WHERE n > 2 AND n % 5 < 2"
        ),
        (
            "INSERT INTO sessions (id, user_id, kind, device, refreshes, refreshed_at, created_at, seen_at, expires_at, ended_at) "
            f"SELECT id('session', n), id('user', n), 'program', 'Firefox · Android', 3, at({part}), at({part}), at(1.0), "
            "at(CASE WHEN n % 50 = 0 THEN 0.9 ELSE 1.02 END), NULL FROM numbered WHERE n % 2 = 1"
        ),
        (
            "INSERT INTO devices (id, user_id, guesses, known_since, used_at) "
            f"SELECT id('device', n), id('user', n), 0, at({part}), at(0.9 + {part} / 10) FROM numbered WHERE n % 4 = 1"
        ),
        (
            "INSERT INTO events (at, kind, user_id, actor_id, request_id) "
            f"SELECT at({part}), 'signed-up', id('user', n), NULL, id('request', n) FROM numbered WHERE n % 2 = 1"
        ),
        (
            "INSERT INTO verifications (id, telephone_number, purpose, code_length, guesses, language, created_at, expires_at, "
            f"consumed_at) SELECT id('verification', n), {number}, 'login', 4, 1, 'ru', at(0.9999), at(0.9999), at(0.9999) "
            "FROM numbered WHERE n % 50 = 1"
        ),
        (
            "INSERT INTO texts (verification_id, tries, state, gateway, created_at, due_at, ended_at) "
            "SELECT id('verification', n), 1, 'sent', 'https/1', at(0.9999), at(0.9999), at(0.9999) FROM numbered WHERE n % 50 = 1"
        ),
        (
            "INSERT INTO send_allowances (number_hash, day_began_at, sends, streak, next_send_at) "
            "SELECT id('number', n) || id('hash', n), at(0.9999), 1, 1, at(0.9999) FROM numbered WHERE n % 50 = 1"
        ),
        (
            "INSERT INTO counters (scope, period, taken, ends_at) "
            "SELECT 'guesses/' || id('number', n) || id('hash', n), n % 30, 1, at(1.01) FROM numbered WHERE n % 50 = 1"
        ),
    ]


class OnPostgres:
    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute("SET maintenance_work_mem = '512MB'; SET synchronous_commit = off; SET jit = off")
        self.connection.execute(
            f"""
            CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
                $$ SELECT substr(md5(kind || n), 1, 22) $$;
            CREATE FUNCTION pg_temp.at(part numeric) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
                $$ SELECT to_timestamp({_end()} - (1 - part) * {_FIVE_YEARS}) $$;
            CREATE FUNCTION pg_temp.word(words text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
                $$ SELECT (string_to_array(words, ' '))[1 + n % array_length(string_to_array(words, ' '), 1)] $$;
            """
        )

    def fill(self, people: int, report: Callable[[str], None]) -> None:
        """Drops the indexes first and creates them again at the end: updating them for each row takes much longer."""
        indexes = self._indexes()
        for drop, _ in indexes:
            self.connection.execute(drop)
        for statement in statements(people):
            source = f"(SELECT n::bigint FROM generate_series(1, {people}) AS n) AS numbered"
            report(statement[:40])
            ours = re.sub(r"(?<=[ (])(id|at|word)\(", r"pg_temp.\1(", statement)
            self.connection.execute(ours.replace("FROM numbered", f"FROM {source}"))
        for _, statement in reversed(indexes):
            report(statement[:70])
            self.connection.execute(statement)
        self.connection.execute("VACUUM ANALYZE")

    def _indexes(self) -> list[tuple[str, str]]:
        """Statements to drop and to create each constraint and index. Those that others depend on come last."""
        constraints = self.connection.execute(
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace "
            "AND contype IN ('f', 'p', 'u') AND conrelid::regclass::text <> 'alembic_version' ORDER BY contype"
        ).fetchall()
        indexes = self.connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname !~ '^pk_|alembic' "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)"
        ).fetchall()
        return [
            (f"ALTER TABLE {table} DROP CONSTRAINT {name}", f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
            for table, name, definition in constraints
        ] + [(f"DROP INDEX {name}", definition) for name, definition in indexes]


class OnSqlite:
    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        functions: dict[str, tuple[int, Callable[..., str | None]]] = {
            "lower": (1, lambda text: text and text.lower()),
            "id": (2, lambda kind, n: hashlib.md5(f"{kind}{n}".encode()).hexdigest()[:22]),  # noqa: S324
            "at": (1, _moment),
            "word": (2, lambda words, n: words.split()[n % len(words.split())]),
        }
        for name, (arguments, function) in functions.items():
            self.connection.create_function(name, arguments, function, deterministic=True)
        self.connection.execute("PRAGMA synchronous = off")
        self.connection.execute("PRAGMA cache_size = -1000000")

    def fill(self, people: int, report: Callable[[str], None]) -> None:
        numbered = f"WITH RECURSIVE numbered (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbered WHERE n < {people}) SELECT"
        self.connection.execute("BEGIN")
        for statement in statements(people):
            report(statement[:40])
            self.connection.execute(statement.replace("SELECT", numbered, 1))
        self.connection.execute("COMMIT")
        self.connection.execute("ANALYZE")


_FIVE_YEARS = 5 * 365 * 86_400


def _end() -> float:
    return datetime.now(UTC).timestamp() - 3600


def _moment(part: float) -> str:
    return datetime.fromtimestamp(_end() - (1 - part) * _FIVE_YEARS, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def fill(url: str, people: int, report: Callable[[str], None]) -> None:
    """Adds this number of people to the database of this SQLAlchemy URL."""
    parts = make_url(url)
    on_sqlite = parts.get_backend_name() == "sqlite"
    plain = parts.set(drivername="postgresql").render_as_string(hide_password=False)
    database = OnSqlite(str(parts.database)) if on_sqlite else OnPostgres(plain)
    with contextlib.closing(database.connection):
        database.fill(people, report)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.crowd", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--people", type=int, default=1000)
    options = parser.parse_args()
    fill(options.url, options.people, lambda what: print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
