// The box that selects all rows of a page.
"use strict";

const all = document.querySelector("[data-all]");
const boxes = [...document.querySelectorAll("[name=ids]")];

all?.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; });
for (const box of boxes) box.addEventListener("change", () => { all.checked = boxes.every((each) => each.checked); });
