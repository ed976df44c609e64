"""The people that `demo` makes."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import phonenumbers
import pytest
from flask import Flask
from phonenumbers import PhoneNumberType
from sqlalchemy import select

from config import Settings
from hammer.db.database import db
from hammer.models import Referral, User
from hammer.operations import demo
from hammer.refusals import NotAllowed
from hammer.users import accounts, names, people
from tests.actions import sign_in
from tests.cli.commands import Made, Run, refused, said
from tests.databases import Databases


def test_demo_tells_how_to_sign_in_as_the_most_inviting_person(run: Run, app: Flask) -> None:
    out = said(run("demo"))
    with app.app_context():
        star = db.session.scalars(select(User).order_by(User.invite_count.desc())).first()
    assert star is not None
    assert out.startswith("Made 300 people.")
    assert f"invited most, {star.invite_count}." in out
    assert f"/login/ and enter {star.telephone_number}" in out


def test_demo_leaves_no_event_without_a_seal(run: Run) -> None:
    said(run("demo", "--people", "20"))
    assert "Not sealed yet: 0." in said(run("audit", "verify"))


def test_demo_makes_people_who_could_be_real(run: Run, app: Flask) -> None:
    said(run("demo"))
    with app.app_context():
        everybody = db.session.scalars(select(User)).all()
    numbers = [phonenumbers.parse(str(person.telephone_number)) for person in everybody]
    assert all(phonenumbers.is_valid_number_for_region(number, "RU") for number in numbers)
    assert {phonenumbers.number_type(number) for number in numbers} == {PhoneNumberType.MOBILE}
    usernames = [person.username for person in everybody if person.username]
    assert 50 < len(usernames) < 150
    assert all(re.fullmatch(names.USERNAME, name) for name in usernames)
    assert any(not person.first_name for person in everybody)
    now = datetime.now(UTC)
    assert all(now - demo.SPAN <= person.date_joined <= now for person in everybody)
    assert max(p.date_joined for p in everybody) - min(p.date_joined for p in everybody) > timedelta(days=120)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_demo_grows_trees_without_loops_with_true_counts_and_dates_in_order(app: Flask, settings: Settings, seed: int) -> None:
    with app.app_context():
        made = demo.fill(settings, people=300, seed=seed)
        joined = {person.id: person.date_joined for person in db.session.scalars(select(User))}
        counts = {person.id: person.invite_count for person in db.session.scalars(select(User))}
        referrals = db.session.scalars(select(Referral)).all()
    above = {referral.referee_id: referral.referrer_id for referral in referrals}
    assert made is not None
    assert made.referrals == len(referrals) > 150
    assert counts == {person: Counter(above.values())[person] for person in joined}
    assert all(r.activated_at >= max(joined[r.referee_id], joined[r.referrer_id]) for r in referrals)
    assert max(map(len, (chain_up(person, above) for person in joined))) == made.levels >= 4
    assert counts[made.most_inviting] == max(counts.values())


def chain_up(person: str, above: dict[str, str]) -> list[str]:
    chain = [person]
    while chain[-1] in above:
        chain.append(above[chain[-1]])
        assert len(chain) == len(set(chain)), "a loop"
    return chain


def test_demo_has_few_who_invite_many_and_many_who_invite_nobody(app: Flask, settings: Settings) -> None:
    with app.app_context():
        demo.fill(settings, people=300, seed=3)
        counts = sorted(db.session.scalars(select(User.invite_count)))
    assert counts[-1] >= 15
    assert sum(counts[-15:]) > sum(counts) / 2
    assert counts.count(0) > 150


def test_demo_comes_to_those_who_tried_out_the_first_steps(run: Run, app: Flask, settings: Settings) -> None:
    with app.app_context():
        for last in range(demo.FEW - 1):
            accounts.create(settings, f"+7916123450{last}", {})
    assert said(run("demo", "--people", "20")).startswith("Made 20 people.")


def test_demo_says_no_where_there_are_people_unless_more_are_wanted(run: Run, app: Flask) -> None:
    said(run("demo", "--people", "20"))
    assert "--more" in refused(run("demo", "--people", "20"))
    said(run("demo", "--people", "20", "--more"))
    with app.app_context():
        assert len(db.session.scalars(select(User.id)).all()) == 40


def test_demo_makes_the_same_people_of_the_same_seed(app_with: Made, databases: Databases, settings: Settings) -> None:
    made = []
    for seed in (5, 5, 6):
        app = app_with(replace(settings, database_url=databases.new()))
        with app.app_context():
            demo.fill(settings, people=50, seed=seed)
            rows = db.session.execute(select(User.telephone_number, User.invite_code, User.username, User.invite_count))
            made.append(sorted(map(str, rows)))
    assert made[0] == made[1] != made[2]


def test_demo_of_two_people_may_have_no_invitation(app: Flask, settings: Settings) -> None:
    with app.app_context():
        made = [demo.fill(settings, people=2, seed=seed, more=True) for seed in range(8)]
    assert {filled.referrals for filled in made if filled} == {0, 1}


def test_demo_people_can_sign_in_and_see_whom_they_invited(app: Flask, settings: Settings) -> None:
    with app.app_context():
        made = demo.fill(settings, people=100, seed=3)
        assert made is not None
        star = people.profile(settings, made.most_inviting)
        signed_in = sign_in(settings, star.telephone_number)
    assert signed_in.user.id == made.most_inviting
    assert not signed_in.created
    assert len(star.invite_code_list) == star.invite_count


def test_demo_refuses_to_run_in_production(app_with: Made, settings: Settings) -> None:
    app = app_with(replace(settings, env="production"))
    assert "Production is for real people" in refused(app.test_cli_runner().invoke(args=["demo", "--more"]))
    with app.app_context():
        assert db.session.scalars(select(User)).all() == []
        with pytest.raises(NotAllowed):
            demo.fill(replace(settings, env="production"), people=2, seed=1)


@pytest.mark.parametrize("people", ["1", "100001", "x"])
def test_demo_refuses_a_crowd_that_is_none(run: Run, people: str) -> None:
    assert run("demo", "--people", people).exit_code == 2
