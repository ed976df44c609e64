"""What is seen of messages: pages of them, how each ended, and the test message that is in no outbox."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db, transaction
from hammer.db.pagination import NO_PLACE
from hammer.models import Message, MessageState
from hammer.refusals import InvalidFields
from hammer.sms import gateways, messages, outbox
from tests import delivery
from tests.actions import ANNA, BORIS, CLARA, ask, confirm, number, right
from tests.fake_gateway import FakeGateway, fake_gateway
from tests.sms.test_outbox_rules import sending

in_context = pytest.mark.usefixtures("context")


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as one:
        yield one


def stored() -> list[Message]:
    db.session.expire_all()
    return db.session.query(Message).order_by(Message.id).all()


@in_context
def test_pages_of_messages_are_full_and_the_last_one_has_no_next(settings: Settings) -> None:
    for n in range(6):
        ask(settings, number(n))
    first = outbox.newest(settings, 2)
    second = outbox.newest(settings, 2, after=first.after)
    third = outbox.newest(settings, 2, after=second.after)
    assert [[message.id for message in page.items] for page in (first, second, third)] == [[6, 5], [4, 3], [2, 1]]
    assert third.after is None
    assert outbox.newest(settings, 6).after is None
    assert [message.id for message in outbox.newest(settings, 2, after="9" * 18).items] == [6, 5]


@in_context
@pytest.mark.parametrize("after", ["", "x", "-1", "1.0", "9" * 19, "\u0661"])
def test_a_place_that_is_none_is_refused_by_the_name_of_its_parameter(settings: Settings, after: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        outbox.newest(settings, after=after)
    assert refused.value.errors == {"after": [NO_PLACE]}


@in_context
def test_staff_see_all_of_a_message_but_its_code_and_whole_number(settings: Settings, clock: Traveller) -> None:
    asked_at = time_of_day.now()
    with transaction() as tx:
        outbox.add_notice(tx, BORIS, "en")
    clock.shift(1)
    ask(settings, ANNA)
    [code, notice] = outbox.newest(settings).items
    assert (notice.telephone_number, notice.state, notice.tries) == ("+7········02", MessageState.WAITING, 0)
    clock.shift(1)
    delivery.deliver(settings)
    [code, notice] = outbox.newest(settings).items
    sent = MessageState.SENT, "memory/1", 1
    assert (code.telephone_number, code.state, code.gateway, code.tries) == ("+7········01", *sent)
    assert (notice.telephone_number, notice.state, notice.gateway, notice.tries) == (None, *sent)
    assert (notice.asked_at, code.asked_at) == (asked_at, asked_at + timedelta(seconds=1))
    assert code.ended_at == notice.ended_at == asked_at + timedelta(seconds=2)


@in_context
def test_a_message_whose_code_was_used_is_unneeded_and_one_that_expired_is_given_up(settings: Settings, clock: Traveller) -> None:
    """Each by its own verification, whatever became of others."""
    expired = ask(settings, ANNA)
    clock.move_to(expired.expires_at)
    used = ask(settings, BORIS)
    confirm(settings, used, right(settings, used))
    ask(settings, CLARA)
    with transaction() as tx:  # a claim of the same number for each
        tx.execute(update(Message).where(Message.id == 3).values(tries=1))
    assert outbox.deliver_next(settings)
    assert [message.state for message in stored()] == [MessageState.GIVEN_UP, MessageState.WAITING, MessageState.WAITING]
    delivery.deliver(settings)
    assert [message.state for message in stored()] == [MessageState.GIVEN_UP, MessageState.UNNEEDED, MessageState.SENT]
    assert [message.ended_at for message in stored()] == [expired.expires_at] * 3


def test_to_give_up_one_message_leaves_another_of_as_many_tries_alone(
    app: Flask, settings: Settings, gateway: FakeGateway, clock: Traveller
) -> None:
    with app.app_context():
        ask(settings, ANNA)
        ask(settings, BORIS)
        with transaction() as tx:
            tries = outbox.POLICY.most_tries - 1
            tx.execute(update(Message).values(tries=tries))
            tx.execute(
                update(Message).where(Message.id == 2).values(tries=tries + 1, due_at=time_of_day.now() + timedelta(seconds=9))
            )
    last = sending(app, settings, gateway)
    gateway.open.set()
    last.join(30)
    with app.app_context():
        assert [message.state for message in stored()] == [MessageState.GIVEN_UP, MessageState.WAITING]


@in_context
def test_a_test_message_says_so_and_has_the_receipt_of_no_message(settings: Settings, gateway: FakeGateway) -> None:
    through = replace(settings, sms_url=f"{gateway.template}&dlr-url={{dlr}}")
    ask(settings, ANNA)
    [outcome] = outbox.send_test_message(through, CLARA)
    assert (outcome.gateway, outcome.fault) == ("http/1", "")
    [asked] = gateway.asked
    assert (asked.query["to"], asked.query["text"]) == (CLARA, messages.test_message(settings))
    about = asked.query["dlr-url"].removeprefix(f"{settings.public_url}/receipts/")
    assert about.startswith("0.")
    outbox.record_receipt(settings, about.rstrip("/"), "delivered")
    assert [message.state for message in stored()] == [MessageState.WAITING]
    assert gateways.memory == []
