// Two people sign in, one activates the other's invite code, and a client asks for a code for its user: with the client that openapi-generator makes for TypeScript.
import assert from "node:assert/strict";
import {
  AuthApi,
  Configuration,
  ProblemFromJSON,
  ProblemTypeEnum,
  ResponseError,
  type SignedInOut,
  UsersApi,
} from "./fetch_client";

const [basePath, ANNA, BORIS, CLIENT_TOKEN] = process.argv.slice(2);

async function signIn(telephoneNumber: string): Promise<SignedInOut> {
  const auth = new AuthApi(new Configuration({ basePath }));
  const sent = await auth.signupRaw({ signupIn: { telephoneNumber }, acceptLanguage: "en" });
  const { "Ваш код активации": code } = await sent.raw.clone().json();
  const { verificationId } = await sent.value();
  return auth.confirmCode({ codeIn: { verificationId, code } });
}

async function journey(): Promise<void> {
  const [anna, boris] = [await signIn(ANNA), await signIn(BORIS)];
  const users = new UsersApi(new Configuration({ basePath, accessToken: boris.accessToken }));
  const me = await users.showUser({ username: "me" });
  assert.deepEqual([me.telephoneNumber, me.inviteCode, me.activatedInviteCode], [BORIS, boris.inviteCode, null]);
  const refused = await users
    .activateInviteCode({ username: "me", inviteIn: { inviteCode: boris.inviteCode } })
    .catch((error: unknown) => error);
  assert(refused instanceof ResponseError);
  assert.equal(refused.response.status, 422);
  assert.equal(ProblemFromJSON(await refused.response.json()).type, ProblemTypeEnum.OWN_INVITE);
  const activated = await users.activateInviteCode({ username: "me", inviteIn: { inviteCode: anna.inviteCode } });
  assert.equal(activated.activatedInviteCode, anna.inviteCode);

  const accessToken = (name?: string): string => (name === "client" ? `Bearer ${CLIENT_TOKEN}` : CLIENT_TOKEN);
  const ofTheClient = new AuthApi(new Configuration({ basePath, accessToken }));
  const sent = await ofTheClient.signup({ signupIn: { telephoneNumber: ANNA, endUserAddress: "203.0.113.7" } });
  assert.equal(sent.telephoneNumber, ANNA);
}

void journey();
