// The buttons under the invite ticket, which need scripts: copy the link, share it, print the ticket.
"use strict";

const deeds = document.querySelector(".deeds");
const said = deeds.querySelector("output");
const { link, title, text } = deeds.dataset;

function copyAsOfOld() {
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
    copied = copyAsOfOld(); // no clipboard without https, or not allowed
  }
  said.className = copied ? "" : "failed";
  said.textContent = copied ? said.dataset.copied : said.dataset.failed;
  said.scrollIntoView({ block: "nearest" });
}

async function share() {
  try {
    await navigator.share({ title, text, url: link });
  } catch (refusal) {
    if (refusal.name !== "AbortError") await copy();
  }
}

const doing = { copy, share, print: () => window.print() };
for (const button of deeds.querySelectorAll("button")) {
  button.addEventListener("click", doing[button.dataset.deed]);
}
if (!navigator.share) {
  const [shares, copies] = deeds.querySelectorAll("button");
  shares.hidden = true;
  copies.classList.toggle("quiet", shares.classList.contains("quiet")); // then copying is how one shares
}
deeds.hidden = false;
