// Leads on to an app in place of this page, so that going back from the app does not lead on once more.
"use strict";

location.replace(document.getElementById("onward").href);
