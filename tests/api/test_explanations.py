"""The address in the `type` of a problem explains the problem, to people and to programs."""

import re

import pytest
from flask.testing import FlaskClient

from hammer.api.explanations import EXPLAINED
from hammer.api.problems import KINDS
from tests.people import Program

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_every_kind_of_problem_is_explained() -> None:
    assert set(EXPLAINED) == set(KINDS)


@pytest.mark.parametrize("slug", KINDS)
def test_the_type_of_a_problem_leads_to_a_page_and_to_json_in_both_languages(client: FlaskClient, slug: str) -> None:
    for language in ("en", "ru"):
        page = client.get(f"/problems/{slug}", headers={"Accept": BROWSER, "Accept-Language": language})
        data = client.get(f"/problems/{slug}", headers={"Accept": "application/json", "Accept-Language": language})
        assert (page.status_code, page.mimetype) == (200, "text/html")
        assert (data.status_code, data.mimetype) == (200, "application/json")
        assert data.json is not None
        assert data.json["type"] == f"/problems/{slug}"
        for name in ("title", "meaning", "advice"):
            assert bool(re.search("[а-я]", data.json[name])) == (language == "ru"), data.json[name]
            assert data.json[name] in page.text


@pytest.mark.parametrize("accept", ["", "*/*", "application/problem+json", "application/json, text/html;q=0.5", "image/png"])
def test_what_is_no_browser_gets_json(client: FlaskClient, accept: str) -> None:
    answer = client.get("/problems/wrong-code", headers={"Accept": accept})
    assert answer.mimetype == "application/json"
    assert "Accept" in answer.headers["Vary"]


def test_an_unknown_slug_is_not_found(client: FlaskClient) -> None:
    assert client.get("/problems/no-such-slug").status_code == 404


def test_the_type_that_an_answer_states_is_found(program: Program, client: FlaskClient) -> None:
    for refused in (program.call("GET", "/users/me/"), program.call("PUT", "/auth/signup/"), program.call("GET", "/nothing/")):
        assert client.get((refused.json or {})["type"]).status_code == 200
