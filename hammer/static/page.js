// What every page does: a press is answered at once, a form is sent once, and a typing error is shown before the form is sent.
"use strict";

// A page that answers a form takes the place of its address in the history: coming back to it, or loading it again, asks for the page
// and not whether to send the form once more.
if ("answers" in document.currentScript.dataset) history.replaceState(null, "", location.href);

const FORGET_AFTER = 10_000; // a request that failed and left the page where it is: its form can be sent again

function release(form) {
  clearTimeout(form.waiting);
  form.waiting = undefined;
  for (const button of form.elements) button.removeAttribute("aria-busy");
}

// Enter in a field presses a button that cannot be seen. The answer belongs on the one that stands beside the field.
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
  form.waiting = setTimeout(release, FORGET_AFTER, form);
  pressed(form, event.submitter)?.setAttribute("aria-busy", "true");
}, true);
addEventListener("pageshow", () => { for (const form of document.forms) release(form); });

// Whether what stands in a field may still become right. Only what surely cannot is said: a value that is too short may grow, and of a
// text that was pasted whole the server finds the number or code that is meant.
const LATIN_OR_ALIKE = "A-Za-zАВЕКМНОРСТУХЅІЈавекмнорстухѕіј";
const MAY_BECOME = {
  code: (text, field) => {
    const words = text.replace(/@\S+/g, " ").replace(/(?<=\p{Nd}{2})[\s\p{Pd}](?=\p{Nd}{2})/gu, "") // groups, as in "Code: 24 63"
      .split(/[^\p{L}\p{Nd}+]+/u).filter((word) => /\p{Nd}/u.test(word));
    const digits = text.replace(/[\s\p{Pd}\p{Cf}]/gu, "");
    return (/^\p{Nd}*$/u.test(digits) && digits.length <= field.size) || (words.length === 1 && /^\p{Nd}+$/u.test(words[0]) && words[0].length === field.size);
  },
  phone: (text) => {
    const digits = text.replace(/\P{Nd}/gu, "");
    const again = /\p{Nd}\P{Nd}/u.test(text) && digits.indexOf(digits.slice(-7)) < digits.length - 7; // one number, named twice
    return /\p{L}/u.test(text) ? digits.length >= 7 : digits.length <= 17 || again;
  },
  invite: (text) =>
    new RegExp(`^[^\\p{L}\\p{Nd}]*([${LATIN_OR_ALIKE}\\p{Nd}][^\\p{L}\\p{Nd}]*){0,6}$`, "u").test(text) || /[/:]|\S\s+\S+\s+\S/.test(text)
    || (/\S\s+\S/.test(text) && /(?<![\p{L}\p{Nd}])[A-Za-z\p{Nd}]{6}(?![\p{L}\p{Nd}])/u.test(text)), // with a word beside it
  username: (text) => /^(\s*|\s*[A-Za-z][\w.-]{0,29}\s*)$/.test(text),
};

addEventListener("input", ({ target }) => {
  const said = document.querySelector(`[data-typing="${target.id}"]`);
  if (said) said.textContent = MAY_BECOME[said.dataset.rule](target.value.normalize("NFKC"), target) ? "" : said.dataset.wrong;
});
