// Draws the document with ReDoc, which would otherwise tell its makers about each visit.
import { init } from "/documents/redoc.js";

const place = document.getElementById("document");
init(place.dataset.url, { disableTelemetry: true, hideDownloadButtons: true }, place);
