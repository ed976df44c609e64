"""Every refusal is in the drawn tree, and has a slug, a status, and a sentence in every language."""

import inspect
import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import hammer
from hammer import refusals
from hammer.refusals import Refusal
from hammer.web.languages import LANGUAGES
from hammer.web.statuses import status_of

CATALOGUES = Path(hammer.__file__).parent / "translations"
CONTRACT = {
    "invalid-request": 400,
    "invalid-fields": 422,
    "wrong-code": 401,
    "not-signed-in": 401,
    "not-allowed": 403,
    "not-found": 404,
    "unknown-invite": 422,
    "own-invite": 422,
    "invite-loop": 422,
    "already-activated": 409,
    "username-taken": 409,
    "telephone-number-taken": 409,
    "region-not-served": 422,
    "too-many-requests": 429,
    "unavailable": 503,
}


def leaves(branch: type[Refusal] = Refusal) -> list[type[Refusal]]:
    below = branch.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [branch]


LEAVES = leaves()
every_leaf = pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)


@every_leaf
def test_a_refusal_has_a_name_and_a_sentence_of_its_own(leaf: type[Refusal]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", leaf.slug)
    assert re.fullmatch(r"[A-Z].*[.]", leaf.sentence)
    assert [other for other in LEAVES if other.slug == leaf.slug or other.sentence == leaf.sentence] == [leaf]


@every_leaf
def test_a_refusal_has_the_status_of_the_contract(leaf: type[Refusal]) -> None:
    assert status_of(leaf) == CONTRACT[leaf.slug]


def test_there_is_a_refusal_for_every_name_of_the_contract() -> None:
    assert {leaf.slug for leaf in LEAVES} == set(CONTRACT)


@every_leaf
@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_a_refusal_is_translated_into_every_language(leaf: type[Refusal], language: str) -> None:
    with (CATALOGUES / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        catalogue = read_po(file)
    for sentence in (leaf.sentence, leaf.title):
        message = catalogue.get(sentence)
        assert message is not None, sentence
        assert message.string, sentence
        assert not message.fuzzy, sentence
        assert message.string != sentence


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    def draw(branch: type[Refusal]) -> list[str]:
        return [name for child in branch.__subclasses__() for name in (child.__name__, *draw(child))]

    drawn = re.findall(r"[├└]── (\w+)", inspect.getdoc(refusals) or "")
    assert drawn == draw(Refusal)


def test_no_wait_is_shorter_than_a_second() -> None:
    assert refusals.TooManyRequests(retry_after=0).retry_after == 1
    assert refusals.Unavailable(retry_after=-5).details == {"retry_after": 1}
