// Writes moments and waits in the reader's time zone, which only the browser knows: "yesterday at 14:05", "good until 14:35", "in 0:48".
"use strict";

const { today, yesterday, earlier } = document.currentScript.dataset;
const language = document.documentElement.lang;
const locale = navigator.languages.find((one) => one.split("-")[0] === language) || language;
const hour = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" });

function midnight(daysAgo) {
  const now = new Date();
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysAgo);
}

function write(place) {
  const then = new Date(place.dateTime);
  const year = then.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  place.title = full.format(then);
  if (Date.now() - then > 3600 * 1000) {
    place.textContent = then >= midnight(0) ? today.replace("0:00", hour.format(then))
      : then >= midnight(1) ? yesterday.replace("0:00", hour.format(then))
      : (place.dataset.minute === undefined ? "DAY" : earlier.replace("0:00", hour.format(then)))
        .replace("DAY", then.toLocaleDateString(locale, { day: "numeric", month: "long", year }));
  }
}

// Counts a wait down, in a sentence or on a button. The button can be pressed when the wait is over.
function countDown(place) {
  const { wait, waiting, ready } = place.dataset;
  const label = ready || place.textContent;
  const until = Date.now() + Number(wait) * 1000;

  function tick() {
    const left = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    const [hours, minutes, seconds] = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60];
    const time = [...(hours ? [hours, String(minutes).padStart(2, "0")] : [minutes]), String(seconds).padStart(2, "0")].join(":");
    if (place.localName === "button") place.disabled = left > 0;
    place.textContent = left > 0 ? waiting.replace("0:00", time) : label;
    if (left > 0) setTimeout(tick, 250);
  }
  tick();
}

function writeUntil(place) {
  place.textContent = place.dataset.sentence.replace("0:00", hour.format(Date.now() + Number(place.dataset.until) * 1000));
}

document.querySelectorAll("time[datetime]").forEach(write);
document.querySelectorAll("[data-wait]").forEach(countDown);
document.querySelectorAll("[data-until]").forEach(writeUntil);
