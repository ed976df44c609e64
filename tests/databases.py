"""Databases for tests, made by the migrations alone: migrated once, then copied. SQLite, or PostgreSQL by `TEST_DATABASE_URL`."""

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

import flask_migrate
import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

import config
from hammer import cli, create_app
from hammer.db.database import db

MIGRATIONS = str(Path(__file__).parent.parent / "migrations")

EMPTYING = "-c lock_timeout=5s -c session_replication_role=replica"
"""Without triggers: those of the audit trail refuse to delete events."""


class Databases(Protocol):
    def new(self) -> str:
        """The URL of a migrated, empty database that no other test uses."""

    def empty(self) -> str:
        """The URL of a migrated, empty database: the same one each time, which is fast. No connection to it may be open."""

    def bare(self) -> str:
        """The URL of a database that was never migrated."""

    def close(self) -> None:
        """Removes all of them."""


def migrate(settings: config.Settings) -> None:
    """Brings the database of `settings` to the newest schema."""
    app = create_app(settings)
    cli.init_migrations(app)
    with app.app_context():
        flask_migrate.upgrade(MIGRATIONS)
        db.session.remove()
        db.engine.dispose()


class SqliteFiles:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.template = directory / "template.sqlite3"
        memory = Path("/dev/shm")  # noqa: S108  # most tests use this one, and need not wait for a disk
        self.near = Path(tempfile.mkdtemp(prefix="hammer-", dir=memory if memory.is_dir() else directory))
        self.shared = self.near / "shared.sqlite3"

    def new(self) -> str:
        file = self.directory / f"{secrets.token_hex(6)}.sqlite3"
        shutil.copy(self.template, file)
        return f"sqlite:///{file}"

    def empty(self) -> str:
        for leftover in ("-wal", "-shm"):
            self.shared.with_name(self.shared.name + leftover).unlink(missing_ok=True)
        shutil.copy(self.template, self.shared)
        return f"sqlite:///{self.shared}"

    def bare(self) -> str:
        return f"sqlite:///{self.directory / secrets.token_hex(6)}.sqlite3"

    def close(self) -> None:
        for file in self.directory.glob("*.sqlite3*"):
            file.unlink()
        shutil.rmtree(self.near)


class PostgresDatabases:
    """On the server of `url`. The database in `url` itself is not written to.

    Deleting the rows of one database in one request takes 2 ms, making another from the template 60: `empty` does the first.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.prefix = f"hammer_test_{secrets.token_hex(4)}"
        self.made: list[str] = []
        self.template = f"{self.prefix}_template"
        self.shared = ""
        self.emptying: psycopg.Connection[tuple[Any, ...]] | None = None
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self.maintenance = psycopg.connect(plain, autocommit=True)
        self._create(self.template, "template0")

    def new(self) -> str:
        name = f"{self.prefix}_{len(self.made)}"
        self._create(name, self.template)
        return self.address(name)

    def empty(self) -> str:
        self.shared = self.shared or self.new()
        if self.emptying is not None:
            try:
                self._delete_rows(self.emptying)
                return self.shared
            except psycopg.OperationalError:
                if not self.emptying.broken:  # else a test has ended all connections
                    raise
        plain = make_url(self.shared).set(drivername="postgresql").render_as_string(hide_password=False)
        self.emptying = psycopg.connect(plain, autocommit=True, options=EMPTYING)
        self._delete_rows(self.emptying)
        return self.shared

    def _delete_rows(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        names = [sql.Identifier(table.name) for table in reversed(db.metadata.sorted_tables)]
        if connection.execute("select exists (select from users offset 1000)").fetchone() == (True,):
            connection.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))
        # Ids begin at 1 again, as in a new database: after some thousand tests one of them looks like a code.
        again = sql.SQL("select setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false) from pg_sequences")
        connection.execute(sql.SQL(";").join([*(sql.SQL("delete from {}").format(name) for name in names), again]))

    def bare(self) -> str:
        name = f"{self.prefix}_{len(self.made)}"
        self._create(name, "template0")
        return self.address(name)

    def close(self) -> None:
        if self.emptying is not None:
            self.emptying.close()
        for name in reversed(self.made):
            self.maintenance.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        self.maintenance.close()

    def _create(self, name: str, template: str) -> None:
        order = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        self.maintenance.execute(order)
        self.made.append(name)

    def address(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)
