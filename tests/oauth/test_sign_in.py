"""Signing in to an app, as a story: from the request of the app to what it learns about the person."""

from typing import Any

import pytest
from flask import Flask

from hammer.models import SigningAlgorithm
from tests.actions import ANNA
from tests.people import Browser
from tests.relying_party import RelyingParty


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
@pytest.mark.parametrize("public", [False, True])
def test_an_app_learns_who_signed_in(app: Flask, algorithm: SigningAlgorithm, public: bool) -> None:
    grafana = RelyingParty(app, algorithm=algorithm, public=public)
    given = grafana.tokens(Browser(app), ANNA, scope="openid phone offline_access")
    said: dict[str, Any] = grafana.claims(given["id_token"])
    known = grafana.userinfo(given["access_token"]).get_json()

    assert (said["nonce"], said["amr"], said["acr"]) == ("nonce of the app", ["otp", "sms"], "1")
    assert known == {"sub": said["sub"], "phone_number": ANNA, "phone_number_verified": True}
    again = grafana.refresh(given["refresh_token"]).get_json()
    assert grafana.userinfo(again["access_token"]).get_json() == known
    assert grafana.claims(again["id_token"])["auth_time"] == said["auth_time"]
