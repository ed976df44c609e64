// The code form: takes the code from the text where the browser can, and sends itself when the code is complete.
"use strict";

const field = document.querySelector("input.slots");
const hearing = new AbortController();
let sent = false;
let begun = field.defaultValue === "" && field.value.length < field.size;
// A code that stands there whole is mended, and whoever mends some digits of it sends it themselves: half mended it would cost a try.

function sendWhenComplete() {
  const typed = field.value.replace(/[\s\-\u2010-\u2015]/g, "");
  const digits = /^\d*$/.test(typed) ? [typed] : field.value.match(/\d+/g) ?? []; // which of a whole text's are its code is read by us
  if (begun && digits.some(({ length }) => length === field.size)) field.form.requestSubmit();
}

async function readTheText() {
  try {
    const text = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal: hearing.signal });
    if (text && text.code) {
      field.value = text.code;
      begun = true;
      sendWhenComplete();
    }
  } catch {
    // Declined, or no text came: the person types.
  }
}

// Whoever changes a field that sends itself is told so before (WCAG 3.2.2).
const hint = document.getElementById("itself");
if (hint && begun) {
  hint.hidden = false;
  field.setAttribute("aria-describedby", [field.getAttribute("aria-describedby"), hint.id].filter(Boolean).join(" "));
}

// A wrong code is there to be replaced, digits that were kept to go on from. `select` would take the focus before `autofocus` does,
// and browsers complain.
field.setSelectionRange(field.hasAttribute("aria-invalid") ? 0 : field.value.length, field.value.length);
field.addEventListener("input", ({ inputType, data }) => {
  const atOnce = !inputType || ["insertFromPaste", "insertReplacementText"].includes(inputType) || data?.length >= field.size;
  if (atOnce || field.value.length < 2) begun = true;
  sendWhenComplete();
});
field.form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault();
  sent = true;
  hearing.abort();
});
addEventListener("pageshow", () => { sent = false; });
if ("OTPCredential" in window) readTheText();
