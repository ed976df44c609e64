"""The pages of clients, which they call apps: what each may do, its secret, its end; and the provider that people sign in with."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from markupsafe import Markup, escape

from hammer import clock
from hammer.admin import doctor, forms, home
from hammer.admin.access import admin_only
from hammer.admin.asking import Action, ask, done, refuse, show_once
from hammer.admin.blueprint import blueprint
from hammer.admin.weight import fitting
from hammer.clients import registry, secrets
from hammer.clients.registry import Doubt
from hammer.models import Client, Scope, SigningAlgorithm
from hammer.operations import doctor_of_clients
from hammer.refusals import N_, InvalidFields, NotAllowed
from hammer.sessions import keys
from hammer.sessions.keys import Purpose
from hammer.sessions.sessions import Caller
from hammer.web.languages import say
from hammer.web.pages.filters import code, remaining
from hammer.web.pages.frame import form_key, refused, shows_only
from hammer.web.settings import settings

SCOPES: Final = {
    Scope.CODES_SEND: N_("Ask for codes and enter them for its users, and say from which address they come."),
    Scope.USERS_READ: N_("Read all users; their numbers are masked."),
    Scope.USERS_WRITE: N_("Create, change, block and delete users who are not staff. The answers show the user."),
    Scope.USERS_NUMBERS: N_("See whole numbers."),
    Scope.INVITES_READ: N_("Read who activated whose invite code."),
    Scope.EVENTS_READ: N_("Read what happened to all users, by ids alone."),
    Scope.WEBHOOKS_MANAGE: N_("Add webhook endpoints, which are told what happens to all users."),
}
"""Scope -> what it allows."""
DOUBTS: Final = {
    Doubt.NO_TEXTS: N_("It has the scope codes:send, but may ask for no texts: raise its texts an hour."),
    Doubt.NO_SIGN_IN: N_("People cannot sign in to it before it has a redirect URI."),
    Doubt.NO_PKCE: N_("It need not use PKCE, so a stolen code can be used in another browser. Switch it on if the app can use it."),
}
A_PAGE: Final = 50
LISTS: Final = ("origins", "redirect_uris", "post_logout_redirect_uris")
"""Fields with one address on each line."""
LONGEST_SHOWN: Final = 3000
"""Characters of all addresses of one field, from which on no page shows them: `clients show` does."""
AHEAD: Final = timedelta(minutes=10)
FORM: Final = "admin/client_form.html"

ROTATE: Final = Action(
    N_("Make a new secret?"),
    (
        N_("The next page shows the new secret once. Put it into the app within 24 hours."),
        N_("The secret of now stays valid for these 24 hours. The one before it is not valid any more, from now on."),
        N_("After a leak do this twice: then neither of the two secrets from before is valid."),
    ),
    N_("Make a new secret"),
    danger=True,
)
DISABLE: Final = Action(
    N_("Disable this app?"),
    (
        N_("Its secret and tokens are refused at once, and everyone who signed in through it is signed out."),
        N_("The devices that signed in through it are forgotten. Its webhook endpoints get nothing until it is enabled."),
    ),
    N_("Disable"),
    N_("The app is disabled, and everyone who signed in through it is signed out."),
    undo="admin.enable_client",
    danger=True,
)
ENABLE: Final = Action(
    N_("Enable this app?"),
    (N_("Its secret is valid again. The sessions and tokens from before stay over: people sign in again."),),
    N_("Enable"),
    N_("The app is enabled."),
    undo="admin.disable_client",
)
REMOVE: Final = Action(
    N_("Remove this app for ever?"),
    (
        N_("Its secret and tokens are refused at once, and everyone who signed in through it is signed out, for ever."),
        N_("What people allowed it is forgotten, and its webhook endpoints are deleted. The audit trail keeps its id."),
        N_("To stop it for a time, disable it."),
    ),
    N_("Remove for ever"),
    N_("The app is removed."),
    danger=True,
)
ROTATE_KEYS: Final = Action(
    N_("Make new keys for id tokens?"),
    (
        N_("Each algorithm that has a key gets a new one. Tokens that the old ones signed stay valid until they expire."),
        N_("Most apps fetch the keys again when they meet an unknown one. For those that do not, publish the new keys ahead."),
    ),
    N_("Make new keys"),
    N_("There are new keys for id tokens."),
    danger=True,
)


@blueprint.get("/apps/")
@admin_only()
def list_clients(_: Caller) -> ResponseReturnValue:
    """All clients by name, page by page."""

    def draw(most: int) -> str:
        page = registry.page(request.args.get("after"), most)
        next_page = url_for("admin.list_clients", after=page.after) if page.after else ""
        return render_template("admin/clients.html", clients=page.items, next_page=next_page)

    return fitting(draw, A_PAGE)


@blueprint.get("/apps/<client_id>/")
@admin_only()
def client(_: Caller, client_id: str) -> ResponseReturnValue:
    """One client: what it may do, and what its developer needs."""
    found = registry.get(client_id)
    return render_template(
        "admin/client.html",
        client=found,
        doubts=[DOUBTS[doubt] for doubt in registry.doubts(found)],
        scopes=[(scope, SCOPES[scope]) for scope in Scope if scope in registry.allowed(found)],
        older_for=_older_for(found),
        to_copy=_to_copy(found),
        addresses=_addresses(found),
    )


@blueprint.route("/apps/add/", methods=["GET", "POST"])
@admin_only(recent=True, long_form=True)
def add_client(caller: Caller) -> ResponseReturnValue:
    """Asks for a new client, adds it, and shows its secret once."""
    usual = {"sends_per_hour": registry.SENDS_PER_HOUR, "algorithm": SigningAlgorithm.RS256, "pkce_required": True}
    form, context = forms.Client(data=usual), {"scopes": SCOPES, "left_out": ()}
    if shows_only():
        return render_template(FORM, form=form, **context)
    given = _given(form)
    try:
        registry.check_backchannel(settings(), given["backchannel_logout_uri"])
        added = registry.add(**given, public=form.public.data, actor_id=caller.user_id, key=form_key(caller.user_id))
    except InvalidFields as refusal:
        return refused(refusal, form, FORM, **context)
    registry.make_key(settings(), added)
    if added.public:
        return done(_page_of(added.id), gettext("The app is added. It has no secret: it cannot keep one."))
    return _show_secret(gettext("The app is added"), added, secrets.first(settings(), added))


@blueprint.route("/apps/<client_id>/change/", methods=["GET", "POST"])
@admin_only(recent=True, long_form=True)
def change_client(caller: Caller, client_id: str) -> ResponseReturnValue:
    """Changes those fields of the client that differ."""
    found = registry.get(client_id)
    left_out = {field for field in LISTS if _is_long(getattr(found, field))}
    if found.public:
        left_out |= {"scopes", "pkce_required", "sends_per_hour"}
    before = {field: getattr(found, field) for field in registry.FIELDS}
    before |= {field: before[field].split() for field in (*LISTS, "scopes")}
    written = before | {field: "\n".join(before[field]) for field in LISTS} | {"seen": registry.edition(found)}
    form, context = forms.Client(data=written), {"scopes": SCOPES, "left_out": left_out, "client": found}
    if shows_only():
        return render_template(FORM, form=form, **context)
    changed = {field: value for field, value in _given(form).items() if field not in left_out and value != before[field]}
    if not changed:
        return done(_page_of(client_id), gettext("Nothing was changed."))
    try:
        registry.check_backchannel(settings(), changed.get("backchannel_logout_uri"))
        registry.change(client_id, actor_id=caller.user_id, seen=form.seen.data or "", **changed)
    except InvalidFields as refusal:
        if "seen" in refusal.errors:
            form.seen.data = registry.edition(found)
        return refused(refusal, form, FORM, **context)
    registry.make_key(settings(), registry.get(client_id))
    sentences = [gettext("The app is changed.")]
    if changed.get("first_party") is False:
        sentences.append(gettext("Everyone is signed out of it: they were not asked what it may know."))
    return done(_page_of(client_id), " ".join(sentences))


@blueprint.route("/apps/<client_id>/rotate/", methods=["GET", "POST"])
@admin_only(recent=True)
def rotate_client(caller: Caller, client_id: str) -> ResponseReturnValue:
    """Asks, then makes a new secret and shows it once."""
    found = registry.get(client_id)
    if found.public:
        return refuse(_page_of(client_id), gettext(secrets.NO_SECRET))
    if shows_only():
        return _ask(ROTATE, found, lambda: None, seen=found.generation)
    try:
        seen, key = request.form.get("seen", -1, type=int), form_key(caller.user_id)
        secret = secrets.rotate(settings(), client_id, actor_id=caller.user_id, generation=seen, key=key)
    except NotAllowed as refusal:
        return refuse(_page_of(client_id), say(refusal))
    return _show_secret(gettext("The app has a new secret"), registry.get(client_id), secret)


@blueprint.route("/apps/<client_id>/disable/", methods=["GET", "POST"])
@admin_only(recent=True)
def disable_client(caller: Caller, client_id: str) -> ResponseReturnValue:
    """Asks, then disables the client."""
    found = registry.get(client_id)
    if found.disabled_at:
        return done(_page_of(client_id), gettext("The app is disabled already."))
    return _ask(DISABLE, found, lambda: registry.disable(client_id, actor_id=caller.user_id))


@blueprint.route("/apps/<client_id>/enable/", methods=["GET", "POST"])
@admin_only(recent=True)
def enable_client(caller: Caller, client_id: str) -> ResponseReturnValue:
    """Asks, then enables the client."""
    found = registry.get(client_id)
    if not found.disabled_at:
        return done(_page_of(client_id), gettext("The app is enabled already."))
    return _ask(ENABLE, found, lambda: registry.enable(client_id, actor_id=caller.user_id))


@blueprint.route("/apps/<client_id>/remove/", methods=["GET", "POST"])
@admin_only(recent=True)
def remove_client(caller: Caller, client_id: str) -> ResponseReturnValue:
    """Asks, then removes the client."""
    back = _page_of(client_id) if shows_only() else url_for("admin.list_clients")
    return _ask(REMOVE, registry.get(client_id), lambda: registry.remove(client_id, actor_id=caller.user_id), back)


@blueprint.route("/apps/<client_id>/check/", methods=["GET", "POST"])
@admin_only()
def check_client(_: Caller, client_id: str) -> ResponseReturnValue:
    """Explains what is checked; when the form is sent, checks the client as `doctor` does."""
    found = registry.get(client_id)
    if found.disabled_at:
        return refuse(_page_of(client_id), gettext("The app is disabled, so there is nothing to check."))
    if shows_only():
        return render_template(doctor.TEMPLATE, findings=None, client=found)
    return doctor.show(doctor_of_clients.examine(settings(), client_id=client_id), client=found)


@blueprint.get("/apps/provider/")
@admin_only()
def provider(_: Caller) -> ResponseReturnValue:
    """What apps need to know of Hammer as a provider, and the keys of its id tokens."""
    trusted = sorted(home.trusted(keys.every(settings(), Purpose.ID)), key=lambda each: each[0].algorithm)
    return render_template("admin/provider.html", facts=_of_provider(), keys=trusted, now=clock.now())


@blueprint.route("/apps/provider/rotate/", methods=["GET", "POST"])
@admin_only(recent=True)
def rotate_keys(caller: Caller) -> ResponseReturnValue:
    """Asks, then makes a new key for each algorithm of id tokens that has one."""
    form = forms.RotateKeys()

    def act() -> None:
        ahead = AHEAD if form.ahead.data else timedelta(0)
        seen, key = request.form.get("seen", ""), form_key(caller.user_id)
        keys.rotate(settings(), Purpose.ID, ahead=ahead, actor_id=caller.user_id, seen=seen, key=key)

    seen = keys.newest(keys.every(settings(), Purpose.ID))
    return ask(ROTATE_KEYS, act, url_for("admin.provider"), form=form, seen=seen)


def _ask(action: Action, found: Client, act: Callable[[], object], back: str = "", **more: Any) -> ResponseReturnValue:
    """The page that asks, about a client; see `ask`."""
    facts = [(gettext("App"), found.name)]
    if action is ROTATE and (seconds := _older_for(found)):
        facts.append((gettext("The secret before stops working"), remaining(seconds)))
    undo = url_for(action.undo, client_id=found.id) if action.undo else ""
    return ask(action, act, back or _page_of(found.id), facts=facts, undo=undo, **more)


def _show_secret(title: str, found: Client, secret: str) -> ResponseReturnValue:
    what = [gettext("Keep it where no browser and no telephone can read it.")]
    if seconds := _older_for(found):
        what.append(gettext("The secret before stops working %(wait)s.", wait=remaining(seconds)))
    return show_once(title, [(gettext("Secret"), secret)], _page_of(found.id), what=what, facts=_to_copy(found))


def _older_for(found: Client) -> int:
    """Seconds for which the secret before the newest is still valid; 0 if it is not."""
    until = secrets.older_until(found)
    return clock.seconds_until(until, clock.now()) if until else 0


def _to_copy(found: Client) -> list[tuple[str, object]]:
    """What its developer copies into its settings, besides the secret and the redirect URIs."""
    token = [(gettext("Address for tokens"), code(f"{settings().public_url}/oauth/token"))]
    more = _of_provider() if found.redirect_uris else token if found.scopes else []
    return [(gettext("Client id"), code(found.id)), *more]


def _of_provider() -> list[tuple[str, object]]:
    issuer = settings().public_url
    return [(gettext("Issuer"), code(issuer)), (gettext("Discovery"), code(f"{issuer}{doctor_of_clients.DESCRIPTION}"))]


def _addresses(found: Client) -> list[tuple[str, str | Markup]]:
    """Its addresses in pairs of a name and what the page shows."""
    named = [
        (gettext("Redirect URIs"), found.redirect_uris),
        (gettext("Redirect URIs after signing out"), found.post_logout_redirect_uris),
        (gettext("Address for logout notices"), found.backchannel_logout_uri or ""),
        (gettext("Origins"), found.origins),
    ]
    return [(name, _written(stored)) for name, stored in named]


def _written(stored: str) -> str | Markup:
    """Addresses under each other; how many, where they are too long for a page."""
    each = stored.split()
    if not _is_long(stored):
        return Markup("<br>").join(map(code, each))
    many = ngettext("%(num)d address, too long for this page.", "%(num)d addresses, too long for this page.", len(each))
    return Markup("{} {}").format(many, code("flask --app wsgi clients show"))


def _is_long(stored: str) -> bool:
    return len(escape(stored)) > LONGEST_SHOWN


def _given(form: forms.Client) -> dict[str, Any]:
    """What was typed, as the rules take it."""
    typed_limit = str(form.sends_per_hour.data).strip()
    return {
        "name": (form.name.data or "").strip(),
        "scopes": form.scopes.data or [],
        **{field: (form[field].data or "").split() for field in LISTS},
        "sends_per_hour": int(typed_limit) if re.fullmatch(r"[0-9]{1,7}", typed_limit) else -1,
        "backchannel_logout_uri": (form.backchannel_logout_uri.data or "").strip() or None,
        "algorithm": form.algorithm.data,
        "first_party": form.first_party.data,
        "pkce_required": form.pkce_required.data,
    }


def _page_of(client_id: str) -> str:
    return url_for("admin.client", client_id=client_id)
