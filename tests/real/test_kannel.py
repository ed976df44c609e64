"""A text goes through Kannel to a telephone, and its code signs in."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.delivery import states, wait_until
from tests.real.kannel import NUMBER_OF_BOXES, Kannel
from tests.serving import Answer, Server

ANNA, BORIS = "+79298284301", "+79298284302"


@pytest.fixture
def kannel(tmp_path: Path) -> Iterator[Kannel]:
    with Kannel(tmp_path) as running:
        running.start_bearerbox()
        running.start_smsbox()
        running.start_fakesmsc()
        yield running


@pytest.fixture
def hammer(serve: Callable[..., Server], kannel: Kannel) -> Server:
    return serve(HAMMER_SMS_URL=kannel.template, HAMMER_DEMO="off")


def sign_up(server: Server, telephone_number: str, language: str = "ru") -> str:
    """The id of a new verification; its code is in the text alone."""
    headers = {"Content-Type": "application/json", "Accept-Language": language}
    asked = server.request("POST", "/api/v1/auth/signup/", json.dumps({"telephone_number": telephone_number}).encode(), headers)
    assert asked.status == 200, asked.body
    assert "Ваш код активации" not in asked.json
    verification_id: str = asked.json["verification_id"]
    return verification_id


def sign_in(server: Server, verification_id: str, text: str) -> Answer:
    """With what the last line of the text offers to pages of this host."""
    code = re.fullmatch(r"@localhost #(\d{4})", text.splitlines()[-1])
    assert code, text
    return server.confirm(verification_id, code[1])


@pytest.mark.parametrize(("language", "words"), [("ru", "— код для входа"), ("en", "is your login code")])
def test_the_code_that_arrives_signs_in_and_its_receipt_comes_back(
    hammer: Server, kannel: Kannel, language: str, words: str
) -> None:
    verification_id = sign_up(hammer, ANNA, language)
    wait_until(lambda: len(kannel.arrived(ANNA)) > 0)
    [text] = kannel.arrived(ANNA)
    assert words in text
    assert sign_in(hammer, verification_id, text).status == 200
    wait_until(lambda: states(hammer.database_url) == {"delivered": 1})
    assert ANNA[1:] not in hammer.log.read_text()


def test_a_text_outlives_kannel(hammer: Server, kannel: Kannel) -> None:
    """The operator is away, then Kannel is killed; both come back. Until then one text waits in Kannel, and one in our outbox."""
    kannel.kill("fakesmsc")
    waits_in_kannel = sign_up(hammer, ANNA)
    wait_until(lambda: states(hammer.database_url) == {"sent": 1})
    kannel.kill("bearerbox")
    kannel.kill("smsbox")
    waits_with_us = sign_up(hammer, BORIS)
    wait_until(lambda: "did not take a text: ConnectionError" in hammer.log.read_text())
    assert states(hammer.database_url) == {"sent": 1, "waiting": 1}

    kannel.start_bearerbox()
    kannel.start_smsbox()
    kannel.start_fakesmsc()

    for number, verification_id in ((ANNA, waits_in_kannel), (BORIS, waits_with_us)):
        wait_until(lambda number=number: len(kannel.arrived(number)) > 0)  # type: ignore[misc]
        assert sign_in(hammer, verification_id, kannel.arrived(number)[0]).status == 200
    wait_until(lambda: states(hammer.database_url) == {"delivered": 2})


def test_kannel_delivers_no_code_that_has_expired(serve: Callable[..., Server], kannel: Kannel) -> None:
    """The operator is away for as long as the code is valid."""
    hammer = serve(HAMMER_SMS_URL=kannel.template, HAMMER_DEMO="off", HAMMER_CODE_TTL_SECONDS="60")
    kannel.kill("fakesmsc")
    sign_up(hammer, ANNA)
    wait_until(lambda: states(hammer.database_url) == {"sent": 1})
    wait_until(lambda: states(hammer.database_url) == {"failed": 1}, seconds=120)

    kannel.start_fakesmsc()

    sign_up(hammer, BORIS)
    wait_until(lambda: len(kannel.arrived(BORIS)) > 0)
    assert kannel.arrived(ANNA) == []


def test_bearerbox_alone_is_killed_and_comes_back(hammer: Server, kannel: Kannel) -> None:
    kannel.kill("bearerbox")
    verification_id = sign_up(hammer, ANNA)
    kannel.kill("fakesmsc")
    kannel.start_bearerbox()
    kannel.start_fakesmsc()
    wait_until(lambda: len(kannel.arrived(ANNA)) > 0)
    assert sign_in(hammer, verification_id, kannel.arrived(ANNA)[0]).status == 200
    wait_until(lambda: states(hammer.database_url) == {"delivered": 1})


def test_a_wrong_password_is_a_gateway_that_failed(serve: Callable[..., Server], kannel: Kannel) -> None:
    server = serve(HAMMER_SMS_URL=kannel.template.replace("foobar", "wrong"), HAMMER_DEMO="off")
    sign_up(server, ANNA)
    wait_until(lambda: "Gateway http/1 did not take a text: answered 403." in server.log.read_text())
    assert states(server.database_url) == {"waiting": 1}
    assert kannel.arrived(ANNA) == []


def test_a_text_goes_on_by_smpp(serve: Callable[..., Server], tmp_path: Path) -> None:
    """drive_smpp prints what it receives up to the first zero byte, which encodes `@`."""
    with Kannel(tmp_path, "smpp") as kannel, socket.socket() as box:
        with suppress(OSError):  # another program listens there, which is enough for drive_smpp
            box.bind(("127.0.0.1", NUMBER_OF_BOXES))
            box.listen()
        kannel.start_drive_smpp()
        kannel.start_bearerbox()
        kannel.start_smsbox()
        wait_until(lambda: re.search(r"SMPP.*online", kannel.status()) is not None)
        server = serve(HAMMER_SMS_URL=kannel.template, HAMMER_DEMO="off")
        verification_id = sign_up(server, ANNA, "en")
        pattern = re.compile(r"submit_sm: short_message = <Hammer: (\d{4}) is your login code\. Do not tell it to anybody\.")
        wait_until(lambda: pattern.search(kannel.log("drive_smpp")) is not None)
        code = pattern.search(kannel.log("drive_smpp"))
        assert code is not None
        assert server.confirm(verification_id, code[1]).status == 200
