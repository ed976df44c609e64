import { ExpressAuth, getSession } from "@auth/express";
import express from "express";
import { createRemoteJWKSet, decodeJwt, jwtVerify } from "jose";

const { LOGIN_URL, LOGIN_CLIENT_ID, LOGIN_CLIENT_SECRET, SITE_URL, SITE_SECRET, PORT } = process.env;
const ended = new Set(); // the `sid` of sessions that Hammer has ended. With several processes: a table, or Redis.

const hammer = {
  id: "hammer", // the end of the redirect URI: /auth/callback/hammer
  name: "Hammer",
  type: "oidc",
  issuer: LOGIN_URL,
  clientId: LOGIN_CLIENT_ID,
  clientSecret: LOGIN_CLIENT_SECRET,
  checks: ["pkce", "state", "nonce"],
  style: { logo: "" }, // without it, browsers ask authjs.dev for a picture
  authorization: { params: { scope: "openid profile phone" } },
  idToken: false, // ask /oauth/userinfo for names and number: the id token does not contain them
  profile: (claims) => ({ id: claims.sub, name: claims.name ?? claims.preferred_username ?? claims.phone_number }),
};

const config = {
  secret: SITE_SECRET,
  trustHost: true, // Hammer redirects to registered addresses only, so a forged `Host` gets no code
  providers: [hammer],
  callbacks: {
    jwt({ token, account, profile }) {
      if (!account) return ended.has(token.sid) ? null : token;
      return { name: token.name, sub: profile.sub, phone: profile.phone_number, sid: decodeJwt(account.id_token).sid };
    },
    session({ session, token }) {
      return { ...session, user: { id: token.sub, name: token.name, phone: token.phone } };
    },
  },
};

const app = express();
app.set("trust proxy", "loopback"); // a proxy on this machine states the scheme: X-Forwarded-Proto
app.get("/auth/signin", (request, response, next) => {
  if (!request.query.error) return next();
  response.send('<p>You are not signed in. <a href="/">Back</a></p>'); // a person who refused comes back here
});
app.use(/^\/auth\/(.*)/, ExpressAuth(config));

app.get("/", async (request, response) => {
  const session = await getSession(request, config);
  if (!session) return response.send('<p><a href="/auth/signin?callbackUrl=/">Sign in</a></p>');
  const { id, name } = session.user;
  response.send(`<p>You are ${escaped(name)}, with the id ${escaped(id)}. <a href="/auth/signout?callbackUrl=/out">Sign out</a></p>`);
});

app.get("/out", (_, response) => {
  const parameters = new URLSearchParams({ client_id: LOGIN_CLIENT_ID, post_logout_redirect_uri: `${SITE_URL}/` });
  response.redirect(303, `${LOGIN_URL}/oauth/logout?${parameters}`); // Hammer asks whether to sign out there, too
});

const keys = createRemoteJWKSet(new URL(`${LOGIN_URL}/.well-known/jwks.json`));
const expected = { issuer: LOGIN_URL, audience: LOGIN_CLIENT_ID, typ: "logout+jwt" };
const EVENT = "http://schemas.openid.net/event/backchannel-logout";
app.post("/ended", express.urlencoded(), async (request, response) => {
  const token = await jwtVerify(request.body?.logout_token ?? "", keys, expected).catch(() => null);
  if (!token?.payload.events?.[EVENT] || "nonce" in token.payload) return response.sendStatus(400);
  ended.add(token.payload.sid);
  response.sendStatus(200);
});

const escaped = (text) => String(text).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
app.listen(PORT, "127.0.0.1");
