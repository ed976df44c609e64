"""Two people sign in, and one activates the other's invite code: with the client that openapi-generator makes for Python."""

import json
import sys

from hammer_client import (
    ApiClient,
    ApiException,
    AuthApi,
    CodeIn,
    Configuration,
    InviteIn,
    Problem,
    SignedInOut,
    SignupIn,
    UsersApi,
)

SERVER, ANNA, BORIS = sys.argv[1:]


def sign_in(number: str) -> SignedInOut:
    auth = AuthApi(ApiClient(Configuration(host=SERVER)))
    sent = auth.signup_with_http_info(SignupIn(telephone_number=number), accept_language="en")
    code = json.loads(sent.raw_data)["Ваш код активации"]
    return auth.confirm_code(CodeIn(verification_id=sent.data.verification_id, code=code))


anna, boris = sign_in(ANNA), sign_in(BORIS)
users = UsersApi(ApiClient(Configuration(host=SERVER, access_token=boris.access_token)))
me = users.show_user("me")
assert (me.telephone_number, me.invite_code, me.activated_invite_code) == (BORIS, boris.invite_code, None)
try:
    users.activate_invite_code("me", InviteIn(invite_code=boris.invite_code))
except ApiException as error:
    refused = error
assert refused.status == 422
assert isinstance(refused.data, Problem)
assert refused.data.type == "/problems/own-invite"
assert users.activate_invite_code("me", InviteIn(invite_code=anna.invite_code)).activated_invite_code == anna.invite_code
