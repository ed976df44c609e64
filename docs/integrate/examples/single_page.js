const HAMMER = document.querySelector("meta[name=hammer]").content;
const READ = "hammer"; // the key in localStorage, which all tabs share, and the name of the lock

/** The answer to one request. Throws the problem document of a refusal. */
async function send(method, path, { body, token } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) Object.assign(headers, { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() });
  const answer = await fetch(`${HAMMER}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const read = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw read;
  return read;
}

const kept = () => JSON.parse(localStorage.getItem(READ));

function keep(answer) {
  const tokens = { ...kept(), ...answer, ends: Date.now() + (answer.expires_in - 60) * 1000 };
  localStorage.setItem(READ, JSON.stringify(tokens));
  return tokens;
}

/** An access token that is good for a minute or more. One tab refreshes at a time: a refresh token works once. */
function accessToken() {
  return navigator.locks.request(READ, async () => {
    const { access_token, refresh_token, ends } = kept();
    if (Date.now() < ends) return access_token;
    return keep(await send("POST", "/auth/refresh/", { body: { refresh_token } })).access_token;
  });
}

/** One call as the person who is signed in. */
async function call(method, path, body) {
  try {
    return await send(method, path, { body, token: await accessToken() });
  } catch (problem) {
    if (problem.type?.endsWith("/not-signed-in")) forget();
    throw problem;
  }
}

/** Signs this browser out. What marks it as a known device stays. */
function forget() {
  localStorage.setItem(READ, JSON.stringify({ device_token: kept()?.device_token }));
}

function show(name, said = "") {
  for (const form of document.forms) form.hidden = form.id !== name;
  document.querySelector("#said").textContent = said;
}

/** Does `step` with what is typed into the form, and shows what went wrong. */
function onSubmit(name, step) {
  document.forms[name].addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await step(new FormData(event.target).get("typed"));
    } catch (problem) {
      const sentences = Object.values(problem.errors ?? {}).flat();
      show(problem.attempts_left === 0 ? "number" : name, sentences.join(" ") || problem.detail || "There is no connection. Try again.");
    }
  });
}

let verification_id;

onSubmit("number", async (telephone_number) => {
  const device_token = kept()?.device_token;
  ({ verification_id } = await send("POST", "/auth/signup/", { body: { telephone_number, device_token } }));
  show("code", "The code is on its way.");
});
onSubmit("code", async (code) => {
  keep(await send("POST", "/auth/code/", { body: { verification_id, code } }));
  await start();
});
onSubmit("person", async () => {
  await call("POST", "/auth/logout/").finally(forget);
  show("number");
});

async function start() {
  if (!kept()?.refresh_token) return show("number");
  const me = await call("GET", "/users/me/");
  show("person", `You are ${me.telephone_number}.`);
}

start().catch(() => show(kept()?.refresh_token ? "person" : "number", "Hammer cannot be reached."));
