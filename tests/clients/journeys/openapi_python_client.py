"""Two people sign in, and one activates the other's invite code: with the client that openapi-python-client makes."""

import sys
from typing import Any

from hammer_client import AuthenticatedClient, Client
from hammer_client.api.auth import confirm_code, signup
from hammer_client.api.users import activate_invite_code, show_user
from hammer_client.models import CodeIn, InviteIn, Problem, ProblemType, SignedInOut, SignupIn, UserOut, VerificationOut

SERVER, ANNA, BORIS = sys.argv[1:]


def sign_in(number: str) -> SignedInOut:
    client: Any = Client(SERVER)  # the generator reads a token that may be left out as one that may not
    sent = signup.sync(client=client, body=SignupIn(telephone_number=number), accept_language="en")
    assert isinstance(sent, VerificationOut)
    body = CodeIn(verification_id=sent.verification_id, code=sent["Ваш код активации"])
    signed_in = confirm_code.sync(client=client, body=body)
    assert isinstance(signed_in, SignedInOut)
    return signed_in


anna, boris = sign_in(ANNA), sign_in(BORIS)
program = AuthenticatedClient(SERVER, token=boris.access_token)
me = show_user.sync("me", client=program)
assert isinstance(me, UserOut)
assert (me.telephone_number, me.invite_code, me.activated_invite_code) == (BORIS, boris.invite_code, None)
problem = activate_invite_code.sync("me", client=program, body=InviteIn(invite_code=boris.invite_code))
assert isinstance(problem, Problem)
assert (problem.status, problem.type_) == (422, ProblemType.OWN_INVITE)
activated = activate_invite_code.sync("me", client=program, body=InviteIn(invite_code=anna.invite_code))
assert isinstance(activated, UserOut)
assert activated.activated_invite_code == anna.invite_code
