"""Changes of the audit trail by the owner of the database, past the triggers that refuse them."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from hammer.db.database import db


@contextmanager
def without_triggers(connection: Connection) -> Iterator[None]:
    """In it, this connection may change everything."""
    off, on = ["set session_replication_role = replica"], ["set session_replication_role = origin"]
    if connection.dialect.name == "sqlite":
        triggers = connection.execute(text("select name, sql from sqlite_master where type = 'trigger'")).all()
        off, on = [f"drop trigger {name}" for name, _ in triggers], [sql for _, sql in triggers]
    for sql in off:
        connection.exec_driver_sql(sql)
    yield
    for sql in on:
        connection.exec_driver_sql(sql)


def tamper(*statements: str) -> None:
    """Executes the statements without triggers."""
    with db.engine.connect() as connection, without_triggers(connection):
        for sql in statements:
            connection.exec_driver_sql(sql)


def empty_all_tables(connection: Connection) -> None:
    """Deletes every row."""
    with without_triggers(connection):
        for table in reversed(db.metadata.sorted_tables):
            connection.execute(table.delete())
