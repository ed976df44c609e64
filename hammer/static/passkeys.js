// Passkeys: the form appears where the browser has them. Its button asks the authenticator, and the form carries the answer.
"use strict";

const LIFETIME = 290_000; // milliseconds; the challenge of a page ends after five minutes
const form = document.querySelector("form[data-options]");
const problem = document.createElement("p");
problem.setAttribute("role", "alert");
let asking = false;

function ask() {
  const options = JSON.parse(form.dataset.options);
  return "adds" in form.dataset
    ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
    : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
}

async function answer(event) {
  // The language buttons send the form too: then it is only shown again. page.js prevents a second press.
  if (event.submitter?.name === "lang") return;
  event.preventDefault();
  if (asking) return;
  if (performance.now() > LIFETIME) {
    location.reload();
    return;
  }
  asking = true;
  problem.remove();
  try {
    form.elements.passkey.value = JSON.stringify(await ask());
    form.submit();
  } catch (error) {
    problem.textContent = error.name === "InvalidStateError" ? form.dataset.known : form.dataset.failed;
    form.querySelector("button").before(problem);
    release(form); // of page.js
  }
  asking = false;
}

const available = "parseRequestOptionsFromJSON" in (window.PublicKeyCredential ?? {});
for (const part of document.querySelectorAll("[data-passkeys]")) part.hidden = (part.dataset.passkeys === "none") === available;
form?.addEventListener("submit", answer);

// What the authenticator shall forget.
for (const { dataset: { signal, about } } of document.querySelectorAll("[data-signal]")) {
  window.PublicKeyCredential?.[signal]?.(JSON.parse(about)).catch(() => {});
}
