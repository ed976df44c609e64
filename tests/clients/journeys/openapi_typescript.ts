// Two people sign in, and one activates the other's invite code: with openapi-fetch on the types that openapi-typescript makes.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

const [baseUrl, ANNA, BORIS] = process.argv.slice(2);

async function signIn(telephone_number: string): Promise<components["schemas"]["SignedInOut"]> {
  const client = createClient<paths>({ baseUrl });
  const { data: sent } = await client.POST("/api/v1/auth/signup/", { body: { telephone_number } });
  assert(sent);
  const code = sent["Ваш код активации"];
  const { data } = await client.POST("/api/v1/auth/code/", { body: { verification_id: sent.verification_id, code } });
  assert(data);
  return data;
}

async function journey(): Promise<void> {
  const [anna, boris] = [await signIn(ANNA), await signIn(BORIS)];
  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${boris.access_token}` } });
  const params = { path: { username: "me" } };
  const { data: me } = await client.GET("/api/v1/users/{username}/", { params });
  assert.deepEqual([me?.telephone_number, me?.invite_code, me?.activated_invite_code], [BORIS, boris.invite_code, null]);
  const own = { invite_code: boris.invite_code };
  const { error } = await client.POST("/api/v1/users/{username}/invite/", { params, body: own });
  assert(error);
  const type: components["schemas"]["Problem"]["type"] = error.type;
  assert.equal(type, "/problems/own-invite");
  const hers = { invite_code: anna.invite_code };
  const { data: activated } = await client.POST("/api/v1/users/{username}/invite/", { params, body: hers });
  assert.equal(activated?.activated_invite_code, anna.invite_code);
}

void journey();
