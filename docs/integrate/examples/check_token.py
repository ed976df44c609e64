"""Checks access tokens of Hammer without asking it. Needs PyJWT 2.15 or newer, with cryptography."""

import os

import jwt

HAMMER = os.environ["LOGIN_URL"]  # exactly HAMMER_PUBLIC_URL of the server, with no slash at the end
KEYS = jwt.PyJWKClient(f"{HAMMER}/.well-known/jwks.json", lifespan=300, timeout=5)
NEEDED = ["iss", "aud", "sub", "exp", "iat", "sid"]  # `sid`: of a person. The token of a client has `client_id` instead.


def person(authorization):
    """The `sub` of the person who calls, from the header `Authorization`.

    Raises `jwt.PyJWTError` for everyone else, and `ConnectionError` if the keys cannot be fetched: answer 503 then.
    """
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or jwt.get_unverified_header(token).get("typ") != "at+jwt":
        raise jwt.InvalidTokenError
    try:
        key = KEYS.get_signing_key_from_jwt(token)
    except jwt.PyJWKClientConnectionError as error:
        raise ConnectionError from error
    claims = jwt.decode(token, key, algorithms=["EdDSA"], issuer=HAMMER, audience=HAMMER, leeway=30, options={"require": NEEDED})
    return claims["sub"]
