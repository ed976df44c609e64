// Checks access tokens of Hammer with node alone. Each line of standard input is a token; prints its `sub`, or "refused".
import { verify } from "node:crypto";
import { createInterface } from "node:readline";

const HAMMER = process.env.LOGIN_URL; // exactly HAMMER_PUBLIC_URL of the server, with no slash at the end
const LIVES = 300_000, PAUSE = 30_000; // milliseconds: how long keys are good, and between two fetches for unknown ones
let keys = [], fetched = -Infinity;

async function keyOf(kid) {
  const age = Date.now() - fetched;
  if (age > LIVES || (age > PAUSE && !keys.some((key) => key.kid === kid))) {
    const answer = await fetch(`${HAMMER}/.well-known/jwks.json`, { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`Hammer answered ${answer.status}`);
    ({ keys } = await answer.json());
    fetched = Date.now();
  }
  return keys.find((key) => key.kid === kid && key.kty === "OKP" && key.crv === "Ed25519");
}

/** The claims of a valid token of a person; null for every other token. */
async function check(token) {
  const parts = token.split(".");
  const [header, claims] = parts.slice(0, 2).map(read);
  if (parts.length !== 3 || header?.alg !== "EdDSA" || header.typ !== "at+jwt" || header.crit) return null;
  const key = await keyOf(header.kid);
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`), signature = Buffer.from(parts[2], "base64url");
  if (!key || !verify(null, signed, { key, format: "jwk" }, signature)) return null;
  const good = claims.iss === HAMMER && claims.aud === HAMMER && claims.exp > Date.now() / 1000 - 30 && claims.sid && claims.sub;
  return good ? claims : null;
}

function read(part) {
  try {
    return JSON.parse(Buffer.from(part, "base64url"));
  } catch {
    return null;
  }
}

for await (const token of createInterface({ input: process.stdin })) console.log((await check(token))?.sub ?? "refused");
