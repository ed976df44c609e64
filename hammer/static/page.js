// On every page: a press shows its effect at once, a form is sent once, and a typing error is shown before the form is sent.
"use strict";

// A page that answers a form replaces the form's entry in the history. Going back to it, or reloading it, requests the page; the browser
// does not ask whether to send the form again.
if ("answers" in document.currentScript.dataset) history.replaceState(null, "", location.href);

const RELEASE_AFTER = 10_000; // milliseconds; when a request failed and the page stayed, its form can be sent again

function release(form) {
  clearTimeout(form.waiting);
  form.waiting = undefined;
  for (const button of form.elements) button.removeAttribute("aria-busy");
}

// Enter in a field presses a button that is not visible. The visible button beside the field turns busy instead.
function pressed(form, submitter) {
  if (submitter && !submitter.matches(".by-enter")) return submitter;
  const around = document.activeElement.closest(".fields") ?? form;
  return around.querySelector("button:not([type=button])");
}

addEventListener("submit", (event) => {
  const form = event.target;
  if (form.waiting) {
    event.preventDefault();
    return;
  }
  form.waiting = setTimeout(release, RELEASE_AFTER, form);
  pressed(form, event.submitter)?.setAttribute("aria-busy", "true");
}, true);
addEventListener("pageshow", () => { for (const form of document.forms) release(form); });

// Whether the value of a field can still become valid. Only a value that cannot is an error: a short one can grow, and the server finds
// the number or code in a message that was pasted whole.
const LATIN_OR_LOOKALIKE = "A-Za-zАВЕКМНОРСТУХЅІЈавекмнорстухѕіј";
const MAY_BECOME = {
  code: (text, field) => {
    if (/@\S+ #\p{Nd}{4,8}( [\w+/]{11})?\s*$/u.test(text)) return true; // the end of a whole message of ours
    const words = text.replace(/@\S+/g, " ").replace(/(?<=\p{Nd}{2})[\s\p{Pd}](?=\p{Nd}{2})/gu, "") // groups, as in "Code: 24 63"
      .split(/[^\p{L}\p{Nd}+]+/u).filter((word) => /\p{Nd}/u.test(word));
    const digits = text.replace(/[\s\p{Pd}\p{Cf}]/gu, "");
    return (/^\p{Nd}*$/u.test(digits) && digits.length <= field.size) || (words.length === 1 && /^\p{Nd}+$/u.test(words[0]) && words[0].length === field.size);
  },
  phone: (text) => {
    const digits = text.replace(/\P{Nd}/gu, "");
    const twice = /\p{Nd}\P{Nd}/u.test(text) && digits.indexOf(digits.slice(-7)) < digits.length - 7; // the same number, given twice
    return /\p{L}/u.test(text) ? digits.length >= 7 : digits.length <= 17 || twice;
  },
  invite: (text) =>
    new RegExp(`^[^\\p{L}\\p{Nd}]*([${LATIN_OR_LOOKALIKE}\\p{Nd}][^\\p{L}\\p{Nd}]*){0,6}$`, "u").test(text) || /[/:]|\S\s+\S+\s+\S/.test(text)
    || (/\S\s+\S/.test(text) && /(?<![\p{L}\p{Nd}])[A-Za-z\p{Nd}]{6}(?![\p{L}\p{Nd}])/u.test(text)), // with a word beside it
  username: (text) => /^(\s*|\s*[A-Za-z][\w.-]{0,29}\s*)$/.test(text),
};

addEventListener("input", ({ target }) => {
  const message = document.querySelector(`[data-typing="${target.id}"]`);
  if (message) message.textContent = MAY_BECOME[message.dataset.rule](target.value.normalize("NFKC"), target) ? "" : message.dataset.wrong;
});
