import express from "express";

const { LOGIN_URL, LOGIN_CLIENT_ID, LOGIN_CLIENT_SECRET, PORT } = process.env;
const form = (action, label, id = "") =>
  `<form method="post" action="${action}"><input name="typed" aria-label="${label}"><input type="hidden" name="id" value="${id}"></form>`;

async function send(method, path, authorization, type, body) {
  const answer = await fetch(LOGIN_URL + path, { method, body, headers: { authorization, "content-type": type } });
  const read = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(read.detail), { status: answer.status, expose: true });
  return read;
}
const call = (method, path, token, body) =>
  send(method, `/api/v1${path}`, `Bearer ${token}`, "application/json", body && JSON.stringify(body));
const clientToken = async () =>
  (await send("POST", "/oauth/token", `Basic ${btoa(`${LOGIN_CLIENT_ID}:${LOGIN_CLIENT_SECRET}`)}`,
    "application/x-www-form-urlencoded", "grant_type=client_credentials")).access_token;

const app = express().use(express.urlencoded());
app.get("/", (request, response) => response.send(form("/number", "Telephone number")));
app.post("/number", async (request, response) => {
  const person = { telephone_number: request.body.typed, end_user_address: request.ip };
  response.send(form("/code", "Code", (await call("POST", "/auth/signup/", await clientToken(), person)).verification_id));
});
app.post("/code", async (request, response) => {
  const proof = { verification_id: request.body.id, code: request.body.typed };
  const { access_token } = await call("POST", "/auth/code/", await clientToken(), proof);
  const { id } = await call("GET", "/users/me/", access_token);
  const person = await call("GET", `/users/${id}/`, await clientToken());
  response.send(`You are ${person.invite_code}, with the id ${person.id}.`);
});
app.listen(PORT, "127.0.0.1");
