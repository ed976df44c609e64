import express from "express";

const { LOGIN_URL, LOGIN_CLIENT_ID: client_id, LOGIN_CLIENT_SECRET: client_secret, PORT } = process.env;
const form = (action, label, id = "") =>
  `<form method=post action="${action}"><input name=typed aria-label="${label}"><input type=hidden name=id value="${id}"></form>`;
const grant = new URLSearchParams({ grant_type: "client_credentials", client_id, client_secret });

async function send(request, path, token, body) {
  const headers = { "accept-language": request.get("accept-language") ?? "en" };
  if (token) Object.assign(headers, { authorization: `Bearer ${token}`, "content-type": "application/json" });
  const answer = await fetch(LOGIN_URL + path, { method: body ? "POST" : "GET", headers, body });
  if (answer.ok) return answer.json();
  const { errors = {}, detail, error_description } = await answer.json();
  throw { status: answer.status, said: Object.values(errors).flat().join(" ") || detail || error_description };
}
const clientToken = async (request) => (await send(request, "/oauth/token", null, grant)).access_token;

const app = express().set("env", "production").use(express.urlencoded()); // "production": no error shows a stack
app.get("/", (request, response) => response.send(form("/number", "Telephone number")));
app.post("/number", async (request, response) => {
  const person = JSON.stringify({ telephone_number: request.body.typed, end_user_address: request.ip });
  response.send(form("/code", "Code", (await send(request, "/api/v1/auth/signup/", await clientToken(request), person)).verification_id));
});
app.post("/code", async (request, response) => {
  const proof = JSON.stringify({ verification_id: request.body.id, code: request.body.typed });
  const { access_token } = await send(request, "/api/v1/auth/code/", await clientToken(request), proof);
  const { id } = await send(request, "/api/v1/users/me/", access_token);
  const person = await send(request, `/api/v1/users/${id}/`, await clientToken(request));
  response.send(`You are ${person.invite_code}, with the id ${person.id}.`);
});
app.use((error, _, response, next) => (error.said ? response.status(error.status).type("text").send(error.said) : next(error)));
app.listen(PORT, "127.0.0.1");
