"""The id of a user: it finds the user for ever, and nobody else."""

import pytest
from sqlalchemy import update

from config import Settings
from hammer.db.database import transaction
from hammer.models import User
from hammer.refusals import NotFound
from hammer.users import accounts, people
from tests.actions import ANNA, BORIS, CLARA, user

pytestmark = pytest.mark.usefixtures("context")
ID = "Anna-has_this_id_022ch"
"""An id that may be a username."""


@pytest.fixture
def anna(settings: Settings) -> str:
    made = accounts.create(settings, ANNA, {})
    with transaction() as tx:
        tx.execute(update(User).where(User.id == made).values(id=ID))
    return ID


def take(settings: Settings, username: str) -> str:
    """Boris, who takes this username."""
    boris = accounts.create(settings, BORIS, {})
    accounts.change(boris, {"username": username})
    return boris


def test_an_id_finds_its_user_whatever_else_changes(settings: Settings) -> None:
    made = user(settings, ANNA).id
    assert people.find(settings, made) == made
    accounts.change(made, {"username": "anna", "first_name": "A"})
    accounts.move(settings, made, CLARA, language="en")
    assert people.find(settings, made) == made == people.profile(settings, made).id
    assert people.find(settings, CLARA) == made


@pytest.mark.parametrize("spelling", [ID, ID.lower(), ID.upper()])
def test_nobody_shadows_an_id_with_a_username(settings: Settings, anna: str, spelling: str) -> None:
    boris = take(settings, spelling)
    assert people.find(settings, ID) == anna
    assert people.find(settings, BORIS) == boris


def test_nobody_takes_the_id_of_a_deleted_user(settings: Settings, anna: str) -> None:
    accounts.delete(settings, anna)
    take(settings, ID)
    with pytest.raises(NotFound):
        people.find(settings, ID)


def test_a_username_of_22_characters_still_finds_its_user(settings: Settings) -> None:
    boris = take(settings, "alexander_konstantinov")
    assert people.find(settings, "Alexander_Konstantinov") == boris


def test_an_id_is_found_in_its_own_case_only(settings: Settings, anna: str) -> None:
    with pytest.raises(NotFound):
        people.find(settings, ID.lower())
