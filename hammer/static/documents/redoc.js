// Draws the document with ReDoc, which would otherwise tell its makers about each visit.
import { init } from "/documents/redoc.js";

// ReDoc's only image is the logo of its makers, on their server. No option leaves it out, so no image gets an address here.
HTMLImageElement.prototype.setAttribute = () => {};
Object.defineProperty(HTMLImageElement.prototype, "src", { set() {} });

const place = document.getElementById("document");
init(place.dataset.url, { disableTelemetry: true, hideDownloadButtons: true }, place);
