"""Bodies and queries of the JSON API. Types and names of fields are checked here; values are checked by the rules."""

import re
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, pre_load
from marshmallow.validate import Length, Range

from hammer.db.pagination import MOST_PER_PAGE
from hammer.models import CodeState, MessageState
from hammer.refusals import N_, REQUIRED
from hammer.users.names import LONGEST_NAME, NOT_TEXT

UNKNOWN = N_("This field is not known here.")
NOT_A_STRING = N_("This is not a string.")
NOT_A_BOOLEAN = N_("This is neither true nor false.")
NOT_AN_OBJECT = N_("This is not a JSON object.")
NOT_A_LIMIT = N_("Must be a whole number from 1 to 100.")
TOO_LONG = N_("This is too long.")
LONGEST_TEXT = 4096
"""Maximum characters of a string. Most fields have a shorter limit of their own."""

NUMBER = {
    "description": "In any spelling, also with words around it. Without `+` it is read as a number of the service’s region.",
    "example": "+7 929 828-43-01",
    "minLength": 1,
}
E164 = {"description": "E.164.", "example": "+79298284301", "pattern": r"^\+[1-9][0-9]{1,14}$"}
AS_SHOWN = {"example": "+79298284301", "pattern": r"^\+[1-9][0-9·]{1,14}$"}
"""A number that may be masked: one of another user for staff and for clients without `users:numbers`, or by
`HAMMER_INVITEE_NUMBERS`."""
INVITE_CODE = {"example": "Q9UK59", "pattern": "^[A-Z0-9]{6}$"}
TYPED_INVITE = {
    "description": "In any case, with spaces or hyphens, or a whole invite link of this server.",
    "example": "q9u-k59",
}
NEXT_PAGE = {
    "Link": {"schema": {"type": "string"}, "description": 'The address of the next page, if there is one: `<…>; rel="next"`.'}
}
ID = {"minLength": 22, "maxLength": 22, "pattern": "^[A-Za-z0-9_-]+$"}
"""Of users, sessions, verifications, devices, clients and webhook endpoints."""
MOMENT = {"example": "2026-11-23T09:30:00+00:00"}
SESSION_ID = {"description": "The id of a session, from the list of sessions.", "example": "Xq3vH0c8R1yZb5rT8kLwAg"}
ENDPOINT_ID = {"description": "The id of a webhook endpoint.", "example": "Zb5rT8kLwAmVn2oQ7yX0m3"}
IN_PATHS: dict[str, dict[str, Any]] = {
    "username": {
        "description": "`me`, the id of a user, a username, or a telephone number in any spelling.",
        "examples": {
            "oneself": {"value": "me"},
            "by id": {"value": "mVn2oQ7yX0m3Zb5rT8kLwA"},
            "by number": {"value": "+79298284301"},
            "by username": {"value": "ivan"},
        },
    },
    "session_id": SESSION_ID | {"schema": {"type": "string"} | ID},
    "endpoint_id": ENDPOINT_ID | {"schema": {"type": "string"} | ID},
}
"""Descriptions of the parameters in paths."""
TOKEN = {"example": "eyJhbGciOiJFZERTQSIsImtpZCI6ImtQcksiLCJ0eXAiOiJhdCtqd3QifQ.eyJzdWIiOiJtVm4yb1E3In0.c2lnbmF0dXJl"}
REFRESH_TOKEN = {"example": "Xq3vH0c8R1yZb5rT8kLwAg.0.c2lnbmF0dXJlIG9mIHRoZSBzZXNzaW9uIGFuZCBudW0"}
DEVICE = {"description": "A short name of the device.", "example": "Firefox · Android"}
VERIFICATION_ID = ID | {"description": "From the answer to signup.", "example": "mVn2oQ7yX0m3Zb5rT8kLwA"}
CODE = {
    "description": "The digits of the code, in any script. Spaces, hyphens or the whole text message around them are allowed.",
    "example": "1234",
    "minLength": 1,
}
DEVICE_ID = ID | {"description": "The id of a device that signed in before.", "example": "hX3o9t4nTQm0cH2k7J9dVw"}
CLIENT_ID = ID | {
    "description": "The client (an app of the operator’s) that called; null for none.",
    "example": "b5rT8kLwAmVn2oQ7yX0m3Z",
}
SIGN_IN_SCOPES = {"description": "What an app may know, with spaces between the scopes.", "example": "openid profile phone"}
DEVICE_TOKEN = {"example": "hX3o9t4nTQm0cH2k7J9dVw.0.3p0rT9vWk2bQx7YzL1mN8aS5dF6gH4jK0uI3oP9eR2c"}


METADATA = {"example": {"plan": "pro"}, "additionalProperties": True}


class In(Schema):
    """The body of a request. Unknown fields are refused, so that a misspelt name is noticed."""

    class Meta:
        unknown = RAISE

    error_messages = {"unknown": UNKNOWN, "type": NOT_AN_OBJECT}


class Out(Schema):
    """The body of an answer. Fields can be added later: callers ignore fields that they do not know."""

    class Meta:
        unknown = EXCLUDE


def _storable(text: str) -> None:
    """Refuses a NUL character: PostgreSQL can neither store it nor look it up."""
    if "\x00" in text:
        raise ValidationError(NOT_TEXT)


def text(metadata: dict[str, Any], *, required: bool = True) -> fields.String:
    """A string field for what a person typed."""
    messages: dict[str, str | list[Any] | dict[Any, Any]] = {
        "required": REQUIRED,
        "null": NOT_A_STRING,
        "invalid": NOT_A_STRING,
        "invalid_utf8": NOT_A_STRING,
    }
    return fields.String(
        required=required,
        validate=[Length(max=LONGEST_TEXT, error=TOO_LONG), _storable],
        error_messages=messages,
        metadata=metadata,
    )


class NumberIn(In):
    """A telephone number. Older callers name the field `username` or `phone`."""

    @pre_load
    def read_other_names(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict) or "telephone_number" in data:
            return data
        other = next((name for name in ("username", "phone") if name in data), None)
        return data if other is None else {("telephone_number" if name == other else name): v for name, v in data.items()}


class EndUserIn(In):
    """What a client with `codes:send` states about the person it calls for."""

    end_user_address = text(
        {
            "description": "For clients with `codes:send`: the IP address of the person. Limits by address then count this one.",
            "example": "203.0.113.7",
        },
        required=False,
    )
    end_user_agent = text(
        {
            "description": "For clients with `codes:send`: the `User-Agent` of the person, for the list of devices.",
            "example": "Mozilla/5.0 (Android 16; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0",
        },
        required=False,
    )


class SignupIn(EndUserIn, NumberIn):
    telephone_number = text(NUMBER)
    invite_code = text(
        TYPED_INVITE
        | {"description": "Another user’s code, activated at the first login. If that is not possible, the login succeeds anyway."},
        required=False,
    )
    device_token = text(
        DEVICE_TOKEN
        | {"description": "From the latest login on this device. With it, strangers cannot use up the texts and guesses."},
        required=False,
    )


class ResendIn(EndUserIn):
    verification_id = text(VERIFICATION_ID)


class CodeIn(EndUserIn, NumberIn):
    verification_id = text(
        VERIFICATION_ID | {"description": "From the answer to signup. Can be left out only in demo mode."}, required=False
    )
    telephone_number = text(NUMBER | {"description": "In demo mode, instead of `verification_id`."}, required=False)
    code = text(CODE)


class RefreshIn(In):
    refresh_token = text({"description": "The newest refresh token. Each works once.", "minLength": 1} | REFRESH_TOKEN)


class _Flag(fields.Boolean):
    """`true` or `false`; strings and numbers are refused."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class NumberChangeIn(NumberIn):
    telephone_number = text(NUMBER)


class NumberCodeIn(In):
    verification_id = text(VERIFICATION_ID)
    code = text(CODE)
    end_other_sessions = _Flag(
        error_messages={"invalid": NOT_A_BOOLEAN, "null": NOT_A_BOOLEAN},
        metadata={"description": "Whether all other devices are signed out.", "example": True},
    )


_NOT_ME = "[A-Za-z]|[A-LN-Za-ln-z][A-Za-z0-9_.-]|[Mm][A-DF-Za-df-z0-9_.-]|[A-Za-z][A-Za-z0-9_.-]{2,29}"
"""`USERNAME` without `me` in any case, for every engine of regular expressions: some have no lookahead."""


class UserChangeIn(In):
    username = text(
        {
            "description": "Empty for no username. Unique, ignoring case.",
            "example": "ivan",
            "maxLength": 30,
            "pattern": f"^({_NOT_ME})?$",
        },
        required=False,
    )
    first_name = text({"example": "Иван", "maxLength": LONGEST_NAME}, required=False)
    last_name = text({"example": "Петров", "maxLength": LONGEST_NAME}, required=False)
    metadata = fields.Dict(
        keys=fields.String(),
        error_messages={"invalid": NOT_AN_OBJECT, "null": NOT_AN_OBJECT},
        metadata=METADATA
        | {
            "description": "For staff and for clients with `users:write`; others get `not-allowed`. At most 4096 bytes of compact "
            "JSON in UTF-8, nested at most 8 levels deep. Replaces the whole object; what is stored stays if it is not sent."
        },
    )


class UserIn(UserChangeIn):
    telephone_number = text(NUMBER)


class InviteIn(In):
    invite_code = text(TYPED_INVITE | {"minLength": 1})


class _Count(fields.Integer):
    """A whole number in a query: only ASCII digits."""

    def _validated(self, value: Any) -> int:
        if not re.fullmatch("[0-9]{1,9}", str(value)):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class PageIn(Schema):
    limit = _Count(
        load_default=MOST_PER_PAGE,
        validate=Range(1, MOST_PER_PAGE, error=NOT_A_LIMIT),
        error_messages={"invalid": NOT_A_LIMIT, "null": NOT_A_LIMIT, "too_large": NOT_A_LIMIT},
        metadata={"description": "Maximum number of items in one answer."},
    )
    after = fields.String(metadata={"description": "Where the page starts: from the `Link` header of the previous page."})


class UsersIn(PageIn):
    q = fields.String(
        load_default="",
        validate=_storable,
        metadata={
            "description": "For staff and clients: search by name, username, invite code or whole number; with `users:numbers` "
            "by parts of numbers too."
        },
    )


class VerificationOut(Out):
    verification_id = fields.String(required=True, metadata=VERIFICATION_ID)
    telephone_number = fields.String(required=True, metadata=E164)
    code_length = fields.Integer(
        required=True, metadata={"description": "Digits in the code.", "example": 4, "minimum": 4, "maximum": 8}
    )
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds until the code expires.", "example": 300})
    resend_in = fields.Integer(
        required=True, metadata={"description": "Seconds until another text can be requested.", "example": 60}
    )
    demo_code = fields.String(
        data_key="Ваш код активации", metadata={"description": "The code itself; only in demo mode.", "example": "1234"}
    )


class PairOut(Out):
    access_token = fields.String(required=True, metadata={"description": "For the `Authorization: Bearer` header."} | TOKEN)
    refresh_token = fields.String(required=True, metadata={"description": "For one exchange for a new pair."} | REFRESH_TOKEN)
    token_type = fields.String(required=True, metadata={"example": "Bearer"})
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds until the access token expires.", "example": 900})


class SignedInOut(PairOut):
    token = fields.String(required=True, data_key="Ваш токен", metadata={"description": "The same as `access_token`."} | TOKEN)
    code = fields.String(
        required=True, data_key="Ваш инвайт код", metadata={"description": "The same as `invite_code`."} | INVITE_CODE
    )
    invite_code = fields.String(
        required=True, metadata={"description": "The caller’s own code, for inviting others."} | INVITE_CODE
    )
    created = fields.Boolean(required=True, metadata={"description": "Whether this was the number’s first login.", "example": True})
    device_token = fields.String(
        required=True,
        metadata=DEVICE_TOKEN
        | {"description": "Send it with the next signup on this device. Store it instead of the previous one."},
    )


class DeviceOut(Out):
    id = fields.String(required=True, metadata=SESSION_ID | ID)
    device = fields.String(required=True, metadata=DEVICE)
    created_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    refreshed_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    seen_at = fields.AwareDateTime(required=True, metadata=MOMENT | {"description": "When it was last used, to within an hour."})
    expires_at = fields.AwareDateTime(required=True, metadata=MOMENT)


class SessionOut(DeviceOut):
    client = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The name of the app through which it signed in; null for none.", "example": "Acme for Android"},
    )
    current = fields.Boolean(
        required=True, metadata={"description": "Whether this request was made with this session.", "example": True}
    )


class KeyOut(Out):
    """A JSON Web Key (RFC 7517, RFC 8037). What there is besides `kty`, `kid`, `use` and `alg` depends on `alg`."""

    kty = fields.String(required=True, metadata={"example": "OKP"})
    crv = fields.String(metadata={"description": "For `EdDSA` and `ES256`.", "example": "Ed25519"})
    x = fields.String(metadata={"description": "For `EdDSA` the public key, for `ES256` a part of it."})
    y = fields.String(metadata={"description": "For `ES256`."})
    n = fields.String(metadata={"description": "For `RS256`."})
    e = fields.String(metadata={"description": "For `RS256`."})
    kid = fields.String(required=True, metadata={"description": "The thumbprint of the key (RFC 7638)."})
    use = fields.String(required=True, metadata={"example": "sig"})
    alg = fields.String(required=True, metadata={"description": "`EdDSA`, `ES256` or `RS256`.", "example": "EdDSA"})


class KeysOut(Out):
    keys = fields.List(
        fields.Nested(KeyOut),
        required=True,
        metadata={
            "example": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                    "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                    "use": "sig",
                    "alg": "EdDSA",
                }
            ]
        },
    )


class UserOut(Out):
    id = fields.String(
        required=True,
        metadata=ID | {"description": "The `sub` of the user’s tokens. It never changes.", "example": "mVn2oQ7yX0m3Zb5rT8kLwA"},
    )
    username = fields.String(required=True, metadata={"description": "Empty until chosen.", "example": "ivan"})
    first_name = fields.String(required=True, metadata={"example": "Иван"})
    last_name = fields.String(required=True, metadata={"example": "Петров"})
    telephone_number = fields.String(
        required=True,
        metadata=AS_SHOWN
        | {"description": "E.164. Masked, unless it is the caller’s own or the caller is a client with `users:numbers`."},
    )
    invite_code = fields.String(required=True, metadata=INVITE_CODE)
    invite_code_list = fields.List(
        fields.String(metadata=AS_SHOWN),
        required=True,
        metadata={
            "description": "Numbers of the newest 100 users who activated this user’s code. Masked as `telephone_number` is; the "
            "service can also mask or hide them."
        },
    )
    activated_invite_code = fields.String(required=True, allow_none=True, metadata=INVITE_CODE)
    invite_count = fields.Integer(
        required=True, metadata={"description": "How many users activated this user’s code.", "example": 1}
    )
    date_joined = fields.AwareDateTime(required=True, metadata=MOMENT)
    blocked_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata=MOMENT | {"description": "Since when the user cannot sign in; null if they can."}
    )
    metadata = fields.Dict(
        keys=fields.String(),
        required=True,
        metadata=METADATA | {"description": "What staff and the operator’s apps wrote about the user."},
    )


class InviteeOut(Out):
    telephone_number = fields.String(
        required=True,
        allow_none=True,
        metadata=AS_SHOWN
        | {
            "description": "Null after the user was deleted. Masked for staff and for clients without `users:numbers`, unless the "
            "list is the caller’s own; the service can also mask or hide it."
        },
    )
    activated_at = fields.AwareDateTime(required=True, metadata=MOMENT)


class ExportedProfileOut(UserOut):
    is_staff = fields.Boolean(required=True, metadata={"example": False})


class ExportedSessionOut(DeviceOut):
    kind = fields.String(required=True, metadata={"description": "`browser`, `program`, or `app`.", "example": "program"})
    device_id = fields.String(
        required=True, allow_none=True, metadata={"description": "The id in `devices`, if the device is still known."} | DEVICE_ID
    )
    client_id = fields.String(required=True, allow_none=True, metadata=CLIENT_ID)
    parent_id = fields.String(
        required=True,
        allow_none=True,
        metadata=SESSION_ID
        | ID
        | {"description": "For an app: the id of the session of the browser, in which the user signed in to it."},
    )
    scopes = fields.String(required=True, allow_none=True, metadata=SIGN_IN_SCOPES)
    refreshes = fields.Integer(required=True, metadata={"description": "How often the session got new tokens.", "example": 3})
    refreshes_received = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "The newest of these whose tokens were used within 30 seconds.", "example": 3},
    )
    ended_at = fields.AwareDateTime(required=True, allow_none=True, metadata=MOMENT)


class ExportedConsentOut(Out):
    """What an app that the user signed in to may know."""

    client_id = fields.String(required=True, metadata=ID | {"description": "The app.", "example": CLIENT_ID["example"]})
    scopes = fields.String(required=True, metadata=SIGN_IN_SCOPES)
    given_at = fields.AwareDateTime(required=True, metadata=MOMENT)


class ExportedSecondFactorOut(Out):
    """The authenticator app and the recovery codes of a staff member. Their secrets are not stored."""

    links = fields.Integer(required=True, metadata={"description": "How many enrolment links were made.", "example": 1})
    link_expires_at = fields.AwareDateTime(required=True, allow_none=True, metadata=MOMENT)
    generation = fields.Integer(required=True, metadata={"description": "The number of the app's secret.", "example": 1})
    step = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "The half minute, counted since 1970, of the newest accepted code.",
            "example": 59_823_456,
            "format": "int64",
        },
    )
    recovery_generation = fields.Integer(
        required=True, metadata={"description": "How often recovery codes were made.", "example": 1}
    )
    recovery_used = fields.Integer(
        required=True, metadata={"description": "Which of them were used: one bit for each.", "example": 0}
    )


class ExportedPasskeyOut(Out):
    """A passkey, without its public key."""

    id = fields.String(required=True, metadata={"description": "The id of the credential.", "example": "J3-x2Q"})
    sign_count = fields.Integer(required=True, metadata={"description": "How often it signed.", "example": 0, "format": "int64"})
    backup_eligible = fields.Boolean(
        required=True, metadata={"description": "Whether it may be copied to other devices.", "example": True}
    )
    backed_up = fields.Boolean(required=True, metadata={"example": True})
    aaguid = fields.String(
        required=True,
        metadata={"description": "The model of the authenticator.", "example": "00000000-0000-0000-0000-000000000000"},
    )
    rp_id = fields.String(required=True, metadata={"description": "The host that it was made for.", "example": "login.example.com"})
    name = fields.String(required=True, metadata={"example": "iPhone"})
    for_staff = fields.Boolean(required=True, metadata={"description": "Whether it opens the operator's pages.", "example": False})
    created_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    used_at = fields.AwareDateTime(required=True, allow_none=True, metadata=MOMENT)


class ExportedDeviceOut(Out):
    """A browser or program that has signed in."""

    id = fields.String(required=True, metadata=DEVICE_ID)
    guesses = fields.Integer(required=True, metadata={"description": "Wrong guesses since it is known.", "example": 0})
    turns = fields.Integer(required=True, metadata={"description": "How often its token was replaced.", "example": 3})
    turned_at = fields.AwareDateTime(required=True, allow_none=True, metadata=MOMENT)
    client_id = fields.String(required=True, allow_none=True, metadata=CLIENT_ID)
    known_since = fields.AwareDateTime(required=True, metadata=MOMENT)
    used_at = fields.AwareDateTime(required=True, metadata=MOMENT)


class TextsOfNumberIn(In):
    telephone_number = text(NUMBER)


class TextOut(Out):
    id = fields.Integer(required=True, metadata={"example": 4711, "format": "int64"})
    telephone_number = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Masked. Null for a notice that was sent.", "example": "+7········01"},
    )
    state = fields.String(required=True, metadata={"example": "sent", "enum": list(MessageState)})
    gateway = fields.String(
        required=True, allow_none=True, metadata={"description": "The gateway that accepted the message.", "example": "https/1"}
    )
    tries = fields.Integer(required=True, metadata={"example": 1})
    asked_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    ended_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata=MOMENT | {"description": "When it was sent, or given up."}
    )
    code = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "What became of its code; `void` after too many wrong ones. Null for a notice.",
            "example": "entered",
            "enum": [*CodeState, None],
        },
    )
    verification = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The beginning of the id of its verification, as in the log.", "example": "Zk3vT0cW"},
    )
    request_id = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The request that asked for it, as in the log.", "example": "5f0c9a6e"},
    )


class ExportedTextOut(Out):
    tries = fields.Integer(required=True, metadata={"example": 1})
    state = fields.String(required=True, metadata={"example": "sent", "enum": list(MessageState)})
    gateway = fields.String(
        required=True, allow_none=True, metadata={"description": "The gateway that accepted the message.", "example": "https/1"}
    )
    request_id = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The request that asked for it, as in the log.", "example": "5f0c9a6e"},
    )
    created_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    due_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    ended_at = fields.AwareDateTime(required=True, allow_none=True, metadata=MOMENT)


class ExportedVerificationOut(Out):
    id = fields.String(required=True, metadata=VERIFICATION_ID)
    telephone_number = fields.String(required=True, metadata=E164)
    purpose = fields.String(required=True, metadata={"example": "login"})
    code_length = fields.Integer(required=True, metadata={"example": 4})
    guesses = fields.Integer(required=True, metadata={"example": 1})
    device_id = fields.String(required=True, allow_none=True, metadata=DEVICE_ID)
    client_id = fields.String(required=True, allow_none=True, metadata=CLIENT_ID)
    device = fields.String(
        required=True, allow_none=True, metadata=DEVICE | {"description": "A short name of the device, if the client stated it."}
    )
    language = fields.String(required=True, metadata={"example": "ru"})
    invite_code = fields.String(required=True, allow_none=True, metadata=INVITE_CODE)
    created_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    expires_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    consumed_at = fields.AwareDateTime(required=True, allow_none=True, metadata=MOMENT)
    texts = fields.List(fields.Nested(ExportedTextOut), required=True)


class ExportedLimitOut(Out):
    scope = fields.String(required=True, metadata={"description": "The name of the limit.", "example": "guesses"})
    taken = fields.Integer(required=True, metadata={"example": 2})
    ends_at = fields.AwareDateTime(required=True, metadata=MOMENT | {"description": "When this count expires."})


class ExportedAllowanceOut(Out):
    known_devices = fields.Boolean(
        required=True,
        metadata={"description": "Whether devices that had signed in before requested these texts.", "example": False},
    )
    day_began_at = fields.AwareDateTime(required=True, metadata=MOMENT)
    sends = fields.Integer(required=True, metadata={"description": "Texts since then.", "example": 1})
    streak = fields.Integer(required=True, metadata={"description": "Texts since the last login.", "example": 0})
    next_send_at = fields.AwareDateTime(required=True, metadata=MOMENT)


class ExportedEventOut(Out):
    at = fields.AwareDateTime(required=True, metadata=MOMENT)
    kind = fields.String(required=True, metadata={"example": "signed-in"})
    about_me = fields.Boolean(
        required=True, metadata={"description": "False if the caller did it to another user.", "example": True}
    )
    by_somebody_else = fields.Boolean(required=True, metadata={"description": "Whether one of the staff did it.", "example": False})
    client_id = fields.String(required=True, allow_none=True, metadata=CLIENT_ID)
    request_id = fields.String(required=True, allow_none=True, metadata={"example": "5f2c9a"})
    detail = fields.String(
        required=True, allow_none=True, metadata={"description": "What exactly happened, in one word.", "example": "own-invite"}
    )
    reason = fields.String(
        required=True, allow_none=True, metadata={"description": "Why staff did it, in their words.", "example": "asked by letter"}
    )


class ExportOut(Out):
    profile = fields.Nested(ExportedProfileOut, required=True)
    activated_at = fields.AwareDateTime(required=True, allow_none=True, metadata=MOMENT)
    activation_closed = fields.Boolean(
        required=True,
        metadata={"description": "Whether staff undid an activation, and no other invite code can be activated.", "example": False},
    )
    invitees = fields.List(fields.Nested(InviteeOut), required=True, metadata={"description": "Their numbers are masked."})
    sessions = fields.List(fields.Nested(ExportedSessionOut), required=True)
    consents = fields.List(
        fields.Nested(ExportedConsentOut), required=True, metadata={"description": "What apps that the user signed in to may know."}
    )
    second_factors = fields.List(fields.Nested(ExportedSecondFactorOut), required=True, metadata={"description": "Of staff."})
    passkeys = fields.List(fields.Nested(ExportedPasskeyOut), required=True)
    devices = fields.List(
        fields.Nested(ExportedDeviceOut), required=True, metadata={"description": "Devices that signed in before."}
    )
    verifications = fields.List(fields.Nested(ExportedVerificationOut), required=True)
    limits = fields.List(fields.Nested(ExportedLimitOut), required=True, metadata={"description": "Current counts of limits."})
    texts = fields.List(
        fields.Nested(ExportedAllowanceOut), required=True, metadata={"description": "How many texts were requested."}
    )
    left_before = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata=MOMENT
        | {"description": "Until when no invite code can be activated, because a deleted account with this number did."},
    )
    events = fields.List(fields.Nested(ExportedEventOut), required=True, metadata={"description": "Events, oldest first."})
