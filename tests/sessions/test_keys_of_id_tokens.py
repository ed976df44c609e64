"""The keys that sign id tokens: made when they are needed, by algorithm, and of no use for access tokens."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from jwcrypto.common import JWException
from jwcrypto.jwk import JWKSet
from jwcrypto.jwt import JWT
from sqlalchemy import func, select, update
from time_machine import Traveller

import config
from config import Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.models import Event, SigningAlgorithm, TokenKey
from hammer.sessions import keys
from hammer.sessions.keys import IdTokenKeys, Key, KeyRing, Purpose
from tests.actions import ANNA, everything_stored
from tests.people import Program

EACH = list(SigningAlgorithm)
ES256, EDDSA, RS256 = SigningAlgorithm.ES256, SigningAlgorithm.EDDSA, SigningAlgorithm.RS256
SECOND = timedelta(seconds=1)
FIELDS = {EDDSA: {"kty", "crv", "x"}, ES256: {"kty", "crv", "x", "y"}, RS256: {"kty", "n", "e"}}
Statements = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
def ring(context: None, settings: Settings) -> IdTokenKeys:
    return IdTokenKeys(settings)


def other(settings: Settings) -> Settings:
    return replace(settings, secret_key="another secret of 32 bytes or more")


def rotate(settings: Settings, *, ahead: timedelta = timedelta(0)) -> dict[SigningAlgorithm, Key]:
    return {key.algorithm: key for key in keys.rotate(settings, Purpose.ID, ahead=ahead)}


def rows() -> int:
    return db.session.scalar(select(func.count()).select_from(TokenKey)) or 0


def document(app: Flask) -> str:
    return app.test_client().get("/.well-known/jwks.json").text


def kids(app: Flask) -> list[str]:
    return [key["kid"] for key in json.loads(document(app))["keys"]]


def pkcs8(key: Key) -> bytes:
    return key.private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


# -- made when they are needed ------------------------------------------------------------------------------------------------


def test_without_apps_there_is_no_key_of_id_tokens(app: Flask, settings: Settings) -> None:
    Program(app).sign_in(ANNA)
    with app.app_context():
        assert kids(app) == [KeyRing(settings).signing().kid]
        assert rows() == 0


@pytest.mark.parametrize("algorithm", EACH)
def test_the_first_token_of_an_algorithm_makes_its_key_for_all_processes(
    ring: IdTokenKeys, settings: Settings, algorithm: SigningAlgorithm
) -> None:
    elsewhere = IdTokenKeys(settings)
    assert elsewhere.published() == []
    key = ring.signing(algorithm)
    assert ring.signing(algorithm) == key
    assert elsewhere.signing(algorithm).published == IdTokenKeys(settings).signing(algorithm).published == key.published
    assert rows() == 1


@pytest.mark.parametrize("algorithm", EACH)
def test_another_library_checks_a_token_with_the_published_key(app: Flask, ring: IdTokenKeys, algorithm: SigningAlgorithm) -> None:
    for each in EACH:
        ring.signing(each)
    key = ring.signing(algorithm)
    token = jwt.encode({"sub": "anna"}, key.private, algorithm=algorithm, headers={"kid": key.kid})
    published = JWKSet.from_json(document(app))
    assert json.loads(JWT(jwt=token, key=published, algs=[algorithm]).claims) == {"sub": "anna"}
    content, _, signature = token.rpartition(".")
    with pytest.raises(JWException):
        JWT(jwt=f"{content}.{signature[:-6]}AAAAAA", key=published, algs=[algorithm])


@pytest.mark.requirement("TOK-08")
def test_only_public_parts_are_published_under_their_thumbprints(app: Flask, ring: IdTokenKeys) -> None:
    signing = {ring.signing(algorithm).kid: ring.signing(algorithm) for algorithm in EACH}
    found = {key["kid"]: key for key in json.loads(document(app))["keys"]}
    assert found.keys() > signing.keys()
    for kid, key in signing.items():
        assert set(found[kid]) == FIELDS[key.algorithm] | {"kid", "use", "alg"}
        assert (found[kid]["use"], found[kid]["alg"]) == ("sig", key.algorithm)
        assert kid == JWKSet.from_json(json.dumps({"keys": [found[kid]]})).get_key(kid).thumbprint()


def test_a_short_coordinate_is_published_with_its_zeros() -> None:
    """RFC 7518 §6.2.1.2: the length is that of the curve. One key in 256 has a shorter `x`."""
    each = (ec.derive_private_key(n, ec.SECP256R1()) for n in count(1))
    private = next(key for key in each if key.public_key().public_numbers().x.bit_length() <= 248)
    key = Key(Purpose.ID, ES256, "kid", private.public_key(), private, None, None)
    assert (len(key.published["x"]), len(key.published["y"])) == (43, 43)
    assert key.published["x"].startswith("A")


def test_a_key_made_elsewhere_is_published_within_a_second(app: Flask, ring: IdTokenKeys, clock: Traveller) -> None:
    assert len(kids(app)) == 1
    made = ring.signing(ES256).kid
    clock.shift(SECOND)
    assert made in kids(app)


# -- stored -------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TOK-05", "TOK-08")
def test_nothing_in_the_database_signs_an_id_token(ring: IdTokenKeys) -> None:
    each = [ring.signing(algorithm) for algorithm in EACH]
    stored = "\n".join(everything_stored())
    for key in each:
        private = pkcs8(key)
        for part in (private[-32:], private[len(private) // 2 :][:32]):
            assert part.hex() not in stored
            assert repr(part)[2:-1] not in stored
        assert "private" not in repr(key)
    [blob] = db.session.scalars(select(TokenKey.encrypted).where(TokenKey.encrypted.is_not(None)))
    assert blob is not None
    with pytest.raises(ValueError, match="key data"):
        serialization.load_der_private_key(blob, None)


def test_equal_keys_are_never_stored_equally(ring: IdTokenKeys, settings: Settings) -> None:
    """A nonce that is used twice would give the key of the encryption away."""
    ring.signing(RS256)
    for _ in range(3):
        rotate(settings)
    stored = list(db.session.scalars(select(TokenKey.encrypted)))
    assert len({blob[:12] for blob in stored if blob}) == 4


def test_an_encrypted_key_is_good_in_its_own_row_only(ring: IdTokenKeys, settings: Settings, clock: Traveller) -> None:
    first = ring.signing(RS256)
    second = rotate(settings)[RS256]
    with transaction() as tx:
        one, two = tx.scalars(select(TokenKey).order_by(TokenKey.retired_at.is_(None)))
        one.encrypted, two.encrypted = two.encrypted, one.encrypted
    assert IdTokenKeys(settings).known(first.kid) is None
    assert IdTokenKeys(settings).known(second.kid) is None


@pytest.mark.parametrize("blob", [None, b"", b"short", bytes(12), bytes(1300)])
def test_a_damaged_key_is_as_if_it_were_not_there(ring: IdTokenKeys, settings: Settings, blob: bytes | None) -> None:
    lost = ring.signing(RS256)
    kept = ring.signing(ES256)
    with transaction() as tx:
        tx.execute(update(TokenKey).where(TokenKey.algorithm == RS256).values(encrypted=blob))
    fresh = IdTokenKeys(settings)
    assert [key.kid for key in fresh.published()] == [kept.kid]
    assert fresh.signing(RS256).kid != lost.kid


def test_with_another_secret_every_key_is_another_and_the_stored_one_is_skipped_with_one_warning(
    ring: IdTokenKeys, settings: Settings, caplog: pytest.LogCaptureFixture, clock: Traveller
) -> None:
    ours = [ring.signing(algorithm) for algorithm in EACH]
    theirs = IdTokenKeys(other(settings))
    caplog.clear()
    for _ in range(3):
        assert {key.algorithm for key in theirs.published()} == {ES256, EDDSA}
        clock.shift(keys.RELOAD)
    [warning] = [record for record in caplog.records if record.name == "hammer.sessions.keys"]
    assert warning.levelname == "WARNING"
    assert "SECRET_KEY" in warning.getMessage()
    for key in ours:
        assert theirs.signing(key.algorithm).kid != key.kid
        assert theirs.known(key.kid) is None
        assert IdTokenKeys(settings).signing(key.algorithm) == key  # the first secret still works


def test_a_rotation_replaces_a_key_that_cannot_be_decrypted(ring: IdTokenKeys, settings: Settings) -> None:
    lost = ring.signing(RS256)
    with_another = other(settings)
    [made] = keys.rotate(with_another, Purpose.ID)
    assert made.algorithm == RS256
    assert keys.every(with_another, Purpose.ID) == [made]
    [retired] = [key for key in keys.every(settings, Purpose.ID) if key.kid == lost.kid]
    assert retired.retired_at is not None


# -- of no use for access tokens ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("TOK-01")
@pytest.mark.parametrize("algorithm", EACH)
def test_a_key_of_id_tokens_signs_no_access_token(app: Flask, ring: IdTokenKeys, algorithm: SigningAlgorithm) -> None:
    program = Program(app)
    program.sign_in(ANNA)
    claims = jwt.decode(program.tokens["access_token"], options={"verify_signature": False})
    key = ring.signing(algorithm)
    for typ, named in (
        ("at+jwt", key.kid),
        ("JWT", key.kid),
        ("at+jwt", jwt.get_unverified_header(program.tokens["access_token"])["kid"]),
    ):
        forged = jwt.encode(claims, key.private, algorithm=algorithm, headers={"typ": typ, "kid": named})
        assert program.call("GET", "/users/me/", Authorization=f"Bearer {forged}").status_code == 401
    assert program.is_signed_in()


def test_neither_ring_knows_the_keys_of_the_other(ring: IdTokenKeys, settings: Settings) -> None:
    of_access = KeyRing(settings)
    assert ring.known(of_access.signing().kid) is None
    assert of_access.trusted(ring.signing(EDDSA).kid) is None
    assert [key.purpose for key in of_access.published()] == [Purpose.ACCESS]
    assert KeyRing(settings).signing() == of_access.signing()


def test_a_row_that_changes_its_purpose_or_algorithm_is_another_key(ring: IdTokenKeys, settings: Settings) -> None:
    made = {ring.signing(EDDSA).published["x"]}
    for changed in ({"algorithm": ES256}, {"purpose": Purpose.ACCESS, "algorithm": EDDSA}):
        with transaction() as tx:
            tx.execute(update(TokenKey).values(changed))
        [key] = [key for purpose in Purpose for key in keys.every(settings, purpose) if key.created_at]
        assert key.published["x"] not in made
        made.add(key.published["x"])


def test_each_rotation_leaves_the_keys_of_the_other_purpose(ring: IdTokenKeys, settings: Settings) -> None:
    """Also where they have the same algorithm."""
    [of_access] = keys.rotate(settings)
    of_id = ring.signing(EDDSA)
    new = rotate(settings)[EDDSA]
    assert KeyRing(settings).signing() == of_access
    keys.rotate(settings)
    assert IdTokenKeys(settings).signing(EDDSA) == new
    assert (len(KeyRing(settings).published()), len(IdTokenKeys(settings).published())) == (3, 2)
    assert of_id.kid != new.kid


# -- rotated ------------------------------------------------------------------------------------------------------------------


def test_a_rotation_makes_a_key_of_each_algorithm_that_has_one(ring: IdTokenKeys, settings: Settings) -> None:
    before = [ring.signing(algorithm).kid for algorithm in (RS256, ES256)]
    made = rotate(settings)
    assert made.keys() == {RS256, ES256}
    for algorithm, key in made.items():
        assert IdTokenKeys(settings).signing(algorithm) == key
    assert {key.kid for key in IdTokenKeys(settings).published()} == {*before, *(key.kid for key in made.values())}
    assert db.session.scalar(select(func.count()).where(Event.kind == events.Kind.KEY_ROTATED)) == 1


@pytest.mark.usefixtures("context")
def test_without_keys_a_rotation_changes_nothing(settings: Settings) -> None:
    assert rotate(settings) == {}
    assert rows() == 0
    assert db.session.scalar(select(func.count()).where(Event.kind == events.Kind.KEY_ROTATED)) == 0


@pytest.mark.requirement("TOK-08")
@pytest.mark.parametrize("algorithm", EACH)
def test_a_retired_key_is_published_until_all_that_it_signed_has_expired_and_known_for_ever(
    ring: IdTokenKeys, settings: Settings, clock: Traveller, algorithm: SigningAlgorithm
) -> None:
    old = ring.signing(algorithm)
    new = rotate(settings)[algorithm]
    clock.shift(keys.RELOAD - SECOND)
    assert ring.signing(algorithm) == old  # the last moment at which a process may not know the new key
    clock.shift(config.ID_TOKEN_LIFETIME + config.ACCESS_TOKEN_LEEWAY)
    assert [key.kid for key in ring.published()] == [old.kid, new.kid]
    clock.shift(SECOND)
    assert [key.kid for key in ring.published()] == [new.kid]
    clock.shift(timedelta(days=400))
    for known in (ring.known(old.kid), IdTokenKeys(settings).known(old.kid)):
        assert known is not None
        assert pkcs8(known) == pkcs8(old)


def test_a_key_may_be_published_before_it_signs(ring: IdTokenKeys, settings: Settings, clock: Traveller) -> None:
    ahead = timedelta(minutes=10)
    old = ring.signing(RS256)
    new = rotate(settings, ahead=ahead)[RS256]
    assert {key.kid for key in IdTokenKeys(settings).published()} == {old.kid, new.kid}
    clock.shift(ahead - SECOND)
    assert IdTokenKeys(settings).signing(RS256).kid == old.kid
    clock.shift(SECOND)
    assert IdTokenKeys(settings).signing(RS256) == new
    assert rows() == 2


# -- what they cost -----------------------------------------------------------------------------------------------------------


def test_signing_costs_one_query_in_half_a_minute(ring: IdTokenKeys, clock: Traveller, statements: Statements) -> None:
    ring.ensure(RS256)
    clock.shift(keys.RELOAD)
    with statements() as seen:
        for _ in range(30):
            ring.signing(RS256)
            clock.shift(SECOND)
    assert len(seen) == 1


@pytest.mark.requirement("TOK-01")
def test_hints_with_unknown_keys_cost_one_query_a_second(ring: IdTokenKeys, clock: Traveller, statements: Statements) -> None:
    ring.ensure(ES256)
    for _ in range(3):
        clock.shift(SECOND)
        with statements() as seen:
            for n in range(50):
                assert ring.known(f"{n:043}") is None
        assert len(seen) == 1


def test_the_api_never_reads_the_keys_of_id_tokens(app: Flask, clock: Traveller, settings: Settings) -> None:
    with app.app_context():
        IdTokenKeys(settings).ensure(ES256)
    program = Program(app)
    program.sign_in(ANNA)
    clock.shift(keys.RELOAD)
    assert program.is_signed_in()
    assert app.extensions["hammer.web.id_token_keys"]._read_at is None


# -- by hand ------------------------------------------------------------------------------------------------------------------


def say(app: Flask, *words: str) -> str:
    result = app.test_cli_runner().invoke(args=["keys", *words])
    assert result.exit_code == 0, result.output
    return result.output


def listed(app: Flask) -> list[tuple[str, ...]]:
    """What each key is for, its algorithm and its use, in the order of the list."""
    return [(row[1], row[2], row[-1]) for row in map(str.split, say(app, "list").splitlines()[1:])]


def test_both_kinds_of_keys_are_listed_and_each_is_rotated_by_itself(app: Flask, settings: Settings, clock: Traveller) -> None:
    with app.app_context():
        for algorithm in (RS256, ES256):
            IdTokenKeys(settings).ensure(algorithm)
    of_access, es256, rs256 = (("access-tokens", "EdDSA"), ("id-tokens", "ES256"), ("id-tokens", "RS256"))
    assert listed(app) == [(*of_access, "signs"), (*es256, "signs"), (*rs256, "signs")]

    said = say(app, "rotate", "--for", "id-tokens", "--ahead", "10").splitlines()
    assert [line.split()[1] for line in said] == ["(ES256)", "(RS256)"]
    assert [use for *_, use in listed(app)] == ["signs", "signs", "next", "signs", "next"]
    clock.shift(timedelta(minutes=20))
    assert [use for *_, use in listed(app)] == ["signs", "over", "signs", "over", "signs"]

    assert "(EdDSA) signs from now on" in say(app, "rotate")
    assert [key for *key, use in listed(app) if use == "signs"] == [list(of_access), list(es256), list(rs256)]
    assert [key[0] for key in listed(app)] == ["access-tokens"] * 2 + ["id-tokens"] * 4


def test_without_apps_there_is_no_key_of_id_tokens_to_rotate(app: Flask) -> None:
    assert "no key for id tokens yet" in say(app, "rotate", "--for", "id-tokens")
    assert listed(app) == [("access-tokens", "EdDSA", "signs")]
