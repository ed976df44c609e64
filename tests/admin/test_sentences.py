"""Every kind of event has a sentence, in every language."""

import pytest
from flask import Flask

from hammer.admin import sentences
from hammer.events import Kind
from hammer.users import oversight
from hammer.web import languages


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_every_kind_of_event_has_a_sentence(app: Flask, language: str) -> None:
    with app.test_request_context(headers={"Accept-Language": language}):
        said = {kind: sentences.event_sentence(kind) for kind in Kind}
        assert set(sentences.EVENTS) == set(Kind)
        assert len(set(said.values())) == len(Kind)
        assert all(sentence.isascii() is False if language == "ru" else kind != sentence for kind, sentence in said.items())
        assert sentences.event_sentence("of-a-newer-version") == "of-a-newer-version"
        for slug in ("unknown-invite", *oversight.REASONS_TO_SHOW):
            assert sentences.detail_in_words(slug) not in ("", slug)
