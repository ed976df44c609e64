// The code form: sends itself when the code is complete, takes the code from the text, and counts down to the next text.
"use strict";

const field = document.querySelector("input.slots");
const again = document.querySelector("button[data-wait]");
const hearing = new AbortController();
let sent = false;

function sendWhenComplete() {
  const digits = field.value.replace(/[\s\-\u2010-\u2015]/g, "");
  if (/^\d+$/.test(digits) && digits.length === field.size && !sent) field.form.requestSubmit();
}

async function readTheText() {
  try {
    const text = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal: hearing.signal });
    if (text && text.code) {
      field.value = text.code;
      sendWhenComplete();
    }
  } catch {
    // Declined, or no text came: the person types.
  }
}

function countDown() {
  const label = again.textContent;
  const until = Date.now() + Number(again.dataset.wait) * 1000;
  const sentence = document.getElementById("wait");
  if (sentence) sentence.hidden = true;

  function tick() {
    const left = Math.ceil((until - Date.now()) / 1000);
    again.disabled = left > 0;
    const time = Math.floor(left / 60) + ":" + String(left % 60).padStart(2, "0");
    again.textContent = left > 0 ? again.dataset.waiting.replace("0:00", time) : label;
    if (left > 0) setTimeout(tick, 250);
  }
  tick();
}

if (field) {
  field.select();
  field.addEventListener("input", sendWhenComplete);
  field.form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
    hearing.abort();
  });
  addEventListener("pageshow", () => { sent = false; });
  if ("OTPCredential" in window) readTheText();
}
if (again) countDown();
