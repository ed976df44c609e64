"""Texts through AWS SNS, as moto serves it, and through apprise's client of Twilio, held against what Twilio documents."""

import json
import re
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from apprise.plugins.twilio import NotifyTwilio
from flask import Flask

from config import Settings
from hammer.sms import gateways
from tests import delivery
from tests.delivery import states, wait_until
from tests.fake_gateway import fake_gateway
from tests.people import Program
from tests.serving import Server, free_port

ANNA = "+79298284301"
AWS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a moto server."""
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output
        )
    try:
        wait_until(lambda: f"http://127.0.0.1:{port}" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def taken(aws: str) -> list[dict[str, str]]:
    """The texts that it was asked to send."""
    with urllib.request.urlopen(f"{aws}/moto-api/data.json", timeout=10) as answer:  # noqa: S310
        texts: list[dict[str, str]] = json.load(answer)["sns"]["SMS"]
    return texts


def code_in(text: str) -> str:
    found = re.search(r"^@localhost #(\d{4})$", text, re.MULTILINE)
    assert found, text
    return found[1]


def test_a_text_by_sns_signs_in(serve: Callable[..., Server], aws: str) -> None:
    server = serve(HAMMER_SMS_URL="sns://eu-central-1", HAMMER_DEMO="off", AWS_ENDPOINT_URL=aws, **AWS)
    asked = server.call("POST", "/auth/signup/", {"telephone_number": ANNA}).json
    wait_until(lambda: states(server.database_url) == {"sent": 1})
    text = taken(aws)[-1]
    assert text["phone_number"] == ANNA
    assert server.confirm(asked["verification_id"], code_in(text["message"])).status == 200
    assert ANNA[1:] not in server.log.read_text()


def test_doctor_asks_aws_who_we_are(aws: str, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    for name, value in (AWS | {"AWS_ENDPOINT_URL": aws}).items():
        monkeypatch.setenv(name, value)
    [known] = gateways.examine(replace(settings, sms_url="sns://eu-central-1"))
    assert (known.works, known.how.startswith("sns/1: AWS accepts our credentials. ")) == (True, True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    [away] = gateways.examine(replace(settings, sms_url="sns://eu-central-1"))
    assert (away.works, away.how) == (False, "sns/1: AWS does not accept our credentials: EndpointConnectionError")
    assert "AWS_ACCESS_KEY_ID" in away.remedy


@pytest.mark.parametrize("language", ["ru", "en"])
def test_twilio_is_asked_as_its_documents_say(
    app_with: Callable[[Settings], Flask], settings: Settings, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    sid, token, ours = f"AC{'a1' * 16}", "b2" * 16, "+15551234567"
    app = app_with(replace(settings, sms_url=f"twilio://{sid}:{token}@{ours}/{{phone}}"))
    person = Program(app)
    asked = person.call("POST", "/auth/signup/", {"telephone_number": ANNA}, **{"Accept-Language": language}).json
    assert asked is not None
    with fake_gateway() as twilio, app.app_context():
        twilio.status = 201
        monkeypatch.setattr(NotifyTwilio, "notify_sms_url", f"{twilio.url}/2010-04-01/Accounts/{{sid}}/Messages.json")
        delivery.deliver(app.config["SETTINGS"])
        [request] = twilio.asked
    assert (request.method, request.path, request.query) == ("POST", f"/2010-04-01/Accounts/{sid}/Messages.json", {})
    assert request.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    assert request.headers["Authorization"] == f"Basic {b64encode(f'{sid}:{token}'.encode()).decode()}"
    assert (request.form["To"], request.form["From"]) == (ANNA, ours)
    signed_in = person.call(
        "POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": code_in(request.form["Body"])}
    )
    assert signed_in.status_code == 200


def test_twilio_away_is_a_text_that_waits(
    app_with: Callable[[Settings], Flask], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_with(replace(settings, sms_url=f"twilio://AC{'a1' * 16}:{'b2' * 16}@+15551234567/{{phone}}"))
    Program(app).result("POST", "/auth/signup/", {"telephone_number": ANNA})
    monkeypatch.setattr(NotifyTwilio, "notify_sms_url", f"http://127.0.0.1:{free_port()}/{{sid}}")
    with app.app_context():
        delivery.deliver(app.config["SETTINGS"])
    assert states(settings.database_url) == {"waiting": 1}
