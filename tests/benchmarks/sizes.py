"""Measures the bytes on which docs/scale.md is built: what a row of each table takes, and what each operation writes.

    python -m tests.benchmarks.sizes postgresql://…/crowd

`tests.benchmarks.crowd` fills the database, which has to be PostgreSQL. No time is measured.
"""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import psycopg
from flask import Flask

from hammer.db.database import db
from hammer.sms import outbox
from tests.benchmarks import hammer_app
from tests.benchmarks.applications import HAMMER, code_of, environment, numbers
from tests.benchmarks.load import Person

MANY: Final = 300
TABLES: Final = """
    SELECT relname, n_live_tup, pg_table_size(relid), pg_indexes_size(relid) FROM pg_stat_user_tables
    WHERE n_live_tup >= 1000 ORDER BY pg_total_relation_size(relid) DESC
"""
WRITTEN: Final = "SELECT wal_bytes, wal_fpi FROM pg_stat_wal"
CHANGED: Final = "SELECT relname, n_tup_ins, n_tup_upd FROM pg_stat_user_tables"


class People:
    """What people do, through the JSON API."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client(use_cookies=False)
        self.numbers = numbers()
        self.code = code_of(HAMMER)
        self.settled: list[Person] = []

    def call(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        headers = {"X-Forwarded-For": "10.1.1.1", "X-Forwarded-Proto": "https", "Host": "login.example.com"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.client.open(f"/api/v1{path}", method=method, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    def sign_in(self, person: Person, **device: str) -> bool:
        """Returns whether this was the first login of the number."""
        sent = self.call("POST", "/auth/signup/", {"telephone_number": person.number} | device)["verification_id"]
        came = self.call("POST", "/auth/code/", {"verification_id": sent, "code": self.code(sent, person.number)})
        person.token, person.refresh_token, person.invite_code, person.device_token = (
            came[name] for name in ("access_token", "refresh_token", "invite_code", "device_token")
        )
        return bool(came["created"])

    def sign_up(self, _: int) -> None:
        person = Person(next(self.numbers))
        while not self.sign_in(person):  # one of the crowd has this number
            person = Person(next(self.numbers))
        self.settled.append(person)

    def operations(self) -> Iterator[tuple[str, Callable[[int], object]]]:
        yield "first login, two requests", self.sign_up
        yield "its text is sent", self._send
        yield "login from a known device", lambda n: self.sign_in(self.settled[n], device_token=self.settled[n].device_token)
        yield "login from an unknown device", lambda n: self.sign_in(self.settled[n])
        yield "refresh", lambda n: self.call("POST", "/auth/refresh/", {"refresh_token": self.settled[n].refresh_token})
        yield "activation", self._activate
        yield "profile, soon after another", lambda n: self.call("GET", "/users/me/", token=self.settled[n].token)

    def _send(self, _: int) -> None:
        with self.app.app_context():  # none is shared by requests, or all of them would have the same caller
            outbox.deliver_next(hammer_app.settings())

    def _activate(self, n: int) -> None:
        self.call("POST", "/users/me/invite/", {"invite_code": self.settled[n - 1].invite_code}, self.settled[n].token)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sizes", description=__doc__)
    parser.add_argument("url")
    url = parser.parse_args().url
    logging.disable(logging.WARNING)
    with psycopg.connect(url, autocommit=True) as watching, environment(DATABASE_URL=url):
        print("| table | rows | bytes a row | of them in indexes |\n|---|---:|---:|---:|")
        for name, rows, data, indexes in watching.execute(TABLES).fetchall():
            print(f"| `{name}` | {rows:,} | {(data + indexes) / rows:.0f} | {indexes / rows:.0f} |")
        print("\n| operation | rows that it inserts | and changes | bytes of WAL | full pages |\n|---|---|---|---:|---:|")
        app = hammer_app.make()
        people = People(app)
        measured = [(False, next(people.operations())), *((True, each) for each in people.operations())]
        for shown, (name, operation) in measured:
            before = _written(watching, app)
            for n in range(MANY):
                operation(n)
            if shown:
                print(_row(name, before, _written(watching, app)), flush=True)


def _written(watching: psycopg.Connection[Any], app: Flask) -> dict[str, Sequence[int]]:
    with app.app_context():
        db.engine.dispose()  # a connection tells what it did when it ends, at the latest
    watching.execute("SELECT pg_stat_clear_snapshot()")
    [wal] = watching.execute(WRITTEN).fetchall()
    return {"": wal} | {name: numbers for name, *numbers in watching.execute(CHANGED).fetchall()}


def _row(name: str, before: dict[str, Sequence[int]], after: dict[str, Sequence[int]]) -> str:
    grown = {
        table: [(new - old) / MANY for old, new in zip(before[table], figures, strict=True)] for table, figures in after.items()
    }
    wal, pages = grown.pop("")
    inserted, changed = (
        ", ".join(f"{each[place]:.1f} `{table}`" for table, each in grown.items() if each[place] >= 0.1) for place in (0, 1)
    )
    return f"| {name} | {inserted} | {changed} | {wal:,.0f} | {pages:.1f} |"


if __name__ == "__main__":
    main()
