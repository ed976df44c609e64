"""The pages of webhook endpoints: servers of apps that are told what happens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext

from hammer import clock, codes
from hammer.admin import forms
from hammer.admin.access import admin_only
from hammer.admin.asking import Action, ask, done, refuse, show_once
from hammer.admin.blueprint import blueprint
from hammer.clients import registry
from hammer.db.pagination import Page
from hammer.events import TYPES
from hammer.models import Client, Disabled, Event, WebhookAttempt, WebhookEndpoint
from hammer.operations import faults
from hammer.outgoing.post import Fault, Outcome
from hammer.refusals import N_, InvalidFields, NotAllowed, NotFound
from hammer.sessions.sessions import Caller
from hammer.web.languages import say
from hammer.web.pages.filters import exactly
from hammer.web.pages.forms import Form
from hammer.web.pages.frame import form_key, refused, shows_only
from hammer.web.settings import settings
from hammer.webhooks import deliveries, endpoints, signing, status
from hammer.webhooks.catalogue import CATALOGUE
from hammer.webhooks.endpoints import Manager
from hammer.webhooks.messages import message_id

A_PAGE: Final = 20
"""Endpoints on a page, and posts to one endpoint."""
FORM: Final = "admin/webhook_form.html"
MOMENT: Final = "%Y-%m-%dT%H:%M"
NOT_A_MOMENT: Final = N_("Enter a day and a time, like 2026-11-30T12:00.")
NO_TYPES: Final = N_("Choose at least one type, or all.")
NOT_AN_APP: Final = N_("There is no such app. Type its name or its id, or nothing.")
WHY_DISABLED: Final = {
    Disabled.BY_HAND: N_("by hand"),
    Disabled.GONE: N_("it answered that it is gone"),
    Disabled.FAILING: N_("it accepted nothing for three days"),
}

ADD = Action(
    N_("Add a webhook endpoint"),
    (N_("It gets what happens from now on. The next page shows its secret, by which the app knows that posts come from here."),),
    N_("Add"),
)
CHANGE = Action(
    N_("Change the endpoint"),
    (N_("Another URL is posted to at once, with all that waits. The secret stays the same."),),
    N_("Save"),
)
TEST = Action(
    N_("Send a test?"),
    (N_("An event of the type “ping” is posted at once, and the next page says what the server answered."),),
    N_("Send a test"),
)
REPLAY = Action(
    N_("Post events once more?"),
    (N_("They are posted with the same ids, so an app that stores the ids counts none of them twice."),),
    N_("Post once more"),
)
ENABLE = Action(
    N_("Enable this endpoint?"),
    (
        N_("What waits for it is posted, and what happens from now on."),
        N_("The next page offers to post what happened while it was disabled."),
    ),
    N_("Enable"),
    N_("The endpoint is enabled. Events that wait for it: %(waiting)s."),
)
DISABLE = Action(
    N_("Disable this endpoint?"),
    (
        N_("Nothing is posted to it until it is enabled."),
        N_("What happens meanwhile can be posted later."),
    ),
    N_("Disable"),
    N_("The endpoint is disabled."),
    undo="admin.enable_webhook",
    danger=True,
)
ROTATE = Action(
    N_("Make a new secret?"),
    (
        N_("The next page shows the new secret, once. Put it into the app within 24 hours."),
        N_("Until then the one before signs too, so no event is lost. After a leak make a new one twice."),
    ),
    N_("Make a new secret"),
    danger=True,
)
TWO_SIGN: Final = N_("Two secrets sign now. The older one of them ends at once.")
REMOVE = Action(
    N_("Remove this endpoint for ever?"),
    (N_("What waits for it is not posted any more, and the log of its posts is deleted. Nothing brings it back."),),
    N_("Remove for ever"),
    N_("The endpoint is removed."),
    danger=True,
)


@dataclass(frozen=True)
class Post:
    """One post to an endpoint."""

    at: datetime
    type: str
    message_id: str
    took_ms: int
    status: int | None
    why: str
    """Why it was not accepted; empty if it was."""
    remedy: str
    again: bool
    """Whether its event can be posted once more."""


@blueprint.get("/webhooks/")
@admin_only()
def list_webhooks(_: Caller) -> ResponseReturnValue:
    """The endpoints, those of one app with `?client=`. `?after=` shows the next page."""
    client_id, clients = request.args.get("client", ""), _clients()
    found = endpoints.every(Manager(client_id)) if codes.is_id(client_id) else endpoints.every()
    asked = {"client": client_id} if codes.is_id(client_id) else {}
    begin = next((place for place, each in enumerate(found, 1) if each.id == request.args.get("after")), 0)
    shown = found[begin : begin + A_PAGE]
    more = len(found) > begin + A_PAGE
    return render_template(
        "admin/webhooks.html",
        endpoints=shown,
        clients=clients,
        asked=asked,
        next_page=url_for("admin.list_webhooks", after=shown[-1].id, **asked) if more else "",  # type: ignore[arg-type]
        **_words(),
    )


@blueprint.route("/webhooks/add/", methods=["GET", "POST"])
@admin_only(recent=True, long_form=True)
def add_webhook(caller: Caller) -> ResponseReturnValue:
    """Asks for a URL and types, adds an endpoint, and shows its secret once."""
    form = forms.Webhook(data={"which": "all", "client": request.args.get("client")})
    context = {"action": ADD, "back": url_for("admin.list_webhooks"), "adds": True, "catalogue": _catalogue()}
    if shows_only():
        return render_template(FORM, form=form, **context)
    try:
        by = Manager(_owner(form), caller.user_id)
        added = endpoints.add(settings(), form.url.data or "", _types(form), by=by, key=form_key(caller.user_id))
    except (InvalidFields, NotAllowed) as refusal:
        return refused(refusal, form, FORM, **context)
    secret = signing.secret(settings(), added.id, 0)
    return _show_secret(gettext("The endpoint is added"), added.id, secret, gettext("Then send a test from its page."))


@blueprint.get("/webhooks/<endpoint_id>/")
@admin_only()
def webhook(_: Caller, endpoint_id: str) -> ResponseReturnValue:
    """One endpoint, and the newest posts to it. `?after=` shows older posts alone."""
    endpoint = endpoints.find(endpoint_id)
    after, page = _attempts(endpoint_id)
    return render_template(
        "admin/webhook.html",
        endpoint=endpoint,
        after=after,
        posts=[_post(endpoint, *each) for each in page.items],
        older=url_for("admin.webhook", endpoint_id=endpoint_id, after=page.after) if page.after else "",
        clients=_clients(),
        waiting=status.waiting_for(endpoint_id),
        most_counted=status.MOST_COUNTED,
        older_until=signing.older_until(endpoint),
        **_words(),
    )


@blueprint.route("/webhooks/<endpoint_id>/change/", methods=["GET", "POST"])
@admin_only(recent=True, long_form=True)
def change_webhook(caller: Caller, endpoint_id: str) -> ResponseReturnValue:
    """Changes those of the URL and the types that differ."""
    endpoint = endpoints.find(endpoint_id)
    types = endpoint.types.split()
    edition = endpoints.edition(endpoint)
    form = forms.Webhook(data={"url": endpoint.url, "which": "some" if types else "all", "types": types, "seen": edition})

    def act() -> object:
        given: dict[str, Any] = {} if form.url.data == endpoint.url else {"url": form.url.data or ""}
        if set(chosen := _types(form)) != set(types):
            given["types"] = chosen
        endpoints.change(settings(), endpoint_id, by=_by(caller), seen=form.seen.data or "", **given)
        return gettext("The endpoint is changed.") if given else gettext("Nothing was changed.")

    return _ask(CHANGE, endpoint, act, form, catalogue=_catalogue(), edition=edition, stored=endpoint)


@blueprint.route("/webhooks/<endpoint_id>/test/", methods=["GET", "POST"])
@admin_only()
def test_webhook(caller: Caller, endpoint_id: str) -> ResponseReturnValue:
    """Posts a `ping` and waits for the answer, `deliveries.POST_SECONDS` at most."""
    endpoint, back = endpoints.find(endpoint_id), _page_of(endpoint_id)
    if shows_only():
        return _ask(TEST, endpoint, lambda: None)
    outcome = deliveries.ping_now(settings(), endpoint_id, by=_by(caller))
    if outcome.accepted:
        return done(back, gettext("The server accepted the test, with status %(status)s.", status=outcome.status))
    why, remedy = map(gettext, faults.of_post(outcome))
    return refuse(back, gettext("The test was not accepted: %(why)s. %(remedy)s", why=why, remedy=remedy))


@blueprint.route("/webhooks/<endpoint_id>/replay/", methods=["GET", "POST"])
@admin_only()
def replay_webhook(caller: Caller, endpoint_id: str) -> ResponseReturnValue:
    """Posts one event once more, or those of a time, which the address may name."""
    endpoint = endpoints.find(endpoint_id)
    form = forms.Replay(data={name: request.args.get(name) for name in ("since", "until")})

    def act() -> object:
        if message := form.message_id.data:
            count = endpoints.replay(endpoint_id, message, by=_by(caller))
        else:
            since, until = _span(form)
            count = endpoints.replay_span(endpoint_id, since, until, by=_by(caller))
        return ngettext("%(num)d event waits to be posted once more.", "%(num)d events wait to be posted once more.", count)

    return _ask(REPLAY, endpoint, act, form)


@blueprint.route("/webhooks/<endpoint_id>/enable/", methods=["GET", "POST"])
@admin_only()
def enable_webhook(caller: Caller, endpoint_id: str) -> ResponseReturnValue:
    """Asks, enables the endpoint, and leads to the page that posts what happened while it was disabled."""
    endpoint = endpoints.find(endpoint_id)
    if not endpoint.disabled_at:
        return done(_page_of(endpoint_id), gettext("The endpoint is enabled already."))
    span = {"since": endpoint.disabled_at.strftime(MOMENT)}
    return _ask(
        ENABLE,
        endpoint,
        lambda: endpoints.enable(endpoint_id, by=_by(caller)),
        then=url_for("admin.replay_webhook", endpoint_id=endpoint_id, **span),  # type: ignore[arg-type]
        waiting=status.waiting_for(endpoint_id),
    )


@blueprint.route("/webhooks/<endpoint_id>/disable/", methods=["GET", "POST"])
@admin_only()
def disable_webhook(caller: Caller, endpoint_id: str) -> ResponseReturnValue:
    """Asks, then disables the endpoint."""
    kept = gettext("What waits is kept for %(time)s.", time=exactly(settings().webhook_log_kept))
    asked = replace(DISABLE, what=(*DISABLE.what, kept))
    return _ask(asked, endpoints.find(endpoint_id), lambda: endpoints.disable(endpoint_id, by=_by(caller)))


@blueprint.route("/webhooks/<endpoint_id>/rotate/", methods=["GET", "POST"])
@admin_only(recent=True)
def rotate_webhook(caller: Caller, endpoint_id: str) -> ResponseReturnValue:
    """Asks, then makes a new secret and shows it once."""
    endpoint = endpoints.find(endpoint_id)
    if shows_only():
        two = signing.older_until(endpoint) is not None
        asked = replace(ROTATE, what=(*ROTATE.what, TWO_SIGN)) if two else ROTATE
        return _ask(asked, endpoint, lambda: None, seen=endpoint.generation)
    try:
        seen, key = request.form.get("seen", -1, type=int), form_key(caller.user_id)
        secret = endpoints.rotate(settings(), endpoint_id, by=_by(caller), generation=seen, key=key)
    except NotAllowed as refusal:
        return refuse(_page_of(endpoint_id), say(refusal))
    return _show_secret(gettext("The new secret"), endpoint_id, secret, gettext("The one before signs too for 24 hours."))


@blueprint.route("/webhooks/<endpoint_id>/remove/", methods=["GET", "POST"])
@admin_only(recent=True)
def remove_webhook(caller: Caller, endpoint_id: str) -> ResponseReturnValue:
    """Asks, then removes the endpoint."""
    act = endpoints.remove
    return _ask(REMOVE, endpoints.find(endpoint_id), lambda: act(endpoint_id, by=_by(caller)), then=url_for("admin.list_webhooks"))


def where(url: str) -> str:
    """The host of a URL, and whether there is more: that may contain secrets."""
    parts = urlsplit(url)
    return f"{parts.netloc}/…" if parts.path.strip("/") or parts.query else parts.netloc


def _ask(
    action: Action, endpoint: WebhookEndpoint, act: Callable[[], object], form: Form | None = None, **more: Any
) -> ResponseReturnValue:
    """The page that asks, about an endpoint; see `ask`."""
    facts = [(gettext("Endpoint"), where(endpoint.url))]
    if endpoint.client_id:
        client = _clients().get(endpoint.client_id)
        facts.append((gettext("App"), client.name if client else endpoint.client_id))
    undo = url_for(action.undo, endpoint_id=endpoint.id) if action.undo else ""
    return ask(action, act, _page_of(endpoint.id), facts=facts, form=form, template=FORM, undo=undo, **more)


def _show_secret(title: str, endpoint_id: str, secret: str, *more: str) -> ResponseReturnValue:
    what = gettext("The app checks the signature of each post by it."), *more
    return show_once(title, [(gettext("Secret"), secret)], _page_of(endpoint_id), what=what)


def _attempts(endpoint_id: str) -> tuple[str | None, Page[tuple[WebhookAttempt, Event]]]:
    """The place that was asked for, and the posts from there; the newest when the place is invalid."""
    after = request.args.get("after")
    try:
        return after, endpoints.attempts(endpoint_id, after, A_PAGE)
    except InvalidFields:
        return None, endpoints.attempts(endpoint_id, limit=A_PAGE)


def _post(endpoint: WebhookEndpoint, attempt: WebhookAttempt, event: Event) -> Post:
    outcome = Outcome(attempt.status, Fault(attempt.fault) if attempt.fault else None)
    why, remedy = ("", "") if outcome.accepted else map(gettext, faults.of_post(outcome))
    again = bool(event.sequence) and not endpoint.disabled_at
    return Post(attempt.at, TYPES[event.kind], message_id(event), attempt.took_ms, attempt.status, why, remedy, again)


def _owner(form: forms.Webhook) -> str | None:
    """The id of the app whose name or id was typed; None for none. Refuses with `InvalidFields`."""
    typed = (form.client.data or "").strip()
    try:
        return registry.find(typed.replace("\0", "")).id if typed else None  # PostgreSQL refuses a NUL in a value
    except NotFound as refusal:
        raise InvalidFields({"client": [NOT_AN_APP]}) from refusal


def _types(form: forms.Webhook) -> Sequence[str]:
    """The types that were chosen; empty for all. Refuses with `InvalidFields`."""
    if form.which.data == "all":
        return ()
    if not form.types.data:
        raise InvalidFields({"types": [NO_TYPES]})
    chosen: list[str] = form.types.data
    return chosen


def _span(form: forms.Replay) -> tuple[datetime, datetime | None]:
    """The time that was typed. Refuses with `InvalidFields`."""
    read: dict[str, datetime | None] = {}
    errors = {}
    for name in ("since", "until"):
        typed = (form[name].data or "").strip()
        try:
            moment = datetime.fromisoformat(typed) if typed or name == "since" else None
            read[name] = moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            errors[name] = [NOT_A_MOMENT]
    if errors or read["since"] is None:
        raise InvalidFields(errors)
    return read["since"], read["until"]


def _clients() -> dict[str, Client]:
    return {client.id: client for client in registry.every()}


def _catalogue() -> list[tuple[str, str]]:
    """The types of events, each with when it happens."""
    return [(type_, gettext(CATALOGUE[type_].when).replace("`", "")) for type_ in endpoints.TYPES]


def _words() -> dict[str, Any]:
    """What templates need to describe endpoints."""
    return {"where": where, "why_disabled": WHY_DISABLED, "paused_until": endpoints.paused_until, "now": clock.now()}


def _by(caller: Caller) -> Manager:
    return Manager(user_id=caller.user_id)


def _page_of(endpoint_id: str) -> str:
    return url_for("admin.webhook", endpoint_id=endpoint_id)
