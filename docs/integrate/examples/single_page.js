const HAMMER = document.querySelector("meta[name=hammer]").content;

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

/** One read or write of what all tabs share. Not localStorage: a tab can read there what another one has just replaced. */
function stored(mode, act) {
  return new Promise((resolve, reject) => {
    const opened = indexedDB.open("hammer", 1);
    opened.onupgradeneeded = () => opened.result.createObjectStore("kept");
    opened.onerror = () => reject(opened.error);
    opened.onsuccess = () => {
      const transaction = opened.result.transaction("kept", mode);
      const asked = act(transaction.objectStore("kept"));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = () => reject(transaction.error);
      opened.result.close();
    };
  });
}

const kept = async () => (await stored("readonly", (store) => store.get("tokens"))) ?? {};
const keep = (tokens) => stored("readwrite", (store) => store.put(tokens, "tokens"));
const withEnd = (answer) => ({ ...answer, ends: Date.now() + (answer.expires_in - 60) * 1000 });

/** An access token that is good for a minute or more. One tab refreshes at a time: a refresh token works once. */
function accessToken() {
  return navigator.locks.request("hammer", async () => {
    const tokens = await kept();
    if (Date.now() < tokens.ends) return tokens.access_token;
    const pair = await send("POST", "/auth/refresh/", { body: { refresh_token: tokens.refresh_token } });
    await keep({ ...tokens, ...withEnd(pair) });
    return pair.access_token;
  });
}

/** One call as the person who is signed in. */
async function call(method, path, body) {
  try {
    return await send(method, path, { body, token: await accessToken() });
  } catch (problem) {
    if (problem.type?.endsWith("/not-signed-in")) await forget();
    throw problem;
  }
}

/** Signs this browser out. What marks it as a known device stays. */
async function forget() {
  await keep({ device_token: (await kept()).device_token });
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
  const { device_token } = await kept();
  ({ verification_id } = await send("POST", "/auth/signup/", { body: { telephone_number, device_token } }));
  show("code", "The code is on its way.");
});
onSubmit("code", async (code) => {
  await keep(withEnd(await send("POST", "/auth/code/", { body: { verification_id, code } })));
  await start();
});
onSubmit("person", async () => {
  await call("POST", "/auth/logout/").finally(forget);
  show("number");
});

async function start() {
  if (!(await kept()).refresh_token) return show("number");
  const me = await call("GET", "/users/me/");
  show("person", `You are ${me.telephone_number}.`);
}

start().catch((problem) => show(problem.type?.endsWith("/not-signed-in") ? "number" : "person", problem.detail ?? "There is no connection."));
