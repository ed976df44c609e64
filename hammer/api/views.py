"""The calls of the JSON API. Each checks who is calling, calls one verb and answers."""

from dataclasses import asdict, replace
from typing import Any, Final

from flask.typing import ResponseReturnValue

from config import FULL, MASKED, Settings
from hammer.api import schemas as s
from hammer.api.blueprint import (
    LIMITS,
    allows,
    any_query,
    blueprint,
    not_json,
    open_to_clients,
    refuses,
    repeatable,
    signed_in,
    takes,
    takes_query,
    well_known,
)
from hammer.api.paging import paged
from hammer.clients.registry import ClientCaller
from hammer.db.pagination import Page
from hammer.invites import activation
from hammer.login import by_code, verifications
from hammer.models import Scope, SessionKind
from hammer.parsing import phones
from hammer.quotas import addresses
from hammer.quotas.idempotency import Key
from hammer.refusals import (
    N_,
    AlreadyActivated,
    InvalidFields,
    InviteLoop,
    NotAllowed,
    NotFound,
    NotSignedIn,
    OwnInvite,
    RegionNotServed,
    TelephoneNumberTaken,
    TooManyRequests,
    UnknownInvite,
    UsernameTaken,
    WrongCode,
)
from hammer.sessions import devices, sessions
from hammer.sessions.sessions import Caller
from hammer.sms import outbox
from hammer.users import accounts, exports, people, search
from hammer.web import languages, request_limits, tokens
from hammer.web.access import public
from hammer.web.settings import settings
from hammer.web.tokens import bearer

__all__ = ["TAGS", "blueprint", "well_known"]

TAGS = {
    "auth": "Login with a number, tokens, and the devices that are signed in.",
    "users": "The caller’s own user, all users for staff, and invites.",
    "texts": "For staff: the state of text messages.",
    "webhooks": "A feed of events, and the endpoints that events are posted to.",
    "posts": "What is posted to the servers of apps when something happened.",
}
CLIENTS_STATE_ADDRESSES: Final = N_("Only a client with the scope codes:send can state the address or the device of its user.")
STAFF_WRITE_METADATA: Final = N_("Metadata are written only by staff and by clients with the scope users:write.")
NOT_AN_ADDRESS: Final = N_("This is not an IP address.")
KEYS_LIVE_SECONDS: Final = 300
"""How long other services can cache the published keys."""
_CACHED = {"Cache-Control": {"schema": {"type": "string"}, "description": f"`public, max-age={KEYS_LIVE_SECONDS}`"}}


@blueprint.post("/auth/signup/", tags=["auth"])
@open_to_clients(Scope.CODES_SEND)
@refuses(InvalidFields, RegionNotServed, TooManyRequests)
@takes(s.SignupIn)
@repeatable
@blueprint.response(200, s.VerificationOut, headers=LIMITS)
def signup(body: dict[str, str], key: Key | None) -> ResponseReturnValue:
    """Text a code to a number

    The answer is the same for known and unknown numbers.
    """
    asker, invite_code = _asker(body), body.get("invite_code")
    return _code_sent(by_code.send_code(settings(), body["telephone_number"], asker, invite_code=invite_code, key=key))


@blueprint.post("/auth/resend/", tags=["auth"])
@open_to_clients(Scope.CODES_SEND)
@refuses(NotFound, TooManyRequests)
@takes(s.ResendIn)
@repeatable
@blueprint.response(200, s.VerificationOut, headers=LIMITS)
def resend_code(body: dict[str, str], key: Key | None) -> ResponseReturnValue:
    """Text the same code again

    The expiry and the guesses left stay the same.
    """
    return _code_sent(by_code.resend_code(settings(), body["verification_id"], _asker(body), key=key))


@blueprint.post("/auth/code/", tags=["auth"])
@open_to_clients(Scope.CODES_SEND)
@refuses(WrongCode, NotAllowed, InvalidFields, RegionNotServed)
@takes(s.CodeIn)
@repeatable
@blueprint.response(200, s.SignedInOut)
def confirm_code(body: dict[str, str], key: Key | None) -> dict[str, Any]:
    """Exchange a code for a session

    The first login with a number creates the user and their invite code.
    """
    verification_id = body.get("verification_id")
    if verification_id is None:
        verification_id = verifications.meant_in_demo(settings(), body["code"], body.get("telephone_number"))
    login = by_code.confirm_code(
        settings(),
        verification_id,
        body["code"],
        kind=SessionKind.PROGRAM,
        device=tokens.device(body.get("end_user_agent")),
        address=_end_user_address(body) or request_limits.address(),
        key=key,
    )
    pair = tokens.pair(login.session)
    return pair | {
        "token": pair["access_token"],
        "code": login.user.invite_code,
        "invite_code": login.user.invite_code,
        "created": login.created,
        "device_token": devices.token(settings(), login.device),
    }


@blueprint.post("/auth/refresh/", tags=["auth"])
@public
@refuses(NotSignedIn)
@takes(s.RefreshIn)
@repeatable
@blueprint.response(200, s.PairOut)
def refresh(body: dict[str, str], key: Key | None) -> dict[str, Any]:
    """Exchange a refresh token for a new pair

    The old refresh token is spent. Sending it a second time ends the session, with one exception, for lost answers: within 30
    seconds, and until a token of the first answer is used, the same new refresh token is returned again.
    """
    return tokens.pair(sessions.refresh(settings(), body["refresh_token"], key=key))


@blueprint.post("/auth/logout/", tags=["auth"])
@signed_in
@not_json
@blueprint.response(204)
def logout() -> None:
    """End this session

    Its tokens stop working at once. The device stays known: its `device_token` still works at the next login.
    """
    me = bearer()
    sessions.sign_out(me.user_id, me.session_id)


@blueprint.get("/auth/sessions/", tags=["auth"])
@signed_in
@blueprint.response(200, s.SessionOut(many=True))
def list_sessions() -> list[dict[str, Any]]:
    """The caller's signed-in devices, newest first"""
    me = bearer()
    return [asdict(device) | {"current": device.id == me.session_id} for device in sessions.devices(me.user_id)]


@blueprint.delete("/auth/sessions/", tags=["auth"])
@signed_in
@blueprint.response(204)
def end_other_sessions() -> None:
    """End all of the caller's sessions except this one

    All other devices are forgotten: of the `device_token`s, only the one of this login still works.
    """
    me = bearer()
    sessions.end_others(me.user_id, me.session_id)


@blueprint.delete("/auth/sessions/<session_id>/", tags=["auth"])
@signed_in
@refuses(NotFound)
@blueprint.response(204)
def end_session(session_id: str) -> None:
    """End one of the caller's sessions

    Its device is forgotten: the `device_token` of that login stops working.
    """
    me = bearer()
    sessions.end(me.user_id, session_id, asked_in=me.session_id)


@well_known.get("/jwks.json", tags=["auth"])
@public
@any_query
@well_known.response(200, s.KeysOut, headers=_CACHED)
def list_keys() -> ResponseReturnValue:
    """The keys that access tokens and id tokens are signed with

    For services that verify access tokens themselves: `alg` is `EdDSA`, `typ` is `at+jwt`, `iss` and `aud` are the address of this
    service. Fetch the keys again when a token names an unknown one. A signature does not show whether the session has ended since;
    only `GET /users/me/` does. The keys of other algorithms sign id tokens only.
    """
    trusted = tokens.ring().published() + tokens.id_token_keys().published()
    return {"keys": [key.published for key in trusted]}, {"Cache-Control": f"public, max-age={KEYS_LIVE_SECONDS}"}


@blueprint.get("/users/", tags=["users"])
@allows(Scope.USERS_READ)
@refuses(InvalidFields)
@takes_query(s.UsersIn)
@blueprint.response(200, s.UserOut(many=True), headers=s.NEXT_PAGE)
def list_users(query: dict[str, Any]) -> ResponseReturnValue:
    """Users, in the order in which they joined; callers who are not staff see only themselves"""
    me = tokens.caller()
    if isinstance(me, Caller) and not me.is_staff:
        return [people.profile(settings(), me.user_id)]
    search.count_number(settings(), query.get("q", ""), _actor_id())
    page = people.everyone(settings(), **query, by_part_of_number=_sees_numbers())
    return paged(Page([_shown(profile) for profile in page.items], page.after), query)


@blueprint.post("/users/", tags=["users"])
@allows(Scope.USERS_WRITE)
@refuses(RegionNotServed, TelephoneNumberTaken, UsernameTaken)
@tokens.staff_only
@takes(s.UserIn)
@repeatable
@blueprint.response(201, s.UserOut)
def create_user(body: dict[str, Any], key: Key | None) -> people.Profile:
    """Create a user (staff and clients only)"""
    number, metadata = body.pop("telephone_number"), _metadata(body)
    return _profile(accounts.create(settings(), number, body, metadata, actor_id=_actor_id(), key=key))


@blueprint.get("/users/<username>/", tags=["users"])
@allows(Scope.USERS_READ)
@refuses(NotFound)
@blueprint.response(200, s.UserOut)
def show_user(username: str) -> people.Profile:
    """Show a user: the caller, or for staff and clients any user"""
    return _profile(_user_id(username))


@blueprint.route("/users/<username>/", methods=["POST", "PATCH"], tags=["users"])
@allows(Scope.USERS_WRITE)
@refuses(NotFound, UsernameTaken)
@takes(s.UserChangeIn)
@blueprint.response(200, s.UserOut)
def update_user(body: dict[str, Any], username: str) -> people.Profile:
    """Change the names that are sent, and the metadata if they are sent

    Metadata are replaced as a whole, and written by staff and clients only.
    """
    user_id, metadata = _user_id(username), _metadata(body)
    accounts.change(user_id, body, metadata, actor_id=_actor_id(), not_staff=_is_client())
    return _profile(user_id)


@blueprint.put("/users/<username>/", tags=["users"])
@allows(Scope.USERS_WRITE)
@refuses(NotFound, UsernameTaken)
@takes(s.UserChangeIn)
@blueprint.response(200, s.UserOut)
def replace_user(body: dict[str, Any], username: str) -> people.Profile:
    """Replace all three names; a name that is not sent becomes empty

    Metadata that are not sent stay. They are replaced as a whole, and written by staff and clients only.
    """
    user_id, metadata = _user_id(username), _metadata(body)
    names = {"username": "", "first_name": "", "last_name": ""} | body
    accounts.change(user_id, names, metadata, actor_id=_actor_id(), not_staff=_is_client())
    return _profile(user_id)


@blueprint.delete("/users/<username>/", tags=["users"])
@allows(Scope.USERS_WRITE)
@refuses(NotFound)
@blueprint.response(204)
def delete_user(username: str) -> None:
    """Delete a user

    Personal data is deleted for ever; invites stay as anonymous counts. Callers can delete themselves only within five minutes
    after a login with a code; later the answer is `not-allowed`.
    """
    me = tokens.caller()
    session_id = me.session_id if isinstance(me, Caller) else None
    accounts.delete(settings(), _user_id(username), actor_id=_actor_id(), session_id=session_id, not_staff=_is_client())


@blueprint.post("/users/<username>/block/", tags=["users"])
@allows(Scope.USERS_WRITE)
@refuses(NotFound)
@not_json
@blueprint.response(200, s.UserOut)
def block_user(username: str) -> people.Profile:
    """Block a user (staff and clients only)

    Their sessions end at once, their devices are forgotten, and they cannot sign in. Callers who name themselves get
    `not-allowed`.
    """
    return _set_blocked(username, True)


@blueprint.post("/users/<username>/unblock/", tags=["users"])
@allows(Scope.USERS_WRITE)
@refuses(NotFound)
@not_json
@blueprint.response(200, s.UserOut)
def unblock_user(username: str) -> people.Profile:
    """Let a blocked user sign in again (staff and clients only)"""
    return _set_blocked(username, False)


@blueprint.post("/users/<username>/invite/", tags=["users"])
@signed_in
@refuses(NotAllowed, NotFound, UnknownInvite, OwnInvite, InviteLoop, AlreadyActivated, TooManyRequests)
@takes(s.InviteIn)
@repeatable
@blueprint.response(200, s.UserOut)
def activate_invite_code(body: dict[str, str], username: str, key: Key | None) -> people.Profile:
    """Activate another user's invite code; possible once

    The owner of the code will see the caller's number: inform people before. Sending the same code again changes nothing.
    """
    me = bearer()
    if _user_id(username) != me.user_id:
        raise NotAllowed
    activation.activate(settings(), me.user_id, body["invite_code"], address=request_limits.address(), key=key)
    return people.profile(settings(), me.user_id)


@blueprint.get("/users/<username>/invitees/", tags=["users"])
@allows(Scope.INVITES_READ)
@refuses(InvalidFields, NotFound)
@takes_query(s.PageIn)
@blueprint.response(200, s.InviteeOut(many=True), headers=s.NEXT_PAGE)
def list_invitees(query: dict[str, Any], username: str) -> ResponseReturnValue:
    """Users who activated this user's code, newest first"""
    user_id = _user_id(username)
    return paged(activation.invitees(_as_shown(user_id), user_id, **query), query, username=username)


@blueprint.post("/users/me/telephone_number/", tags=["users"])
@signed_in
@refuses(NotAllowed, InvalidFields, RegionNotServed, TooManyRequests)
@takes(s.NumberChangeIn)
@repeatable
@blueprint.response(200, s.VerificationOut, headers=LIMITS)
def request_number_change(body: dict[str, str], key: Key | None) -> ResponseReturnValue:
    """Text a code to the caller's new number

    Possible within five minutes after a login with a code; later the answer is `not-allowed`. The answer is the same for known and
    unknown numbers.
    """
    me = bearer()
    return _code_sent(accounts.ask_number(settings(), me.user_id, me.session_id, body["telephone_number"], _asker(body), key=key))


@blueprint.post("/users/me/telephone_number/code/", tags=["users"])
@signed_in
@refuses(WrongCode, InvalidFields, TelephoneNumberTaken)
@takes(s.NumberCodeIn)
@repeatable
@blueprint.response(200, s.UserOut)
def confirm_number_change(body: dict[str, Any], key: Key | None) -> people.Profile:
    """Confirm the code and change the number

    The old number gets a text message about the change.
    """
    me = bearer()
    others = body.pop("end_other_sessions", False)
    accounts.change_number(settings(), me.user_id, me.session_id, **body, end_other_sessions=others, key=key)
    return people.profile(settings(), me.user_id)


@blueprint.get("/users/me/export/", tags=["users"])
@signed_in
@blueprint.response(200, s.ExportOut)
def export_user() -> dict[str, Any]:
    """Everything that is stored about the caller"""
    return exports.export(settings(), bearer().user_id)


@blueprint.get("/texts/", tags=["texts"])
@signed_in
@refuses(NotAllowed, InvalidFields)
@tokens.staff_only
@takes_query(s.PageIn)
@blueprint.response(200, s.TextOut(many=True), headers=s.NEXT_PAGE)
def list_texts(query: dict[str, Any]) -> ResponseReturnValue:
    """Text messages with their states, newest first (staff only)

    Texts are kept for {texts_kept_hours} hours after their code expired or was used.
    """
    return paged(outbox.newest(settings(), **query), query)


@blueprint.post("/texts/search/", tags=["texts"])
@signed_in
@refuses(NotAllowed, TooManyRequests)
@tokens.staff_only
@takes(s.TextsOfNumberIn)
@blueprint.response(200, s.TextOut(many=True))
def search_texts(body: dict[str, Any]) -> list[outbox.MessageStatus]:
    """Text messages with codes for one number, newest first (staff only)

    Texts are kept for {texts_kept_hours} hours after their code expired or was used. By POST, since the address of a request stands
    in logs.
    """
    numbers = phones.meant(settings(), body["telephone_number"])
    if not numbers:
        raise InvalidFields({"telephone_number": [phones.INVALID]})
    search.count_number(settings(), body["telephone_number"], _actor_id())
    return outbox.newest(settings(), numbers=numbers).items


def _set_blocked(username: str, blocked: bool) -> people.Profile:
    user_id = _user_id(username)
    accounts.set_blocked(user_id, blocked, actor_id=_actor_id(), not_staff=_is_client())
    return _profile(user_id)


def _metadata(body: dict[str, Any]) -> dict[str, Any] | None:
    """Takes the metadata out of the body; None if it has none. Refuses with `NotAllowed` users who are not staff."""
    me = tokens.caller()
    if "metadata" in body and isinstance(me, Caller) and not me.is_staff:
        raise NotAllowed(STAFF_WRITE_METADATA)
    metadata: dict[str, Any] | None = body.pop("metadata", None)
    return metadata


def _user_id(username: str) -> str:
    """The id of the user in the path. Refuses with `NotFound` if the user does not exist, or the caller may not see them."""
    me = tokens.caller()
    if isinstance(me, ClientCaller):
        return people.find(settings(), username)
    if username.lower() == "me":
        return me.user_id
    user_id = people.find(settings(), username, actor_id=me.user_id if me.is_staff else None)
    if user_id != me.user_id and not me.is_staff:
        raise NotFound
    return user_id


def _is_client() -> bool:
    """Whether a client calls, which may not change staff."""
    return isinstance(tokens.caller(), ClientCaller)


def _actor_id() -> str | None:
    """The user who calls; None for a client, whose id events get by themselves."""
    me = tokens.caller()
    return me.user_id if isinstance(me, Caller) else None


def _sees_numbers(user_id: str | None = None) -> bool:
    """Whether the caller is shown whole numbers in the profile of this user, or of all users: people in their own profile, also
    staff, and clients with the scope in every one."""
    me = tokens.caller()
    return me.user_id == user_id if isinstance(me, Caller) else Scope.USERS_NUMBERS in me.scopes


def _as_shown(user_id: str) -> Settings:
    """The settings, with the numbers of this user's invitees masked for a caller who does not see them."""
    ours = settings()
    return ours if _sees_numbers(user_id) or ours.invitee_numbers != FULL else replace(ours, invitee_numbers=MASKED)


def _profile(user_id: str) -> people.Profile:
    return _shown(people.profile(settings(), user_id))


def _shown(profile: people.Profile) -> people.Profile:
    """The profile, with masked numbers for a caller who does not see them."""
    if _sees_numbers(profile.id):
        return profile
    invitees = [phones.masked(number) for number in profile.invite_code_list]
    return replace(profile, telephone_number=phones.masked(profile.telephone_number), invite_code_list=invitees)


def _asker(body: dict[str, str]) -> verifications.Asker:
    """Who asks for a code: the caller, or the person for whom a client calls."""
    stated = _end_user_address(body)
    return verifications.Asker(
        stated or request_limits.address(),
        languages.chosen(),
        body.get("device_token"),
        client=tokens.calling_client(),
        device=tokens.device(body["end_user_agent"]) if "end_user_agent" in body else None,
    )


def _end_user_address(body: dict[str, str]) -> str | None:
    """The address that a client states for its user, as limits count it; None if it states none. No other caller may state one."""
    if body.keys() & {"end_user_address", "end_user_agent"} and tokens.calling_client() is None:
        raise NotAllowed(CLIENTS_STATE_ADDRESSES)
    if "end_user_address" not in body:
        return None
    counted = addresses.counted(body["end_user_address"].strip())
    if not counted:
        raise InvalidFields({"end_user_address": [NOT_AN_ADDRESS]})
    return counted


def _code_sent(sent: verifications.CodeSent) -> ResponseReturnValue:
    verification = sent.verification
    answer = {
        "verification_id": verification.id,
        "telephone_number": verification.telephone_number,
        "code_length": verification.code_length,
        "expires_in": sent.expires_in,
        "resend_in": sent.resend_in,
    }
    code = verifications.shown_in_demo(settings(), verification)
    shown = {"demo_code": code} if code else {}
    return answer | shown, request_limits.headers(settings(), sent.quotas)
