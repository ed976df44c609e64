"""The pages on which people sign in to an app, and sign out for it (OpenID Connect).

The way back to the app is a page of status 200 that leads on by itself: Chromium applies the `form-action` of our policy to the
whole chain of redirects that a form begins, also of the form that took the one-time code. Only `/oauth/authorize`, to which none of
our forms leads, redirects to apps: it may be called in a hidden frame of an app, in which browsers show no page of ours.
"""

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from flask import Blueprint, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from hammer.clients import registry
from hammer.grants import apps as signed_in_apps
from hammer.grants import authorizations
from hammer.grants.authorizations import Step
from hammer.invites import activation, invite_codes
from hammer.models import Authorization, Client, SignInScope
from hammer.oauth import id_tokens, lazy
from hammer.oauth.id_tokens import Hint
from hammer.outgoing import uris
from hammer.parsing import phones
from hammer.refusals import Conflict, Invalid, NotFound, Refusal, RetryLater
from hammer.sessions import sessions
from hammer.sessions.sessions import Caller
from hammer.users import people
from hammer.web import languages, logs, request_limits, tokens
from hammer.web.access import public
from hammer.web.pages import apps, errors, kept_invites
from hammer.web.pages.filters import explained
from hammer.web.pages.frame import forget_all_but, form_key, frame, go, owner_mark, shows_only
from hammer.web.settings import settings
from hammer.web.statuses import status_of

if TYPE_CHECKING:
    from authlib.oauth2.rfc6749.errors import OAuth2Error

NEEDS: Final = {Step.SIGN_IN: "login_required", Step.PROVE: "login_required", Step.CONSENT: "consent_required"}
"""The error for an app that wants no page to be shown (OpenID Connect Core §3.1.2.6)."""

blueprint = Blueprint("sign_in", __name__)
frame(blueprint)
blueprint.before_request(apps.load)


@blueprint.route("/oauth/authorize", methods=["GET", "POST"])
@public
def authorize() -> ResponseReturnValue:
    """Where apps send people to sign in (RFC 6749 §3.1). Leads on to what is left to do, or straight back to the app."""
    if request.method == "POST":
        return _by_get()
    from authlib.oauth2.rfc6749.errors import OAuth2Error  # noqa: PLC0415  # see `lazy`

    _choose_language()
    try:
        asked, client = lazy.read_request()
    except OAuth2Error as error:
        return _refused(error)
    visitor = tokens.visitor()
    step = authorizations.next_step(asked, client, visitor)
    if visitor is not None and _expects_another(asked, visitor):
        step = Step.SIGN_IN if asked.prompt == "none" else Step.CONSENT
        asked.prompt = asked.prompt or "select_account"
    if asked.prompt == "none" and step is not None:
        logs.refused(NEEDS[step])
        return redirect(_address(asked, error=NEEDS[step]), 303)
    if invite := invite_codes.read_path(request.args.get("invite", "")):
        kept_invites.add(invite)
    if visitor is not None and step is None and (asked.prompt == "none" or _invite_to_ask(visitor) is None):
        authorizations.store(settings(), asked, allowed_in=visitor.session_id)
        return redirect(_address(asked, code=authorizations.code(settings(), asked)), 303)
    try:
        authorizations.store(settings(), asked, address=request_limits.address())
    except RetryLater:
        apps.load_unstored(client, asked.redirect_uri, _address(asked, error="temporarily_unavailable"))
        raise
    apps.remember(asked.id)
    return redirect(f"/oauth/continue?{urlencode({apps.PARAMETER: asked.id})}", 303)


@blueprint.route("/oauth/continue", methods=["GET", "POST"])
@public
def continue_() -> ResponseReturnValue:
    """Whatever is left to do before the person is signed in to the app, and then the way back. Its forms are sent here too."""
    found = apps.current()
    if found is None:
        return _over(None)
    asked, client = found
    caller = tokens.visitor()
    if caller is None:
        return go("auth.phone") if authorizations.is_open(asked) else _over(asked)
    sent = not shows_only() and request.form.get("whose") == owner_mark(caller)
    refusal = _answer_invite(caller, request.form["carried"]) if sent and "carried" in request.form else None
    if refusal is not None:
        logs.refused(refusal.slug)
        return render_template("oauth/invited.html", refusal=explained(refusal)), status_of(type(refusal)), errors.headers(refusal)
    step = authorizations.next_step(asked, client, caller) if authorizations.is_open(asked) else None
    if step is Step.PROVE:
        return render_template("oauth/prove.html", me=people.profile(settings(), caller.user_id))
    if authorizations.is_open(asked) and (invite := _invite_to_ask(caller)):
        seen_as = phones.shown(people.profile(settings(), caller.user_id).telephone_number, settings().invitee_numbers)
        return render_template("oauth/invited.html", code=invite, seen_as=seen_as)
    if step is Step.CONSENT and not (sent and "carried" not in request.form):
        return _ask_consent(asked, client, caller)
    try:
        code = authorizations.approve(settings(), asked.id, caller)
    except NotFound:
        return _over(asked)
    return _back(_address(asked, code=code))


@blueprint.get("/oauth/leave")
@public
def leave() -> ResponseReturnValue:
    """The way back to the app without signing in to it."""
    found = apps.current()
    return _back(_address(found[0], error="access_denied")) if found else _over(None)


@blueprint.post("/oauth/other")
@public
def other() -> ResponseReturnValue:
    """Signs the browser out, so that the person can sign in to the app with another number."""
    caller = tokens.visitor()
    if caller is not None and not shows_only():
        _sign_out(caller)
    return _signed_out_response(go("auth.phone"), apps.KEY, kept_invites.KEY)


@blueprint.route("/oauth/logout", methods=["GET", "POST"])
@public
def logout() -> ResponseReturnValue:
    """Where apps send people to sign out (OpenID Connect RP-Initiated Logout §2).

    At once with an id token that the app got in this very session; otherwise the person is asked, since id tokens stand in logs.
    """
    if request.method == "POST":
        return _by_get()
    _choose_language()
    hint, caller = id_tokens.read_hint(request.args.get("id_token_hint", "")), tokens.visitor()
    way_on, client = _way_on_after_logout(hint)
    answer = redirect(way_on, 303) if way_on else make_response(_signed_out_page(client, ""))
    if caller is None:
        return answer
    if hint is None or client is None or not signed_in_apps.was_opened_in(caller.session_id, hint.session_id, client.id):
        kept = {name: request.args[name] for name in ("client_id", "post_logout_redirect_uri", "state") if name in request.args}
        kept |= {"client_id": client.id} if client else {}  # which the id token may have said alone
        here = partial(errors.this_page, [*kept.items()])
        home = _home_of(client)
        return render_template("oauth/logout.html", signed_out=False, kept=kept, app=_named(client), home=home, here=here)
    _sign_out(caller)
    return _signed_out_response(answer)


@blueprint.post("/oauth/logout/confirm")
@public
def confirm_logout() -> ResponseReturnValue:
    """Signs the person out who was asked."""
    way_on, client = _way_on_after_logout(None)
    caller = tokens.visitor()
    if caller is not None and not shows_only():
        _sign_out(caller)
    return _signed_out_response(make_response(_signed_out_page(client, way_on)))


def _expects_another(asked: Authorization, visitor: Caller) -> bool:
    """Whether the app means another person than the one who is signed in here."""
    hint = id_tokens.read_hint(request.args.get("id_token_hint", ""))
    if hint is not None and hint.user_id != visitor.user_id:
        return True
    return asked.login_hint is not None and people.profile(settings(), visitor.user_id).telephone_number != asked.login_hint


def _by_get() -> ResponseReturnValue:
    """The same request by GET. Our cookies do not come along with a form of an app's page, and do with the GET that follows."""
    return redirect(f"{request.path}?{urlencode(list(request.form.items(multi=True)))}".removesuffix("?"), 303)


def _refused(error: "OAuth2Error") -> ResponseReturnValue:
    """The error, where the app can read it; a page where the app or its address is not known (RFC 6749 §4.1.2.1)."""
    logs.refused(error.error, error.description or "")
    if not error.redirect_uri:
        return render_template("oauth/refused.html", reason=error.description or error.error), 400
    said = {"error": error.error, "error_description": error.description or ""}
    return redirect(_answer_address(error.redirect_uri, said, request.args.get("state") or None), 303)


def _address(asked: Authorization, **said: str) -> str:
    """The app's address with an answer in it."""
    return _answer_address(asked.redirect_uri, said, asked.state)


def _answer_address(uri: str, said: dict[str, str], state: str | None) -> str:
    """`iss` says who answers, so that an app with several providers cannot mix them up (RFC 9207)."""
    answer = {name: value for name, value in said.items() if value}
    return _with_query(uri, answer | ({"state": state} if state is not None else {}) | {"iss": settings().public_url})


def _with_query(uri: str, more: dict[str, str]) -> str:
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(more)}"


def _ask_consent(asked: Authorization, client: Client, caller: Caller) -> ResponseReturnValue:
    scopes = [scope for scope in SignInScope if scope in asked.scopes.split()]
    allowed = authorizations.allowed(caller.user_id, asked.client_id)
    return render_template(
        "oauth/consent.html",
        scopes=scopes,
        new_scopes=[scope for scope in scopes if scope not in allowed],
        asked_once=authorizations.is_asked_once(client, asked),
        me=people.profile(settings(), caller.user_id),
    )


def _back(way_on: str) -> ResponseReturnValue:
    return render_template("oauth/back.html", way_on=way_on)


def _over(asked: Authorization | None) -> ResponseReturnValue:
    """The page for a request that is over, or that another browser made."""
    return render_template("oauth/over.html", way_on=_home(asked.redirect_uri) if asked else ""), 410 if asked else 404


def _home(redirect_uris: str) -> str:
    """Where the app is: the origin of its first address on the web. Empty for an app on the person's own device."""
    found = (uris.split(uri) for uri in redirect_uris.split())
    return next((f"{parts.scheme}://{parts.netloc}/" for parts in found if parts.scheme in ("http", "https")), "")


def _invite_to_ask(caller: Caller) -> str | None:
    """The invite code that came along and can be activated; None when there is nothing to ask."""
    if not kept_invites.all_codes():
        return None
    activated = activation.activated(caller.user_id)
    kept_invites.drop_useless(people.profile(settings(), caller.user_id).invite_code, activated[0] if activated else None)
    return kept_invites.newest()


def _answer_invite(caller: Caller, code: str) -> Refusal | None:
    """Activates the code, or forgets it. Returns why it could not be activated; the sign-in goes on after that, too."""
    kept_invites.drop(code)
    if "activate" not in request.form:
        return None
    key = form_key(caller.session_id)
    try:
        activation.activate(settings(), caller.user_id, code, address=request_limits.address(), key=key)
    except (Invalid, Conflict, RetryLater) as refusal:
        return refusal
    kept_invites.drop_all()
    return None


def _choose_language() -> None:
    """The first of `ui_locales` that is ours, unless the person has chosen one."""
    if languages.COOKIE in request.cookies:
        return
    wanted = (tag.partition("-")[0] for tag in request.values.get("ui_locales", "").split())
    found = next((tag for tag in wanted if tag in languages.LANGUAGES), None)
    if found:
        languages.choose(found)


def _way_on_after_logout(hint: Hint | None) -> tuple[str, Client | None]:
    """Where the app wants the person to be sent, if it registered that address; and the app."""
    client_id = request.values.get("client_id") or (hint.client_id if hint else "")
    client = registry.enabled(client_id)
    if client is None:
        return "", None
    uri, state = request.values.get("post_logout_redirect_uri", ""), request.values.get("state")
    if not uri or uri not in client.post_logout_redirect_uris.split():
        return "", client
    return (_with_query(uri, {"state": state}) if state else uri), client


def _sign_out(caller: Caller) -> None:
    with suppress(NotFound):
        sessions.sign_out(caller.user_id, caller.session_id)


def _signed_out_page(client: Client | None, way_on: str) -> str:
    return render_template("oauth/logout.html", signed_out=True, way_on=way_on, app=_named(client), home=_home_of(client))


def _named(client: Client | None) -> apps.App | None:
    return apps.App(client.name, leave="") if client else None


def _home_of(client: Client | None) -> str:
    # Not `post_logout_redirect_uri`: it may say that the person is signed out, also to the one who stays.
    return _home(client.redirect_uris) if client else ""


def _signed_out_response(response: BaseResponse, *kept: str) -> BaseResponse:
    forget_all_but(*kept)
    tokens.clear_cookie(response)
    return response
