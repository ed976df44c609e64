"""Passkeys: key pairs that an authenticator makes for this site alone, and uses when its owner unlocks it (WebAuthn Level 3).

A challenge is computed: showing a page writes nothing. It is valid in one session, for one purpose and once: the first answer
spends it, before that answer is verified. So the refusal of an answer is raised after the transaction.

The library takes most of a second to import, so the functions that need it import it, before their transaction.
"""

import hmac
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete as delete_from
from sqlalchemy import select, update

from config import Settings
from hammer import clock, codes, events
from hammer.db.database import Transaction, db, insert, transaction
from hammer.factors import staff
from hammer.models import Passkey, Session, SpentChallenge, User
from hammer.parsing import phones
from hammer.refusals import N_, InvalidFields, NotFound

if TYPE_CHECKING:
    from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
    from webauthn.helpers.structs import AuthenticationCredential, RegistrationCredential
    from webauthn.registration.verify_registration_response import VerifiedRegistration

MINUTE: Final = timedelta(minutes=1)
LIFETIME: Final = 5 * MINUTE
"""How long a challenge can be answered, to within a minute."""
LONGEST_ID: Final = 1023
"""Bytes of the id of a credential (WebAuthn §4)."""
LONGEST_NAME: Final = 60
ALGORITHMS: Final = (-8, -7, -257)
"""EdDSA, ES256 and RS256 (IANA COSE Algorithms), the preferred one first. Authenticators know at least one of them."""

FAILED: Final = N_("The passkey was not accepted. Please try once more.")
UNKNOWN: Final = N_("This passkey is not known here any more. Use another one.")
KNOWN: Final = N_("This passkey is set up already.")
OF_PROFILE: Final = N_("This passkey does not open the operator’s pages.")
NAME_MISSING: Final = N_("Give it a name of 60 characters at most.")

_MALFORMED: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What the library raises for some malformed answers, beside its own exceptions."""


class Purpose(StrEnum):
    """What an answer to a challenge is for."""

    ADD = "add"
    PROVE = "prove"


# What browsers are asked


def options_to_add(settings: Settings, user_id: str, session_id: str) -> str | None:
    """What a browser is asked to make a passkey of this user (`PublicKeyCredentialCreationOptionsJSON`), in this session. None
    where the public address can have no passkeys.

    The passkey is named after the masked number: authenticators copy its name to clouds.
    """
    if settings.passkey_host is None:
        return None
    found = select(User.telephone_number, User.passkey_handle).where(User.id == user_id)
    number, handle = db.session.execute(found).one()
    name = phones.masked(number or "")
    return json.dumps(
        {
            "rp": {"id": settings.passkey_host, "name": settings.name},
            "user": {"id": handle or _handle(settings, user_id), "name": name, "displayName": name},
            "challenge": _challenge(settings, Purpose.ADD, session_id),
            "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
            "timeout": LIFETIME // timedelta(milliseconds=1),
            "excludeCredentials": [{"type": "public-key", "id": each.id} for each in of_user(user_id)],
            "authenticatorSelection": {"residentKey": "required", "requireResidentKey": True, "userVerification": "required"},
            "attestation": "none",
        }
    )


def options_to_prove(settings: Settings, session_id: str) -> str | None:
    """What a browser is asked to use any passkey of this site (`PublicKeyCredentialRequestOptionsJSON`), in this session. None
    where the public address can have no passkeys."""
    if settings.passkey_host is None:
        return None
    return json.dumps(
        {
            "challenge": _challenge(settings, Purpose.PROVE, session_id),
            "rpId": settings.passkey_host,
            "timeout": LIFETIME // timedelta(milliseconds=1),
            "userVerification": "required",
        }
    )


def accepted(settings: Settings, user_id: str) -> str | None:
    """What authenticators need to know to forget removed passkeys (`AllAcceptedCredentialsOptions`). None where there is no
    passkey and was none."""
    handle = db.session.scalar(select(User.passkey_handle).where(User.id == user_id))
    ids = [each.id for each in of_user(user_id)]
    known = {"rpId": settings.passkey_host, "userId": handle, "allAcceptedCredentialIds": ids}
    return json.dumps(known) if handle and settings.passkey_host else None


def unknown(settings: Settings, answer: str) -> str:
    """What authenticators need to know to forget the passkey of this answer (`UnknownCredentialOptions`)."""
    return json.dumps({"rpId": settings.passkey_host, "credentialId": read_proof(answer).id})


# The passkeys of a user


def of_user(user_id: str) -> Sequence[Passkey]:
    """The passkeys of this user, the oldest first."""
    return db.session.scalars(select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.created_at, Passkey.id)).all()


def find(user_id: str, passkey_id: str) -> Passkey:
    """A passkey of this user. Refuses with `NotFound`."""
    found = db.session.scalar(select(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id))
    if found is None:
        raise NotFound
    return found


def rename(user_id: str, passkey_id: str, typed: str) -> None:
    """Gives a passkey another name. Refuses with `InvalidFields` and `NotFound`."""
    name = _read_name(typed)
    with transaction() as tx:
        renamed = update(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id).values(name=name)
        if tx.scalar(renamed.returning(Passkey.id)) is None:
            raise NotFound


def remove(user_id: str, passkey_id: str) -> None:
    """Removes a passkey. Refuses with `NotFound`, and with `NotAllowed` if it is the only second factor of a staff member."""
    with transaction() as tx:
        mine = Passkey.id == passkey_id, Passkey.user_id == user_id
        if tx.scalar(select(Passkey.for_staff).where(*mine)):
            staff.require_another(tx, user_id, passkey_id)
        if tx.scalar(delete_from(Passkey).where(*mine).returning(Passkey.id)) is None:
            raise NotFound
        events.note(tx, events.Kind.FACTOR_REMOVED, user_id, detail="passkey")


# Staff


def add(settings: Settings, user_id: str, answer: str, name: str, *, session_id: str) -> None:
    """Adds a passkey of a staff member, made in this session of the operator's pages. Refuses with `InvalidFields`, and with
    `NotFound` a user who is not staff."""
    made, name = read_made(answer), _read_name(name)
    with transaction() as tx:
        staff.require_staff(tx, user_id)
        refusal = enrol(tx, settings, user_id, made, name, session_id=session_id, for_staff=True, now=clock.now())
    if refusal:
        raise refusal


def enrol_by_link(
    settings: Settings, user_id: str, browser_id: str, token: str, answer: str, name: str, *, device: str
) -> staff.Opened:
    """Adds a passkey of a staff member by an enrolment link, and opens a session of the operator's pages in this browser's session.

    Refuses with `InvalidFields`, with `NotAllowed` a link that was used or expired, and with `NotFound` and `NotSignedIn`.
    """
    made, name = read_made(answer), _read_name(name)
    with transaction() as tx:
        now = clock.now()
        refusal = enrol(tx, settings, user_id, made, name, session_id=browser_id, for_staff=True, now=now)
        if refusal is None:
            staff.spend_link(tx, settings, user_id, token)
            session = staff.open_session(tx, user_id, now, "passkey", browser_id=browser_id, device=device)
            return staff.Opened(session, staff.new_codes(tx, settings, user_id))
    raise refusal


def open_by_passkey(
    settings: Settings, user_id: str, answer: str, *, device: str, browser_id: str | None = None, instead_of: str | None = None
) -> Session:
    """A new session of the operator's pages, as `staff.open_by_code` opens one. An answer that is repeated is refused.

    Refuses with `InvalidFields`, with `NotFound` a user who is not staff, and with `NotSignedIn`.
    """
    shown = read_proof(answer)
    with transaction() as tx:
        now = clock.now()
        staff.require_staff(tx, user_id)
        proved = prove(tx, settings, shown, session_id=instead_of or browser_id or "", now=now)
        if isinstance(proved, Passkey) and proved.user_id == user_id and proved.for_staff:
            return staff.open_session(tx, user_id, now, "passkey", browser_id=browser_id, instead_of=instead_of, device=device)
    raise proved if isinstance(proved, InvalidFields) else _refusal(OF_PROFILE)


# Steps


def read_made(answer: str) -> "RegistrationCredential":
    """A passkey that was made, as a browser describes it (`RegistrationResponseJSON`). Refuses with `InvalidFields`."""
    from webauthn.helpers import parse_registration_credential_json  # noqa: PLC0415

    with _reading():
        return parse_registration_credential_json(answer)


def read_proof(answer: str) -> "AuthenticationCredential":
    """What a passkey signed, as a browser describes it (`AuthenticationResponseJSON`). Refuses with `InvalidFields`."""
    from webauthn.helpers import parse_authentication_credential_json  # noqa: PLC0415

    with _reading():
        shown = parse_authentication_credential_json(answer)
        if codes.base64url(shown.raw_id) != shown.id:
            raise ValueError
        return shown


def enrol(
    tx: Transaction,
    settings: Settings,
    user_id: str,
    made: "RegistrationCredential",
    name: str,
    *,
    session_id: str,
    for_staff: bool,
    now: datetime,
) -> InvalidFields | None:
    """Stores a passkey that was made in this session. Returns the refusal of an answer that is not right, whose challenge is
    spent; raises that of an answer whose challenge is not valid."""
    challenge = _spend(tx, settings, made.response.client_data_json, Purpose.ADD, session_id, now)
    try:
        verified = _verify_made(settings, made, challenge)
    except InvalidFields as refusal:
        return refusal
    first = User.id == user_id, User.passkey_handle.is_(None)
    tx.execute(update(User).where(*first).values(passkey_handle=_handle(settings, user_id)))
    stored = insert(tx, Passkey).values(
        id=codes.base64url(verified.credential_id),
        user_id=user_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        backup_eligible=_backup_eligible(verified),
        backed_up=verified.credential_backed_up,
        aaguid=verified.aaguid,
        rp_id=settings.passkey_host,
        name=name,
        for_staff=for_staff,
        created_at=now,
    )
    if tx.scalar(stored.on_conflict_do_nothing().returning(Passkey.id)) is None:
        return _refusal(KNOWN)
    events.note(tx, events.Kind.FACTOR_ENROLLED, user_id, detail="passkey")
    return None


def prove(
    tx: Transaction, settings: Settings, shown: "AuthenticationCredential", *, session_id: str, now: datetime
) -> Passkey | InvalidFields:
    """The passkey that signed a challenge of this session, of any user. Returns the refusal of an answer that is not right, whose
    challenge is spent; raises that of an answer whose challenge is not valid."""
    challenge = _spend(tx, settings, shown.response.client_data_json, Purpose.PROVE, session_id, now)
    found = select(Passkey).where(Passkey.id == shown.id).with_for_update()
    passkey = tx.scalar(found.execution_options(populate_existing=True))
    if passkey is None:
        return _refusal(UNKNOWN)
    try:
        verified = _verify_proof(settings, shown, challenge, passkey)
    except InvalidFields as refusal:
        return refusal
    handle = tx.scalar(select(User.passkey_handle).where(User.id == passkey.user_id))
    if codes.base64url(shown.response.user_handle or b"") != handle:
        return _refusal(FAILED)
    fault = _fault(passkey, verified)
    if fault:
        events.note(tx, events.Kind.FACTOR_WRONG, passkey.user_id, detail=fault)
        return _refusal(FAILED)
    used = {"sign_count": verified.new_sign_count, "backed_up": verified.credential_backed_up, "used_at": now}
    tx.execute(update(Passkey).where(Passkey.id == passkey.id).values(**used))
    return passkey


def _verify_made(settings: Settings, made: "RegistrationCredential", challenge: bytes) -> "VerifiedRegistration":
    from webauthn import verify_registration_response  # noqa: PLC0415
    from webauthn.helpers import (  # noqa: PLC0415
        decode_credential_public_key,
        decoded_public_key_to_cryptography,
        encode_cbor,
        parse_cbor,
    )
    from webauthn.helpers.cose import COSEAlgorithmIdentifier  # noqa: PLC0415

    with _reading():
        # No attestation was asked for, so none is verified: one that comes anyway would need parsers of certificates.
        sent = parse_cbor(made.response.attestation_object)
        made.response.attestation_object = encode_cbor({"fmt": "none", "attStmt": {}, "authData": sent["authData"]})
        verified = verify_registration_response(
            credential=made,
            expected_challenge=challenge,
            expected_rp_id=settings.passkey_host or "",
            expected_origin=settings.public_url,
            require_user_verification=True,
            supported_pub_key_algs=[COSEAlgorithmIdentifier(algorithm) for algorithm in ALGORITHMS],
        )
        decoded_public_key_to_cryptography(decode_credential_public_key(verified.credential_public_key))
        if len(verified.credential_id) > LONGEST_ID:
            raise ValueError
        return verified


def _verify_proof(
    settings: Settings, shown: "AuthenticationCredential", challenge: bytes, passkey: Passkey
) -> "VerifiedAuthentication":
    from webauthn import verify_authentication_response  # noqa: PLC0415

    with _reading():
        return verify_authentication_response(
            credential=shown,
            expected_challenge=challenge,
            expected_rp_id=settings.passkey_host or "",
            expected_origin=settings.public_url,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,  # the library would compare it before the signature is verified
            require_user_verification=True,
        )


def _fault(passkey: Passkey, verified: "VerifiedAuthentication") -> str | None:
    """What cannot be true of one passkey, in one word; None if nothing is wrong (WebAuthn §7.2, steps 18 and 22)."""
    counts = verified.new_sign_count > 0 or passkey.sign_count > 0
    if counts and verified.new_sign_count <= passkey.sign_count:
        return "passkey-counter"
    return None if _backup_eligible(verified) == passkey.backup_eligible else "passkey-backup"


def _backup_eligible(verified: Any) -> bool:
    return bool(verified.credential_device_type == "multi_device")


@contextmanager
def _reading() -> Iterator[None]:
    """Refuses with `InvalidFields` what the library cannot read or verify."""
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415

    try:
        yield
    except (WebAuthnException, *_MALFORMED) as fault:
        raise _refusal(FAILED) from fault


def _refusal(sentence: str) -> InvalidFields:
    return InvalidFields({"passkey": [sentence]})


def _read_name(typed: str) -> str:
    name = " ".join(typed.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidFields({"name": [NAME_MISSING]})
    return name


def _handle(settings: Settings, user_id: str) -> str:
    """The first handle of a user: a keyed hash, so that it says nothing, and need not be stored before a passkey is made."""
    return codes.base64url(hmac.digest(settings.key("second-factors"), f"passkey handle|{user_id}".encode(), "sha256"))


# Challenges


def _challenge(settings: Settings, purpose: Purpose, session_id: str) -> str:
    """A new challenge, as base64url: a random id, and the minute in which it was made, signed for a purpose and a session."""
    minute = (clock.now() - clock.EPOCH) // MINUTE
    made = codes.proof(settings.key("second-factors"), _kind(purpose, session_id), codes.random_id(), minute)
    return codes.base64url(made.encode())


def _spend(tx: Transaction, settings: Settings, client_data: bytes, purpose: Purpose, session_id: str, now: datetime) -> bytes:
    """Spends the challenge that was answered, and returns it. Refuses with `InvalidFields` one that is forged, expired or spent, or
    was made for another purpose or session."""
    from webauthn.helpers import parse_client_data_json  # noqa: PLC0415

    with _reading():
        challenge = parse_client_data_json(client_data).challenge
        claim = codes.read_proof(settings.keys("second-factors"), _kind(purpose, session_id), challenge.decode())
    made = clock.EPOCH + claim[1] * MINUTE if claim else None
    if claim is None or made is None or not made - clock.APART <= now < made + LIFETIME + MINUTE:
        raise _refusal(FAILED)
    spent = insert(tx, SpentChallenge).values(id=claim[0], expires_at=now + LIFETIME + MINUTE)
    if tx.scalar(spent.on_conflict_do_nothing().returning(SpentChallenge.id)) is None:
        raise _refusal(FAILED)
    return challenge


def _kind(purpose: Purpose, session_id: str) -> str:
    return f"passkey|{purpose}|{session_id}"
