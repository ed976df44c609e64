// The code form: takes the code from the text where the browser can, sends itself when the code is complete, and gives way to the offer
// of a new code when its time is over.
"use strict";

const field = document.querySelector("input.slots");
const over = document.querySelector("template");
const hearing = new AbortController();
let begun = field.defaultValue === "" && field.value.length < field.size;
// A code that stands there whole is mended, and whoever mends some digits of it sends it themselves: half mended it would cost a try.

function sendWhenComplete() {
  const text = field.value.normalize("NFKC");
  const typed = text.replace(/[\s\p{Pd}\p{Cf}]/gu, "");
  // Which of a whole text's digits are its code is read by the server.
  const digits = /^\p{Nd}*$/u.test(typed) ? [typed] : text.match(/\p{Nd}+/gu) ?? [];
  if (begun && digits.some(({ length }) => length === field.size)) field.form.requestSubmit();
}

function fill(code) {
  field.value = code;
  begun = true;
  sendWhenComplete();
}

async function readTheText() {
  try {
    const text = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal: hearing.signal });
    if (text && text.code) fill(text.code);
  } catch {
    // Declined, or no text came: the person types.
  }
}

// Whoever changes a field that sends itself is told so before (WCAG 3.2.2).
const hint = document.getElementById("itself");
if (hint && begun) hint.hidden = false;

const demo = document.querySelector("[data-code]");
if (demo) {
  demo.hidden = false;
  demo.addEventListener("click", () => fill(demo.dataset.code));
}

// A wrong code is there to be replaced, digits that were kept to go on from. `select` would take the focus before `autofocus` does,
// and browsers complain.
field.setSelectionRange(field.hasAttribute("aria-invalid") ? 0 : field.value.length, field.value.length);
field.addEventListener("input", ({ inputType, data }) => {
  const atOnce = !inputType || ["insertFromPaste", "insertReplacementText"].includes(inputType) || data?.length >= field.size;
  if (atOnce || field.value.length < 2) begun = true;
  sendWhenComplete();
});
field.form.addEventListener("submit", () => hearing.abort());
if ("OTPCredential" in window) readTheText();

const end = Date.now() + Number(over.dataset.after) * 1000;
(function look() {
  if (Date.now() < end || field.form.waiting) {
    setTimeout(look, 500);
    return;
  }
  hearing.abort();
  const main = document.querySelector("main");
  main.replaceChildren(over.content);
  document.title = over.dataset.title;
  main.focus();
})();
