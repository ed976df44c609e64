"""Commands about users: `createsuperuser` and `users …`."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from config import Settings
from hammer import clock
from hammer.db.database import db, transaction
from hammer.factors import staff
from hammer.models import User
from hammer.operations import demo
from hammer.refusals import NotFound
from hammer.sessions import sessions
from hammer.users import accounts, people
from tests.actions import ANNA, BORIS, user
from tests.cli.commands import Run, refused, said
from tests.operators import add_passkey


def test_createsuperuser_makes_a_staff_user_of_a_new_number_and_says_how_they_sign_in(
    run: Run, app: Flask, settings: Settings
) -> None:
    out = said(run("createsuperuser", "8 (929) 000-00-01"))
    assert out.startswith(f"{ANNA} is staff now.")
    assert f"{settings.public_url}/login/" in out
    with app.app_context():
        assert people.profile(settings, people.find(settings, ANNA)).is_staff


def test_createsuperuser_makes_the_user_of_a_known_number_staff(
    run: Run, anna: str, profile: Callable[[str], people.Profile]
) -> None:
    before = profile(anna)
    said(run("createsuperuser", ANNA))
    assert profile(anna) == replace(before, is_staff=True)


def test_createsuperuser_says_when_a_block_keeps_the_new_staff_out(run: Run, anna: str) -> None:
    run("users", "block", ANNA)
    assert f"users block --undo {ANNA}" in said(run("createsuperuser", ANNA))


@pytest.mark.parametrize("number", ["abc", "112", "+7929", "🦔"])
def test_createsuperuser_refuses_what_is_no_number(run: Run, number: str) -> None:
    assert "does not look like a telephone number" in refused(run("createsuperuser", number))


def test_createsuperuser_asks_for_a_number(run: Run) -> None:
    assert "Enter your telephone number." in refused(run("createsuperuser", ""))


def test_createsuperuser_refuses_a_number_that_gets_no_texts(run: Run) -> None:
    assert "cannot send texts" in refused(run("createsuperuser", "+74951234567"))


def test_list_shows_people_in_aligned_columns_in_the_order_they_joined(run: Run, app: Flask, settings: Settings, anna: str) -> None:
    with app.app_context():
        user(settings, BORIS)
    said(run("users", "make-staff", BORIS))
    said(run("users", "block", BORIS))
    heads, first, second = said(run("users", "list")).splitlines()
    assert heads.split() == ["NUMBER", "USERNAME", "NAME", "CODE", "INVITED", "JOINED", "(UTC)"]
    assert first.split()[:4] == [ANNA, "anna", "Анна", "Иванова"]
    assert second.startswith(BORIS)
    assert second.endswith("staff blocked")
    assert first.index("Анна") == heads.index("  NAME") + 2
    assert first.index(" 0  ") + 1 == second.index(" 0  ") + 1 == heads.index("INVITED")


def test_list_shows_ids_where_they_are_asked_for(run: Run, anna: str) -> None:
    heads, first = said(run("users", "list", "--ids")).splitlines()
    assert heads.split()[:2] == ["ID", "NUMBER"]
    assert first.split()[:2] == [anna, ANNA]
    assert anna not in said(run("users", "list"))


def test_show_says_which_number_is_a_test_number(run: Run, app: Flask, settings: Settings, anna: str) -> None:
    assert "test number" not in said(run("users", "show", ANNA))
    tomorrow = clock.now().date() + timedelta(days=1)
    app.config["SETTINGS"] = replace(settings, test_numbers={ANNA: "482915"}, test_numbers_until=tomorrow)
    assert "+7 929 000-00-01, a test number\n" in said(run("users", "show", ANNA))


def test_list_finds_by_number_name_username_and_invite_code(
    run: Run, app: Flask, settings: Settings, anna: str, profile: Callable[[str], people.Profile]
) -> None:
    with app.app_context():
        user(settings, BORIS)
    for query in ("иванова", "ANN", "0000001", "8 929 000-00-01", profile(anna).invite_code.lower()):
        out = said(run("users", "list", "--q", query))
        assert ANNA in out, query
        assert BORIS not in out, query


def test_list_goes_on_where_the_page_before_ended(run: Run, app: Flask, settings: Settings, anna: str) -> None:
    with app.app_context():
        user(settings, BORIS)
    first = run("users", "list", "--limit", "1")
    assert BORIS not in said(first)
    place = first.stderr.split("--after ")[1].strip()
    second = run("users", "list", "--limit", "1", "--after", place)
    assert BORIS in said(second)
    assert ANNA not in second.stdout
    assert "--after" not in second.stderr


def test_list_costs_as_many_statements_for_a_hundred_as_for_one(
    run: Run, settings: Settings, app: Flask, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with app.app_context():
        demo.fill(settings, people=300, seed=1)
    with statements() as for_one:
        said(run("users", "list", "--limit", "1"))
    with statements() as for_a_hundred:
        said(run("users", "list", "--limit", "100"))
    assert len(for_a_hundred) == len(for_one) <= 2


def test_list_of_nobody_says_so(run: Run) -> None:
    result = run("users", "list")
    assert said(result) == ""
    assert result.stderr == "There are no users.\n"
    assert run("users", "list", "--q", "x").stderr == "No user matches.\n"


def test_list_refuses_a_place_that_it_never_gave(run: Run) -> None:
    assert "end of the last page" in refused(run("users", "list", "--after", "banana"))


@pytest.mark.parametrize("limit", ["0", "101", "x"])
def test_list_refuses_a_limit_that_is_no_limit(run: Run, limit: str) -> None:
    result = run("users", "list", "--limit", limit)
    assert result.exit_code == 2
    assert "--limit" in result.stderr


def test_no_name_plays_with_the_terminal(run: Run, app: Flask, anna: str) -> None:
    with app.app_context(), transaction() as session:
        session.execute(update(User).values(first_name="Анна\u202e\x1b[31m"))
    for command in (("users", "list"), ("users", "show", ANNA), ("users", "block", ANNA)):
        out = said(run(*command))
        assert "\u202e" not in out
        assert "\x1b" not in out


@pytest.mark.parametrize("name", [ANNA, "89290000001", "+7 (929) 000-00-01", "anna", "ANNA"])
def test_show_finds_somebody_by_username_or_any_spelling_of_the_number(run: Run, anna: str, name: str) -> None:
    out = said(run("users", "show", name))
    assert "+7 929 000-00-01" in out
    assert "Анна Иванова" in out
    assert "Firefox" in out.split("DEVICE")[1]


def test_the_id_of_a_user_names_them_in_every_command(run: Run, anna: str, profile: Callable[[str], people.Profile]) -> None:
    out = said(run("users", "show", "--", anna))
    assert out.startswith("id: ")
    assert anna in out
    said(run("users", "block", "--", anna))
    assert profile(anna).blocked_at is not None
    said(run("users", "delete", "--yes", "--", anna))
    assert "There is no user" in refused(run("users", "show", "--", anna))


def test_show_prints_metadata_without_signs_that_change_a_terminal(run: Run, app: Flask, anna: str) -> None:
    with app.app_context():
        accounts.change(anna, {}, {"plan": "про\x1b[31m"})
    assert 'metadata:     {"plan": "про\\u001b[31m"}' in said(run("users", "show", ANNA))


def test_show_of_somebody_who_is_signed_in_nowhere_says_so(run: Run) -> None:
    run("createsuperuser", ANNA)
    out = said(run("users", "show", ANNA))
    assert "Signed in nowhere." in out
    assert "status:       staff" in out


@pytest.mark.parametrize("command", ["show", "make-staff", "block", "delete"])
@pytest.mark.parametrize("name", ["nobody", BORIS, "", "me", "../../etc"])
def test_a_user_who_is_not_there_is_named_in_the_refusal(run: Run, command: str, name: str) -> None:
    assert f"There is no user {name!r}." in refused(run("users", command, name))


def test_bytes_that_are_no_text_are_refused(run: Run) -> None:
    assert "UTF-8" in refused(run("users", "list", "--q", "a\udcff"))
    assert "There is no user" in refused(run("users", "show", "a\udcff"))


def test_make_staff_gives_and_takes(run: Run, anna: str, profile: Callable[[str], people.Profile]) -> None:
    answer = said(run("users", "make-staff", "anna"))
    assert answer.startswith(f"{ANNA} (anna Анна Иванова) is staff now.\n")
    assert profile(anna).is_staff
    assert "is not staff now" in said(run("users", "make-staff", "anna", "--undo"))
    assert not profile(anna).is_staff


@pytest.mark.requirement("AZN-03")
def test_staff_without_a_second_factor_get_a_link_and_those_who_lost_it_too(
    run: Run, app: Flask, settings: Settings, anna: str
) -> None:
    def link(answer: str) -> str:
        found = re.search(rf"{settings.public_url}/admin/enrol/(\S+)/", answer)
        assert found is not None, answer
        with app.app_context():
            assert staff.is_good(settings, found[1], anna)
        return found[1]

    first, second = link(said(run("users", "make-staff", "anna"))), link(said(run("createsuperuser", ANNA)))
    assert first != second
    with app.app_context():
        add_passkey(anna, for_staff=True)
    assert "keep their second factor" in said(run("users", "make-staff", "anna"))
    link(said(run("users", "reset-factor", "anna", "--yes")))
    with app.app_context():
        assert not staff.factors(anna).enrolled
    run("users", "make-staff", "anna", "--undo")
    assert "is not staff" in refused(run("users", "reset-factor", "anna", "--yes"))


def test_block_shuts_out_at_once_and_undo_lets_in_again(
    run: Run, app: Flask, anna: str, profile: Callable[[str], people.Profile]
) -> None:
    assert "signed out everywhere" in said(run("users", "block", "anna"))
    assert profile(anna).blocked_at is not None
    with app.app_context():
        assert sessions.devices(anna) == []
    assert "may sign in again" in said(run("users", "block", "anna", "--undo"))
    assert profile(anna).blocked_at is None


def test_delete_asks_and_does_nothing_unless_told_yes(run: Run, anna: str, profile: Callable[[str], people.Profile]) -> None:
    for typed in ("n\n", "\n", ""):
        result = run("users", "delete", "anna", typed=typed)
        assert result.exit_code == 1
        assert f"Delete {ANNA} (anna Анна Иванова)" in result.stdout
    assert profile(anna).telephone_number == ANNA


@pytest.mark.parametrize(("words", "typed"), [((), "y\n"), (("--yes",), None)])
def test_delete_forgets_for_ever(run: Run, app: Flask, anna: str, words: tuple[str, ...], typed: str | None) -> None:
    assert "is deleted" in said(run("users", "delete", "anna", *words, typed=typed))
    with app.app_context(), pytest.raises(NotFound):
        people.profile(app.config["SETTINGS"], anna)


def test_who_came_back_with_a_backup_is_deleted_again_by_the_line_in_the_log(
    run: Run, app: Flask, anna: str, caplog: pytest.LogCaptureFixture
) -> None:
    with app.app_context():
        before = db.session.execute(select(User.__table__).where(User.id == anna)).mappings().one()
    run("users", "delete", "anna", "--yes")
    assert f"Deleted user {anna}." in caplog.messages
    with app.app_context(), transaction() as session:
        session.execute(update(User).where(User.id == anna).values(**before))
    assert "is deleted" in said(run("users", "delete", "--by-id", "--yes", "--", anna))
    assert "There is nothing here." in refused(run("users", "delete", "--by-id", "--yes", "--", anna))


def test_who_came_back_with_a_backup_is_blocked_again_by_the_line_in_the_log(
    run: Run, app: Flask, anna: str, profile: Callable[[str], people.Profile], caplog: pytest.LogCaptureFixture
) -> None:
    for words in ((), (), ("--undo",), ()):
        run("users", "block", "anna", *words)
    lines = [message for message in caplog.messages if anna in message]
    assert lines == [
        f"Blocked user {anna}.",
        f"Unblocked user {anna}.",
        f"Blocked user {anna}.",
    ]  # none for the second, which changed nothing
    with app.app_context(), transaction() as session:
        session.execute(update(User).where(User.id == anna).values(blocked_at=None))
    said(run("users", "block", "--", anna))
    assert profile(anna).blocked_at is not None
