import express from "express";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const { LOGIN_URL, PORT } = process.env; // exactly HAMMER_PUBLIC_URL of the server, with no slash at the end
const keys = createRemoteJWKSet(new URL(`${LOGIN_URL}/.well-known/jwks.json`), { cacheMaxAge: 300_000 });

async function signedIn(request, response, next) {
  try {
    const [, token] = /^bearer ([^ ]+)$/i.exec(request.get("authorization") ?? "") ?? [];
    const { payload } = await jwtVerify(token ?? "", keys, {
      algorithms: ["EdDSA"],
      typ: "at+jwt",
      issuer: LOGIN_URL,
      audience: LOGIN_URL,
      clockTolerance: 30,
      requiredClaims: ["sub", "exp", "iat", "sid"], // `sid`: of a person. The token of a client has `client_id` instead.
    });
    request.sub = payload.sub;
  } catch (error) {
    if (!(error instanceof errors.JOSEError) || error instanceof errors.JWKSTimeout) throw error; // no keys: 500
    return response.status(401).set("WWW-Authenticate", "Bearer").json({ error: "Sign in first." });
  }
  next();
}

const app = express().set("env", "production"); // no error shows a stack
app.get("/orders", signedIn, (request, response) => response.json({ orders_of: request.sub }));
app.listen(PORT, "127.0.0.1");
