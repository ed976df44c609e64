// Says when things were in the reader's own time zone, which only the browser knows: "yesterday at 14:05", "23 November".
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

for (const place of document.querySelectorAll("time[datetime]")) {
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
