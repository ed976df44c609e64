"""Changes of the audit trail by the owner of the database, past the triggers that refuse them."""

from sqlalchemy import text

from hammer.db.database import db


def tamper(*statements: str) -> None:
    """Executes the statements without triggers."""
    with db.engine.connect() as connection:
        off, on = ["set session_replication_role = replica"], ["set session_replication_role = origin"]
        if connection.dialect.name == "sqlite":
            triggers = connection.execute(text("select name, sql from sqlite_master where type = 'trigger'")).all()
            off, on = [f"drop trigger {name}" for name, _ in triggers], [sql for _, sql in triggers]
        for sql in (*off, *statements, *on):
            connection.exec_driver_sql(sql)
