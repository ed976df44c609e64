"""How the cost of each flow grows with the number of people: times and query plans.

    python -m tests.benchmarks.growth --plans postgresql://…/thousand postgresql://…/ten_million

`tests.benchmarks.crowd` fills each database. The flows add one login to it and delete no user.
"""

import argparse
import logging
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, event, func, select

from hammer.clients import registry
from hammer.db.database import db
from hammer.invites import activation
from hammer.login import by_code
from hammer.login.verifications import Asker
from hammer.models import Referral, SessionKind, User
from hammer.operations import retention
from hammer.sessions import sessions
from hammer.sms import outbox
from hammer.users import exports, overview, people, search, timeline
from hammer.users.search import Filters, Only
from tests.benchmarks import hammer_app
from tests.benchmarks.applications import environment
from tests.benchmarks.crowd import FAMOUS, person_id

TIMES = 7
A_DAY = date(2024, 2, 29)
OF_STAFF: Final = {
    "by the last four digits": ("4301", Filters(), "ix_users_search_digits"),
    "by a first name that 1 in 50 has": ("роман", Filters(), "ix_users_search_name"),
    "by two letters": ("ив", Filters(), "ix_users_search_name"),
    "by a last name": ("никитов", Filters(), "ix_users_search_reversed"),
    "by both names": ("роман ник", Filters(), "ix_users_search_name"),
    "by a username": ("person501", Filters(), "uq_users_lower_username|ix_users_search_username"),
    "by a name that is none": ("xyzzy", Filters(), "ix_users_search_name"),
    "staff": ("", Filters(Only.STAFF), "ix_users_staff"),
    "blocked": ("", Filters(Only.BLOCKED), "ix_users_blocked"),
    "deleted": ("", Filters(Only.DELETED), "ix_users_deleted"),
    "who joined on a day": ("", Filters(joined_from=A_DAY, joined_to=A_DAY), "ix_users_date_joined_id"),
    "whom the famous person invited": ("", Filters(invited_by=person_id(FAMOUS)), "ix_referrals_newest"),
    "by a first name, blocked": ("роман", Filters(Only.BLOCKED), "ix_users_search_name"),
    "by a first name, whom the famous person invited": ("роман", Filters(invited_by=person_id(FAMOUS)), "ix_users_search_name"),
}
"""Searches of staff: text, filters, and the index by which they are found."""


def flows(settings: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    """The measured flows, by name."""
    famous = person_id(FAMOUS)
    middle = db.session.execute(select(User).order_by(User.date_joined).offset(501).limit(1)).scalar_one()
    ordinary, number, code = middle.id, str(middle.telephone_number), middle.invite_code
    key = settings.key("codes")

    def sign_in() -> None:
        sent = by_code.send_code(settings, number, Asker("10.0.0.1", "ru")).verification
        by_code.confirm_code(settings, sent.id, sent.code(key), kind=SessionKind.PROGRAM, device="curl", address="10.0.0.1")

    place = people.everyone(settings).after
    last = db.session.execute(select(func.max(User.date_joined))).scalar_one()
    far = f"{int(last.timestamp() * 1_000_000) - 10_000_000}.{'A' * 22}"
    oldest = db.session.scalar(select(func.min(Referral.activated_at)).where(Referral.referrer_id == famous))
    deep = f"{int(oldest.timestamp() * 1_000_000) + 1}.{'A' * 22}" if oldest else None
    yield "login (signup and code)", sign_in
    yield "who is calling", lambda: sessions.caller("A" * 22, SessionKind.PROGRAM)
    yield "which client is calling", lambda: registry.caller("A" * 22, [], 0)
    yield "profile", lambda: people.profile(settings, ordinary)
    yield "profile of the famous person", lambda: people.profile(settings, famous)
    yield "list, first page", lambda: people.everyone(settings)
    yield "list, second page", lambda: people.everyone(settings, after=place)
    yield "list, last page", lambda: people.everyone(settings, after=far)
    yield "search by number", lambda: people.everyone(settings, q=number)
    yield "search by the last digits", lambda: people.everyone(settings, q=number[-7:])
    yield "search by invite code", lambda: people.everyone(settings, q=code)
    yield "search by username", lambda: people.everyone(settings, q="person501")
    yield "search by a name that 1 in 2,900 has", lambda: people.everyone(settings, q="Роман Никитов")
    yield "search by a name that 1 in 22 has", lambda: people.everyone(settings, q="роман")
    yield "search without a result", lambda: people.everyone(settings, q="xyzzy")
    yield "people for staff, first page", search.people
    yield "people for staff, page after the famous person", lambda: search.people(after=f"0.{famous}")
    yield "people for staff, by number", lambda: search.person(settings, number)
    yield "people for staff, by invite code", lambda: search.person(settings, code)
    for name, (text, filters, _) in OF_STAFF.items():
        yield f"people for staff, {name}", partial(search.people, text, filters)
    yield "invitees of the famous person, first page", lambda: activation.invitees(settings, famous)
    yield "invitees of the famous person, last page", lambda: activation.invitees(settings, famous, after=deep)
    yield "export", lambda: exports.export(settings, ordinary)
    yield "export of the famous person", lambda: exports.export(settings, famous)
    place_in_timeline = timeline.read(famous, None, limit=5).after
    yield "timeline of an ordinary person", lambda: timeline.read(ordinary, number)
    yield "timeline of the famous person, second page", lambda: timeline.read(famous, None, before=place_in_timeline)
    yield "referees of the famous person in two levels", lambda: overview.referees(famous)
    yield "what else staff see of a person", lambda: _overview(settings, ordinary, number)
    yield "texts, first page", lambda: outbox.newest(settings)
    yield "texts, last page", lambda: outbox.newest(settings, after="100")
    yield "texts of a number", lambda: outbox.newest(settings, numbers=[number])
    yield "prune, nothing to do", lambda: retention.prune(settings)


def _overview(settings: Any, user_id: str, number: str) -> None:
    overview.person(user_id)
    overview.limits(settings, user_id, number)
    overview.sessions(user_id)
    overview.known_devices(user_id)
    overview.latest_texts(settings, user_id, number)


@contextmanager
def explained(plans: list[str]) -> Iterator[None]:
    """Collects the query plans of the statements that are sent inside."""
    asking = "EXPLAIN QUERY PLAN " if db.engine.dialect.name == "sqlite" else "EXPLAIN "

    def ask(connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if re.match(r"\s*(select|with|update|delete|insert)", statement, re.IGNORECASE):
            reads = not re.search(r"\b(update|delete|insert)\b", statement, re.IGNORECASE)  # what changes rows is not done twice
            how = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF) " if asking == "EXPLAIN " and reads else asking
            looking = connection.connection.cursor()  # without SQLAlchemy, which would open a transaction for it
            looking.execute(how + statement, parameters)
            plan = looking.fetchall()
            plans.append(" ".join(statement.split())[:70] + "\n    " + "\n    ".join(str(row[-1]) for row in plan))

    event.listen(db.engine, "before_cursor_execute", ask)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", ask)


def measure(url: str, *, plans: bool) -> dict[str, float]:
    """Milliseconds of each flow on the database of this URL, the median of seven."""
    settings, took = hammer_app.settings_for(url), {}
    with environment(DATABASE_URL=url):
        app = hammer_app.make()
    with app.app_context():
        retention.prune(settings)
        for name, flow in flows(settings):
            flow()
            seconds = []
            for _ in range(TIMES):
                began = time.perf_counter()
                flow()
                seconds.append(time.perf_counter() - began)
                db.session.rollback()
                if sum(seconds) > 20:
                    break
            took[name] = statistics.median(seconds) * 1000
            if plans:
                gathered: list[str] = []
                with explained(gathered):
                    flow()
                print(f"== {name}\n" + "\n".join(gathered), flush=True)
        db.session.remove()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--plans", action="store_true", help="print how the last of the databases goes about each statement")
    options = parser.parse_args()
    logging.disable()
    columns = [measure(url, plans=options.plans and url == options.urls[-1]) for url in options.urls]
    for name in columns[0]:
        print(f"| {name} | {' | '.join(f'{column[name]:.1f}' for column in columns)} |")


if __name__ == "__main__":
    main()
