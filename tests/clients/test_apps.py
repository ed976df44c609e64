"""Clients that people sign in to: what an operator may say about them, and what a public client cannot do."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from config import Settings
from hammer import clock
from hammer.clients import registry, secrets
from hammer.db.database import db, transaction
from hammer.grants import authorizations
from hammer.models import Authorization, Client, Event, Scope, SigningAlgorithm
from hammer.outgoing import uris
from hammer.refusals import InvalidFields, NotAllowed, NotFound
from tests import apps
from tests.actions import STRANGER_ID

CALLBACK = "https://app.example.com/callback"
OTHER = "http://localhost:3000/callback?of=hammer"
OWN = "com.example.app:/callback"
pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
def app_of_people(context: None) -> Client:
    return registry.add("App", redirect_uris=[CALLBACK])


@pytest.fixture
def phone_app(context: None) -> Client:
    return registry.add("Phone app", public=True, redirect_uris=[OWN])


def faults(client: Client | None = None, /, **given: Any) -> dict[str, object]:
    """What is said about these fields of a new client, or of a change."""
    act = partial(registry.change, client.id) if client else partial(registry.add, "New")
    with pytest.raises(InvalidFields) as refused:
        act(**given)
    return dict(refused.value.errors)


def kinds() -> list[str]:
    return list(db.session.scalars(select(Event.kind).order_by(Event.id)))


def stored(client: Client) -> Client:
    db.session.expire_all()
    return registry.find(client.id)


def test_a_client_is_confidential_needs_pkce_and_signs_by_rs256_unless_the_operator_says_otherwise() -> None:
    added = registry.add("Shop")
    assert (added.public, added.pkce_required, added.algorithm, added.first_party) == (False, True, "RS256", False)
    assert (added.redirect_uris, added.post_logout_redirect_uris, added.backchannel_logout_uri) == ("", "", None)


def test_everything_that_is_given_is_kept_as_it_was_typed() -> None:
    given: dict[str, Any] = {
        "redirect_uris": [CALLBACK, "https://App.example.com:443/", CALLBACK, OTHER],
        "post_logout_redirect_uris": ["https://app.example.com"],
        "backchannel_logout_uri": "https://app.example.com/logout",
        "algorithm": "ES256",
        "first_party": True,
        "pkce_required": False,
    }
    changed = registry.add("Changed")
    registry.change(changed.id, **given)

    for client in (registry.add("Added", **given), changed):
        kept = stored(client)
        assert kept.redirect_uris.split(" ") == [CALLBACK, "https://App.example.com:443/", OTHER]
        assert kept.post_logout_redirect_uris == "https://app.example.com"
        assert kept.backchannel_logout_uri == "https://app.example.com/logout"
        assert (kept.algorithm, kept.first_party, kept.pkce_required) == ("ES256", True, False)


def test_a_change_leaves_the_rest_and_can_take_everything_away(app_of_people: Client) -> None:
    registry.change(app_of_people.id, backchannel_logout_uri="https://app.example.com/logout", post_logout_redirect_uris=[OTHER])
    registry.change(app_of_people.id, first_party=True)
    assert stored(app_of_people).redirect_uris == CALLBACK

    registry.change(
        app_of_people.id, redirect_uris=[], post_logout_redirect_uris=[], backchannel_logout_uri=None, first_party=False
    )

    left = stored(app_of_people)
    assert (left.redirect_uris, left.post_logout_redirect_uris, left.backchannel_logout_uri) == ("", "", None)
    assert not left.first_party


@pytest.mark.parametrize("field", ["redirect_uris", "post_logout_redirect_uris"])
def test_one_bad_address_among_good_ones_is_refused(app_of_people: Client, field: str) -> None:
    bad = {
        "": uris.NO_ADDRESS,
        "http://app.example.com/": uris.NEEDS_HTTPS,
        OWN: uris.NO_ADDRESS,
        f"{CALLBACK} {OTHER}": uris.NOT_AS_SENT,
    }
    for uri, sentence in bad.items():
        assert faults(**{field: [CALLBACK, uri]}) == faults(app_of_people, **{field: [CALLBACK, uri]}) == {field: [sentence]}
    assert stored(app_of_people).redirect_uris == CALLBACK


def test_a_client_has_twenty_addresses_of_a_kind_at_most() -> None:
    each = [f"https://app.example.com/{n}" for n in range(uris.MOST + 1)]
    assert faults(redirect_uris=each) == {"redirect_uris": [uris.TOO_MANY]}
    assert len(registry.add("App", redirect_uris=each[1:]).redirect_uris.split()) == uris.MOST
    assert f" {uris.MOST} " in uris.TOO_MANY
    assert f" {uris.LONGEST} " in uris.TOO_LONG


def test_all_faults_are_said_at_once(app_of_people: Client) -> None:
    given: dict[str, Any] = {"redirect_uris": ["x"], "backchannel_logout_uri": "", "algorithm": "HS256"}
    said = {"redirect_uris": [uris.NO_ADDRESS], "backchannel_logout_uri": [uris.NO_SERVER]}
    assert faults(**given) == faults(app_of_people, **given) == said | {"algorithm": [registry.NOT_AN_ALGORITHM]}


@pytest.mark.parametrize("algorithm", ["none", "HS256", "rs256", "", "RS256 "])
def test_only_three_algorithms_sign(app_of_people: Client, algorithm: str) -> None:
    assert faults(app_of_people, algorithm=algorithm) == {"algorithm": [registry.NOT_AN_ALGORITHM]}
    assert all(name in registry.NOT_AN_ALGORITHM for name in SigningAlgorithm)


def test_taking_pkce_away_is_an_event_of_its_own(app_of_people: Client) -> None:
    registry.add("Old", pkce_required=False)
    assert kinds() == ["client-added", "client-added", "client-pkce-off"]

    for required in (True, False, False):
        registry.change(app_of_people.id, pkce_required=required)

    assert kinds()[3:] == ["client-changed", "client-changed", "client-pkce-off", "client-changed"]


def test_a_public_client_always_uses_pkce(phone_app: Client) -> None:
    said = {"pkce_required": [registry.PKCE_IF_PUBLIC]}
    assert faults(phone_app, pkce_required=False) == faults(public=True, pkce_required=False) == said
    assert stored(phone_app).pkce_required


def test_a_public_client_cannot_call_the_api_for_itself(phone_app: Client) -> None:
    said = {"scopes": [registry.NO_SCOPES_IF_PUBLIC]}
    assert faults(phone_app, scopes=[Scope.USERS_READ]) == faults(public=True, scopes=[Scope.USERS_READ]) == said
    registry.change(phone_app.id, scopes=[])  # taking away what it does not have


def test_only_a_public_client_has_addresses_with_a_scheme_of_its_own(app_of_people: Client, phone_app: Client) -> None:
    registry.change(phone_app.id, redirect_uris=[OWN, CALLBACK], post_logout_redirect_uris=[OWN])
    assert faults(app_of_people, redirect_uris=[OWN]) == {"redirect_uris": [uris.NO_ADDRESS]}


@pytest.mark.parametrize("generation", [0, 1])
def test_no_secret_authenticates_a_public_client(settings: Settings, phone_app: Client, generation: int) -> None:
    computed = secrets.secret(settings, Client(id=phone_app.id, generation=generation))
    for shown in (computed, "", phone_app.id):
        assert secrets.authenticate(settings, phone_app.id, shown, address="192.0.2.1") is None


def test_a_public_client_gets_no_new_secret(settings: Settings, phone_app: Client) -> None:
    with pytest.raises(NotAllowed) as refused:
        secrets.rotate(settings, phone_app.id)
    assert refused.value.sentence == secrets.NO_SECRET
    assert stored(phone_app).generation == 0
    assert kinds() == ["client-added"]


def test_a_client_is_found_by_its_id_unless_it_is_disabled(app_of_people: Client, phone_app: Client) -> None:
    def found(client_id: str) -> list[str | None]:
        return [client.name if client else None for client in (registry.enabled(client_id), registry.public_client(client_id))]

    assert found(app_of_people.id) == ["App", None]
    assert found(phone_app.id) == ["Phone app", "Phone app"]
    for unknown in ("App", STRANGER_ID, "", "\0", "я" * 22):
        assert found(unknown) == [None, None]
    registry.disable(phone_app.id)
    assert found(phone_app.id) == [None, None]


def asked(client: Client, redirect_uri: str) -> str:
    return apps.ask(client, redirect_uri=redirect_uri).id


def test_nobody_is_sent_to_an_address_that_was_taken_away() -> None:
    shop, other = (registry.add(name, redirect_uris=[CALLBACK, OTHER]) for name in ("Shop", "Other"))
    gone, kept, of_other, exchanged = asked(shop, CALLBACK), asked(shop, OTHER), asked(other, CALLBACK), asked(shop, CALLBACK)
    with transaction() as tx:
        tx.get_one(Authorization, exchanged).consumed_at = clock.now() - timedelta(seconds=5)

    registry.change(shop.id, name="Market")
    assert authorizations.find(gone) is not None
    registry.change(shop.id, redirect_uris=[OTHER])

    assert [authorizations.find(one) is not None for one in (gone, kept, of_other)] == [False, True, True]
    assert db.session.get(Authorization, exchanged) is not None  # a replay of its code is still noticed


def test_a_change_of_an_unknown_client_is_refused_before_its_fields_are_read() -> None:
    with pytest.raises(NotFound):
        registry.change(STRANGER_ID, redirect_uris=[CALLBACK])
