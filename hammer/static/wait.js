// Counts down whatever has to be waited for: in a sentence, or on a button that becomes ready in the end.
"use strict";

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

document.querySelectorAll("[data-wait]").forEach(countDown);
