// A page that answers a form takes the place of its address in the history: coming back to it, or loading it anew, asks for the page
// and not whether to send the form once more.
"use strict";

history.replaceState(null, "", location.href);
