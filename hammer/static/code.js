// The code form: reads the code from the text message where the browser can, sends itself when the code is complete, and is replaced by
// the offer of a new code when the code expires.
"use strict";

const field = document.querySelector("input.slots");
const offer = document.querySelector("template");
const waitingForText = new AbortController();
let sendsItself = field.defaultValue === "" && field.value.length < field.size;
// A complete code that was refused is edited digit by digit. Then the person presses the button: a half edited code would cost a guess.

function sendWhenComplete() {
  const text = field.value.normalize("NFKC");
  const typed = text.replace(/[\s\p{Pd}\p{Cf}]/gu, "");
  // When a whole message was pasted, the server finds the code in it.
  const digits = /^\p{Nd}*$/u.test(typed) ? [typed] : text.match(/\p{Nd}+/gu) ?? [];
  if (sendsItself && digits.some(({ length }) => length === field.size)) field.form.requestSubmit();
}

function fill(code) {
  field.value = code;
  sendsItself = true;
  sendWhenComplete();
}

async function readText() {
  try {
    const text = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal: waitingForText.signal });
    if (text && text.code) fill(text.code);
  } catch {
    // Declined, or no message came: the person types.
  }
}

// The hint says that the field sends itself before the person changes it (WCAG 3.2.2).
const hint = document.getElementById("itself");
if (hint && sendsItself) hint.hidden = false;

const demo = document.querySelector("[data-code]");
if (demo) {
  demo.hidden = false;
  demo.addEventListener("click", () => fill(demo.dataset.code));
}

// Selects a wrong code, so that typing replaces it; after digits that were kept, puts the cursor at their end. `select` would take the
// focus before `autofocus` does, and browsers warn about that.
field.setSelectionRange(field.hasAttribute("aria-invalid") ? 0 : field.value.length, field.value.length);
field.addEventListener("input", ({ inputType, data }) => {
  const atOnce = !inputType || ["insertFromPaste", "insertReplacementText"].includes(inputType) || data?.length >= field.size;
  if (atOnce || field.value.length < 2) sendsItself = true;
  sendWhenComplete();
});
field.form.addEventListener("submit", () => waitingForText.abort());
if ("OTPCredential" in window) readText();

const end = Date.now() + Number(offer.dataset.after) * 1000;
(function check() {
  if (Date.now() < end || field.form.waiting) {
    setTimeout(check, 500);
    return;
  }
  waitingForText.abort();
  const main = document.querySelector("main");
  main.replaceChildren(offer.content);
  document.title = offer.dataset.title;
  main.focus();
})();
