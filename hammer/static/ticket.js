// The buttons under the invite ticket, which need scripts: share the link, copy it, print the ticket.
"use strict";

const actions = document.querySelector(".actions");
const result = actions.querySelector("output");
const { link, title, text } = actions.dataset;

function copyWithoutClipboard() {
  const field = document.createElement("textarea");
  field.value = link;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}

async function copy() {
  let copied = true;
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    copied = copyWithoutClipboard(); // there is no clipboard without https, or it is not allowed
  }
  result.className = copied ? "" : "failed";
  result.textContent = copied ? result.dataset.copied : result.dataset.failed;
  result.scrollIntoView({ block: "nearest" });
}

async function share() {
  try {
    await navigator.share({ title, text, url: link });
  } catch (error) {
    if (error.name !== "AbortError") await copy();
  }
}

const run = { copy, share, print: () => window.print() };
for (const button of actions.querySelectorAll("button")) {
  button.addEventListener("click", run[button.dataset.action]);
}
if (!navigator.share) {
  const [shares, copies] = actions.querySelectorAll("button");
  shares.hidden = true;
  copies.classList.toggle("quiet", shares.classList.contains("quiet")); // without sharing, copying is the main button
}
actions.hidden = false;
