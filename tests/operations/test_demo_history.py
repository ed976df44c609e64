"""What `demo` makes for the operator's pages: the questions of operators have answers, and no rule is broken."""

from collections import Counter
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import func, select

from config import Settings
from hammer import clock
from hammer.db.database import db
from hammer.events import Kind
from hammer.models import Event, Message, MessageState, User, Verification, WebhookAttempt, WebhookEndpoint
from hammer.operations import audit, daily, demo, demo_history, retention, seals
from hammer.sms import outbox
from hammer.webhooks import feed
from tests.cli.commands import Made
from tests.databases import Databases
from tests.operators import Operator


@pytest.fixture
def filled(app: Flask, settings: Settings) -> Flask:
    with app.app_context():
        demo.fill(settings, people=300, seed=3)
        seals.seal_all(settings)
    return app


def kinds(app: Flask) -> Counter[str]:
    with app.app_context():
        return Counter(dict(db.session.execute(select(Event.kind, func.count()).group_by(Event.kind)).all()))


@pytest.mark.database
def test_its_events_are_sealed_kept_and_counted_like_real_ones_also_in_hours_that_were_counted_before(
    app: Flask, settings: Settings
) -> None:
    with app.app_context():
        daily.count_hours(settings)
        made = demo.fill(settings, people=300, seed=3)
        assert made is not None
        assert seals.seal_all(settings) == made.events
        verified = audit.verify(settings)
        assert retention.prune(settings)["events"] == 0
        daily.count_hours(settings)
        days = daily.days(settings)
        at = db.session.scalars(select(Event.at).order_by(Event.id)).all()
    assert (verified.flaws, verified.events, verified.unsealed) == ([], made.events, 0)
    assert verified.seals < 20
    assert all(day.complete for day in days)
    assert sum(day.counts.total() for day in days) == sum(moment >= days[0].began for moment in at)
    assert all(day.counts[Kind.SIGNED_IN] for day in days[1:-1])
    assert list(at) == sorted(at)
    assert at[-1] <= clock.now()


def test_the_same_seed_makes_the_same_figures(app_with: Made, databases: Databases, settings: Settings) -> None:
    made = []
    for seed in (5, 5, 6):
        app = app_with(replace(settings, database_url=databases.new()))
        with app.app_context():
            demo.fill(settings, people=100, seed=seed)
            states = db.session.execute(
                select(Message.state, Message.gateway, func.count()).group_by(Message.state, Message.gateway)
            )
            made.append((kinds(app), sorted(map(str, states))))
    assert made[0] == made[1] != made[2]


def test_nothing_of_it_is_sent_or_posted(filled: Flask, settings: Settings) -> None:
    with filled.app_context():
        assert not outbox.deliver_next(settings)
        assert feed.publish() == 0
        assert db.session.scalars(select(WebhookEndpoint.id).where(feed.is_receiving())).all() == []


def test_it_was_refused_blocked_and_guessed_and_each_fate_of_a_text_is_there(filled: Flask) -> None:
    seen = kinds(filled)
    with filled.app_context():
        states = set(db.session.scalars(select(Message.state)))
        entered = select(Verification.id).where(Verification.consumed_at.is_not(None), Verification.created_at > clock.now())
        too_late = db.session.scalars(entered).all()
        blocked = db.session.scalars(select(User.id).where(User.blocked_at.is_not(None))).all()
        slugs = set(db.session.scalars(select(Event.detail).where(Event.kind == Kind.INVITE_REFUSED)))
    assert states == set(MessageState) - {MessageState.WAITING}
    assert too_late == []
    assert (len(blocked), seen[Kind.SIGN_IN_BLOCKED]) == (1, 2)
    assert seen[Kind.GUESSES_SPENT] == demo_history.ATTACKED
    assert slugs == {"unknown-invite", "own-invite", "already-activated"}


def test_the_first_page_of_operators_says_what_needs_attention(filled: Flask) -> None:
    page = Operator(filled, "+79290000099").open().get("/admin/").words
    assert "Codes of 4 digits are being guessed: 12 of 20" in page
    assert "No gateway took 1 text." in page
    assert "The webhook endpoint at shop.example is disabled" in page
    assert "sealed" not in page


def test_the_page_of_a_person_says_whether_their_text_arrived_and_why_their_invite_was_refused(filled: Flask) -> None:
    with filled.app_context():
        of_failed = select(User.id).join(Verification, Verification.telephone_number == User.telephone_number)
        failed = of_failed.join(Message, Message.verification_id == Verification.id).where(Message.state == MessageState.FAILED)
        person = db.session.scalars(failed).first()
        refused = db.session.scalar(select(Event.user_id).where(Event.detail == "own-invite").limit(1))
        blocked = db.session.scalar(select(User.id).where(User.blocked_at.is_not(None)))
    operator = Operator(filled, "+79290000099").open()
    assert "failed, the gateway reported that it did not reach the telephone" in operator.get(f"/admin/people/{person}/").words
    assert "An invite code was not activated: it is their own code" in operator.get(f"/admin/people/{refused}/").words
    assert "the person is blocked: no sign-in" in operator.get(f"/admin/people/{blocked}/").words


def test_more_people_have_a_history_of_their_own_but_no_second_endpoint(filled: Flask, settings: Settings) -> None:
    before = kinds(filled)
    with filled.app_context():
        demo.fill(settings, people=300, seed=3, more=True)
        assert len(db.session.scalars(select(WebhookEndpoint.id)).all()) == 1
        assert len(db.session.scalars(select(WebhookAttempt.id)).all()) == demo_history.FAILED_POSTS
    assert kinds(filled)[Kind.SIGNED_IN] > 1.5 * before[Kind.SIGNED_IN]
