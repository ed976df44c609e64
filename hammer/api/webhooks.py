"""The calls of the JSON API for webhooks and the event feed."""

from typing import Any, Final

from flask.typing import ResponseReturnValue

from hammer.api import schemas as s
from hammer.api import webhook_schemas as w
from hammer.api.blueprint import allows, blueprint, not_json, refuses, repeatable, takes, takes_query
from hammer.api.paging import paged
from hammer.db.pagination import Page
from hammer.events import TYPES
from hammer.models import Scope, WebhookEndpoint
from hammer.quotas.idempotency import Key
from hammer.refusals import InvalidFields, NotAllowed, NotFound
from hammer.sessions.sessions import Caller
from hammer.users import accounts
from hammer.web import tokens
from hammer.web.settings import settings
from hammer.webhooks import endpoints, feed, signing
from hammer.webhooks.endpoints import Manager
from hammer.webhooks.messages import kinds_of, message_id

__all__ = ["blueprint"]

_SHOWN: Final = ("id", "url", "client_id", "created_at", "disabled_at", "disabled_for", "failures", "failing_since")
_FURTHER: Final = {
    "Link": {
        "schema": {"type": "string"},
        "description": 'Where to go on, now and later: `<…>; rel="next"`. It is missing only while the feed is empty.',
    }
}


@blueprint.get("/events/", tags=["webhooks"])
@allows(Scope.EVENTS_READ)
@refuses(InvalidFields)
@tokens.staff_only
@takes_query(w.EventsIn)
@blueprint.response(200, w.EventOut(many=True), headers=_FURTHER)
def list_events(query: dict[str, Any]) -> ResponseReturnValue:
    """What happened, oldest first (staff and clients only)

    New events come only at the end of this feed. An empty array means that nothing new has happened yet: keep the link, and ask
    again from it. Events are kept for {events_kept_days} days. If the place of the link is gone, the answer is `invalid-fields` for
    `after`: read the feed from its beginning then.
    """
    wanted = dict.fromkeys(query.get("type", ()))
    page = feed.read(query.get("after"), kinds=kinds_of(wanted), limit=query["limit"])
    return paged(page, query | {"type": list(wanted)})


@blueprint.get("/webhooks/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@tokens.staff_only
@blueprint.response(200, w.WebhookOut(many=True))
def list_webhooks() -> list[dict[str, Any]]:
    """Endpoints that events are posted to, oldest first (staff and clients only)

    A client sees those that belong to it, in this and in all further calls: those that it added, and those that the operator added
    for it. Staff see all.
    """
    return [_shown(endpoint) for endpoint in endpoints.every(_caller())]


@blueprint.post("/webhooks/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@tokens.staff_only
@takes(w.WebhookIn)
@repeatable
@blueprint.response(201, w.WebhookAddedOut)
def create_webhook(body: dict[str, Any], key: Key | None) -> dict[str, Any]:
    """Add an endpoint (staff and clients only)

    It gets what happens from now on. Its secret is shown this once. Staff can do this only within five minutes after a login with a
    code; later the answer is `not-allowed`.
    """
    _check_proof()
    endpoint = endpoints.add(settings(), body["url"], body["types"], by=_caller(), key=key)
    return _shown(endpoint) | {"secret": signing.secret(settings(), endpoint.id, endpoint.generation)}


@blueprint.get("/webhooks/<endpoint_id>/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(NotFound)
@tokens.staff_only
@blueprint.response(200, w.WebhookOut)
def show_webhook(endpoint_id: str) -> dict[str, Any]:
    """Show an endpoint (staff and clients only)"""
    return _shown(endpoints.find(endpoint_id, _caller()))


@blueprint.route("/webhooks/<endpoint_id>/", methods=["POST", "PATCH"], tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(NotFound)
@tokens.staff_only
@takes(w.WebhookChangeIn)
@blueprint.response(200, w.WebhookOut)
def update_webhook(body: dict[str, Any], endpoint_id: str) -> dict[str, Any]:
    """Change the fields that are sent of an endpoint (staff and clients only)

    Staff can change the URL only within five minutes after a login with a code; later the answer is `not-allowed`.
    """
    if "url" in body:
        _check_proof()
    return _shown(endpoints.change(settings(), endpoint_id, by=_caller(), **body))


@blueprint.delete("/webhooks/<endpoint_id>/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(NotFound)
@tokens.staff_only
@blueprint.response(204)
def delete_webhook(endpoint_id: str) -> None:
    """Delete an endpoint with its log, and what waits for it (staff and clients only)"""
    endpoints.remove(endpoint_id, by=_caller())


@blueprint.post("/webhooks/<endpoint_id>/rotate/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(NotFound)
@tokens.staff_only
@not_json
@repeatable
@blueprint.response(200, w.SecretOut)
def rotate_webhook(endpoint_id: str, key: Key | None) -> dict[str, str]:
    """Give an endpoint a new secret (staff and clients only)

    The secret before signs too for 24 hours; the one before that does not sign any more. Staff can do this only within five minutes
    after a login with a code; later the answer is `not-allowed`.
    """
    _check_proof()
    return {"secret": endpoints.rotate(settings(), endpoint_id, by=_caller(), key=key)}


@blueprint.post("/webhooks/<endpoint_id>/test/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(NotFound)
@tokens.staff_only
@not_json
@blueprint.response(202, w.PingOut)
def test_webhook(endpoint_id: str) -> dict[str, str]:
    """Post a ping to an endpoint soon (staff and clients only)

    `attempts` shows what becomes of it. While the endpoint is disabled, the answer is `not-allowed`.
    """
    return {"message_id": endpoints.ping(endpoint_id, by=_caller())}


@blueprint.post("/webhooks/<endpoint_id>/enable/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(NotFound)
@tokens.staff_only
@not_json
@blueprint.response(200, w.WebhookOut)
def enable_webhook(endpoint_id: str) -> dict[str, Any]:
    """Post to an endpoint again (staff and clients only)

    It gets what waited for it and what happens from now on. What happened while it was disabled can be replayed. This also ends the
    pause of an endpoint that failed.
    """
    return _shown(endpoints.enable(endpoint_id, by=_caller()))


@blueprint.post("/webhooks/<endpoint_id>/disable/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(NotFound)
@tokens.staff_only
@not_json
@blueprint.response(200, w.WebhookOut)
def disable_webhook(endpoint_id: str) -> dict[str, Any]:
    """Post nothing to an endpoint from now on (staff and clients only)"""
    return _shown(endpoints.disable(endpoint_id, by=_caller()))


@blueprint.post("/webhooks/<endpoint_id>/replay/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(NotFound)
@tokens.staff_only
@takes(w.ReplayIn)
@blueprint.response(202, w.ReplayOut)
def replay_webhook(body: dict[str, Any], endpoint_id: str) -> dict[str, int]:
    """Post events to an endpoint once more, with the same ids (staff and clients only)

    Send either `message_id` for one event, or `since` for those of a time, of the types that the endpoint gets. While the endpoint
    is disabled, the answer is `not-allowed`.
    """
    if "message_id" in body:
        return {"replayed": endpoints.replay(endpoint_id, body["message_id"], by=_caller())}
    return {"replayed": endpoints.replay_span(endpoint_id, body["since"], body.get("until"), by=_caller())}


@blueprint.get("/webhooks/<endpoint_id>/attempts/", tags=["webhooks"])
@allows(Scope.WEBHOOKS_MANAGE)
@refuses(InvalidFields, NotFound)
@tokens.staff_only
@takes_query(s.PageIn)
@blueprint.response(200, w.AttemptOut(many=True), headers=s.NEXT_PAGE)
def list_attempts(query: dict[str, Any], endpoint_id: str) -> ResponseReturnValue:
    """Posts to an endpoint and what became of them, newest first (staff and clients only)"""
    page = endpoints.attempts(endpoint_id, **query, by=_caller())
    items = [
        {"message_id": message_id(event), "type": TYPES[event.kind], "at": attempt.at}
        | {"status": attempt.status, "fault": attempt.fault, "took_ms": attempt.took_ms}
        for attempt, event in page.items
    ]
    return paged(Page(items, page.after), query, endpoint_id=endpoint_id)


def _caller() -> Manager:
    me = tokens.caller()
    return Manager(user_id=me.user_id) if isinstance(me, Caller) else Manager(client_id=me.client.id)


def _check_proof() -> None:
    """Refuses with `NotAllowed` a user who has not proved their number lately: a secret is shown, or events go elsewhere."""
    me = tokens.caller()
    if isinstance(me, Caller) and not accounts.proved_lately(me.session_id):
        raise NotAllowed(accounts.SIGN_IN_AGAIN)


def _shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    shown = {name: getattr(endpoint, name) for name in _SHOWN}
    return (
        shown
        | {"types": endpoint.types.split()}
        | {
            "paused_until": endpoints.paused_until(endpoint),
            "older_secret_until": signing.older_until(endpoint),
        }
    )
