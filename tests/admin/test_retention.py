"""Pages, commands and the API's document say how long data are kept, as the operator has set it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete

from config import Settings
from hammer.db.database import transaction
from hammer.models import Message, Verification
from hammer.webhooks import endpoints
from tests.admin.test_person import text_of
from tests.cli.commands import CLOSED_PORT, said
from tests.operators import Operator

NUMBER = "+79290000007"
SHORT: dict[str, Any] = {
    "texts_kept": timedelta(hours=5),
    "sessions_kept": timedelta(days=21),
    "webhook_log_kept": timedelta(days=10),
    "events_kept": timedelta(days=100),
}


@pytest.fixture
def app(settings: Settings, app_with: Callable[[Settings], Flask]) -> Flask:
    return app_with(replace(settings, **SHORT))


@pytest.fixture
def endpoint_id(app: Flask) -> str:
    with app.app_context():
        return endpoints.add(app.config["SETTINGS"], f"http://127.0.0.1:{CLOSED_PORT}/hook").id


@pytest.mark.requirement("PRV-01")
@pytest.mark.parametrize(
    ("language", "person", "recent", "webhook", "disable"),
    [
        (
            "en",
            "Codes and texts are kept for 5 hours after their end, sessions for 21 days, events for 100 days.",
            "Texts and codes are kept for 5 hours.",
            "Posts are listed for 10 days.",
            "What waits is kept for 10 days.",
        ),
        (
            "ru",
            "После своего конца коды и SMS хранятся 5 часов, сессии — 21 день; события хранятся 100 дней.",
            "SMS и коды хранятся 5 часов.",
            "Отправки видны 10 дней.",
            "То, что ждёт отправки, хранится 10 дней.",
        ),
    ],
)
def test_the_operators_pages_say_it_in_each_language(
    app: Flask, endpoint_id: str, language: str, person: str, recent: str, webhook: str, disable: str
) -> None:
    operator = Operator(app, "+79290000001").open()
    with app.app_context(), transaction() as tx:
        tx.execute(delete(Message))
        tx.execute(delete(Verification))
    found = {
        "/admin/": recent,
        f"/admin/people/{operator.user_id}/": person,
        f"/admin/webhooks/{endpoint_id}/": webhook,
        f"/admin/webhooks/{endpoint_id}/disable/": disable,
    }
    for path, sentence in found.items():
        page = operator.client.get(path, headers={"Accept-Language": language})
        assert sentence in text_of(page.text).replace("\N{NO-BREAK SPACE}", " "), path


def test_the_document_of_the_api_says_it(app: Flask) -> None:
    document = app.test_client().get("/api/v1/openapi.json").text
    assert "Events are kept for 100 days." in document
    assert document.count("Texts are kept for 5 hours after their code expired or was used.") == 2
    assert "_kept_" not in document


def test_the_commands_say_it(app: Flask, endpoint_id: str) -> None:
    run = app.test_cli_runner().invoke
    assert "Nothing was posted to it in the last 10 days." in said(run(args=["webhooks", "show", "--", endpoint_id]))
    assert "Texts are kept for 5 hours." in run(args=["texts", "list", "--number", NUMBER]).stderr
    listed = said(run(args=["settings"]))
    for name, value in {
        "TEXTS_KEPT_HOURS": 5,
        "SESSIONS_KEPT_DAYS": 21,
        "WEBHOOK_LOG_KEPT_DAYS": 10,
        "EVENTS_KEPT_DAYS": 100,
    }.items():
        assert [f"HAMMER_{name}", str(value)] in [line.split() for line in listed.splitlines()]
