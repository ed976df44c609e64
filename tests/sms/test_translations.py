"""Each language has a folder, and each folder is whole: nothing missing, nothing guessed, the compiled catalogue the newest."""

import gettext
import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po
from flask import Flask

from hammer.sms import messages
from hammer.web import languages

HAMMER = Path(languages.__file__).parent.parent
CATALOGUES = sorted(messages.TRANSLATIONS.glob("*/LC_MESSAGES/messages.po"))
each_language = pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda file: file.parent.parent.name)


def read(file: Path) -> Catalog:
    with file.open("rb") as opened:
        return read_po(opened, locale=file.parent.parent.name)


def spellings(sentence: Any) -> tuple[str, ...]:
    """One sentence, or its forms for one, few and many."""
    return tuple(sentence) if isinstance(sentence, (tuple, list)) else (sentence,)


def translations(catalogue: Catalog) -> dict[Any, tuple[str, ...]]:
    return {spellings(message.id): spellings(message.string) for message in catalogue if message.id}


def sentences() -> set[Any]:
    """Every sentence for people in code and templates."""
    keywords = {"_": None, "N_": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
    return {found[2] for found in extract_from_dir(HAMMER, [("**.py", "python"), ("**.html", "jinja2")], keywords=keywords)}


def test_every_folder_is_a_language_to_choose() -> None:
    folders = {file.parent.parent.name for file in CATALOGUES}

    assert set(languages.LANGUAGES) == folders | {"en"}
    assert languages.names()["ru"] == "Русский"


@each_language
def test_every_sentence_is_translated_and_none_is_left_over(catalogue: Path) -> None:
    translated = {message.id for message in read(catalogue) if message.id and all(spellings(message.string))}

    assert sentences() - translated == set()
    assert translated - sentences() == set()


@each_language
def test_no_translation_is_a_guess_of_the_tools(catalogue: Path) -> None:
    assert [message.id for message in read(catalogue) if message.fuzzy and message.id] == []
    assert list(read(catalogue).obsolete) == []


@each_language
def test_every_translation_keeps_the_values_of_its_sentence(catalogue: Path) -> None:
    for message in read(catalogue):
        values = set(re.findall(r"%\(\w+\)[sd]", spellings(message.id)[-1]))
        assert all(set(re.findall(r"%\(\w+\)[sd]", words)) == values for words in spellings(message.string) if message.id)


@each_language
def test_a_sentence_that_counts_has_as_many_forms_as_the_language(catalogue: Path) -> None:
    language = catalogue.parent.parent.name
    declared = dict(read(catalogue).mime_headers)["Plural-Forms"].partition("plural=")[2].rstrip(";")
    forms = get_plural(language)

    choose, as_cldr = gettext.c2py(declared), gettext.c2py(forms.plural_expr)

    assert [choose(n) for n in range(1000)] == [as_cldr(n) for n in range(1000)]
    assert all(len(spellings(message.string)) == forms.num_plurals for message in read(catalogue) if isinstance(message.id, tuple))


@each_language
def test_the_compiled_catalogue_is_the_newest(catalogue: Path) -> None:
    with catalogue.with_suffix(".mo").open("rb") as opened:
        compiled = read_mo(opened)

    assert translations(compiled) == translations(read(catalogue))


def test_a_further_language_needs_a_folder_alone(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = app.test_client()

    monkeypatch.setattr(languages, "LANGUAGES", (*languages.LANGUAGES, "de"))
    page = client.get("/nowhere", headers={"Accept-Language": "de"}).text

    assert '<html lang="de">' in page
    assert 'href="/?lang=ru"' in page
    assert 'href="/?lang=en"' in page
