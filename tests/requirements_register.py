"""What Hammer promises about security: each promise with its id, its level and a line. Tests name the ids that they prove.

MUST is what has to hold before anybody may call it secure, SHOULD what follows soon, LATER what is on the way. `waits` says why a
promise is not kept yet. `docs/security.md` is made from this by `make evidence`.
"""

from typing import Final, NamedTuple


class Requirement(NamedTuple):
    level: str
    promise: str
    waits: str = ""


_HOOKS: Final = "webhooks are not built yet"
_STAFF: Final = "the operator's pages are not built yet"
_PEOPLE: Final = "measured with assistive technology later"
_SECOND: Final = "there is no second factor yet"

GROUPS: Final = {
    "OTP": "One-time codes",
    "THR": "Guessing",
    "SMS": "Texts and what they cost",
    "PHN": "The number as identity",
    "TOK": "Tokens",
    "SES": "Sessions",
    "WEB": "The browser's side",
    "API": "The JSON API",
    "AZN": "Who may do what",
    "INV": "Invites",
    "HOOK": "Webhooks",
    "CRY": "Keys, configuration, supply",
    "LOG": "Logs and faults",
    "PRV": "Privacy",
    "ACC": "Accessibility",
    "EVD": "Evidence",
}

REGISTER: Final[dict[str, Requirement]] = {
    "OTP-01": Requirement("MUST", "Codes are uniform over all digits, leading noughts included, from the system's randomness."),
    "OTP-02": Requirement("MUST", "A code lives ten minutes at most and is accepted once, however many try at the same moment."),
    "OTP-03": Requirement("MUST", "A code works with its own verification alone, in the browser only where it was asked for."),
    "OTP-04": Requirement("MUST", "The database holds no code and nothing from which one could be tried out without the key."),
    "OTP-05": Requirement("MUST", "Known and unknown numbers, and all ways for a code to be wrong, are answered alike."),
    "OTP-06": Requirement("MUST", "The length of a code is a setting, and callers are told it."),
    "OTP-07": Requirement(
        "MUST",
        "What cannot be the code is refused before anything is compared, and takes no guess. Digits of every script are digits.",
    ),
    "OTP-08": Requirement(
        "MUST",
        "A number is changed with a fresh proof and a code to the new one; the old one is told.",
    ),
    "OTP-09": Requirement("SHOULD", "Everybody can add a passkey or an authenticator app, with recovery codes.", _SECOND),
    "THR-01": Requirement(
        "MUST", "Wrong guesses at one number make its codes longer, and close it for unknown devices at a hundred in thirty days."
    ),
    "THR-02": Requirement("MUST", "After three wrong guesses a code is dead; a new one resets no count."),
    "THR-03": Requirement("MUST", "The whole system has a budget of wrong guesses; a unit is taken before anything is compared."),
    "THR-04": Requirement("MUST", "When a budget is spent, unknown devices' codes of that length are void and new ones longer."),
    "THR-05": Requirement(
        "MUST",
        "Counters are shared by all processes, outlive a restart, and fail to the safe side.",
    ),
    "THR-06": Requirement("MUST", "No stranger can lock an owner out: a device that signed in before has a lane of its own."),
    "THR-07": Requirement(
        "MUST", "Addresses are believed from configured proxies alone; an IPv6 network of 64 bits counts as one."
    ),
    "THR-08": Requirement(
        "MUST", "Expected takeovers are computed from the live settings; production does not start above what is allowed."
    ),
    "THR-09": Requirement(
        "SHOULD",
        "Past the second budget strangers' devices have to work for a text; people hear of failed bursts.",
        "the first two budgets come first",
    ),
    "SMS-01": Requirement("MUST", "A text ends in the line that offers its code to our origin alone, and fits one segment."),
    "SMS-02": Requirement("MUST", "The host in a text comes from the configuration; no link and nobody's words are in it."),
    "SMS-03": Requirement(
        "MUST", "Texts have hard limits an hour and a day, and a wait that doubles; no request waits for a gateway."
    ),
    "SMS-04": Requirement("MUST", "Only mobile numbers of the countries served get texts."),
    "SMS-05": Requirement(
        "SHOULD",
        "Numbers that differ in their last digits share a limit; where few codes of many are entered, texts stop.",
        "the second half; `hammer_codes_proved` shows it, and nothing stops by itself",
    ),
    "SMS-06": Requirement("MUST", "Production cannot show a code or use the console as its gateway."),
    "SMS-07": Requirement("LATER", "A changed SIM or a recycled number is noticed.", "no operator tells us of it yet"),
    "PHN-01": Requirement("MUST", "Every spelling of a number is one number, one limit and one person."),
    "PHN-02": Requirement("MUST", "First logins at the same moment make one person with one invite code."),
    "PHN-03": Requirement("MUST", "Tokens name people by a random id; who deletes and comes back is somebody new."),
    "TOK-01": Requirement("MUST", "One asymmetric algorithm; a token's header chooses among our own keys and nothing else."),
    "TOK-02": Requirement("MUST", "Every claim is required and checked; no other token of ours passes for an access token."),
    "TOK-03": Requirement("MUST", "An access token lives fifteen minutes at most and names no number."),
    "TOK-04": Requirement("MUST", "A refresh token works once; one that comes again ends the session."),
    "TOK-05": Requirement("MUST", "Refresh tokens have an end and an idle limit; the database holds none that could be used."),
    "TOK-06": Requirement("MUST", "Logout, a block, a deletion and the end of all others kill access tokens at once."),
    "TOK-07": Requirement("MUST", "Bearers come in the header alone, and a refusal says so."),
    "TOK-08": Requirement("MUST", "Published keys have no private part; they rotate with an overlap."),
    "TOK-09": Requirement("LATER", "Tokens are bound to the key of who holds them.", "no client asks for it yet"),
    "SES-01": Requirement("MUST", "Sessions are the server's: a copied cookie is worth nothing after the logout."),
    "SES-02": Requirement(
        "MUST", "Cookies are unguessable, pinned to the host and out of scripts' reach; the database holds none."
    ),
    "SES-03": Requirement("MUST", "A login gives a new session; what was there before it is dead."),
    "SES-04": Requirement("MUST", "The server ends sessions after an absolute and an idle time."),
    "SES-05": Requirement("MUST", "Every signed-in page has a logout, and nobody keeps copies of personal pages."),
    "SES-06": Requirement("SHOULD", "People see their devices and end any of them."),
    "WEB-01": Requirement(
        "MUST", "Every unsafe form needs this browser's token and must not come from another site; looking changes nothing."
    ),
    "WEB-02": Requirement("MUST", "The JSON API knows no cookie and reads JSON alone."),
    "WEB-03": Requirement(
        "MUST", "Every answer of the application has a strict policy of contents; no page asks another host for anything."
    ),
    "WEB-04": Requirement(
        "MUST", "Every answer of the application has the other protective headers, and a real browser's forms still arrive."
    ),
    "WEB-05": Requirement("SHOULD", "Every answer of the application scores 130 or more by the Observatory's rules."),
    "WEB-06": Requirement("MUST", "Nothing leads to another site, and what is typed stays words."),
    "API-01": Requirement("MUST", "Every error is a problem document that shows nothing of what is inside."),
    "API-02": Requirement("MUST", "Whoever has to wait is told how long."),
    "API-03": Requirement("SHOULD", "Callers are told what is left of their limits."),
    "API-04": Requirement("MUST", "Other methods, kinds and sizes are refused as HTTP says; lists end at a hundred."),
    "API-05": Requirement("MUST", "Unknown fields are refused."),
    "API-06": Requirement("MUST", "The OpenAPI document is valid and true."),
    "API-07": Requirement("MUST", "No other origin may read an answer; production refuses plain http and does not redirect it."),
    "AZN-01": Requirement("MUST", "Everybody reaches what is theirs alone."),
    "AZN-02": Requirement("MUST", "Every route says for whom it is, and a lost role is lost at the next request."),
    "AZN-03": Requirement("MUST", "Staff have a second factor and sessions of their own.", _STAFF),
    "AZN-04": Requirement("MUST", "Staff see no codes, and numbers only with a trace.", _STAFF),
    "AZN-05": Requirement("SHOULD", "What destroys needs a fresh proof; the audit trail shows if somebody changed it.", _STAFF),
    "INV-01": Requirement("MUST", "Invite codes are random and unique, and read however people type them."),
    "INV-02": Requirement("MUST", "Everybody activates once for ever; the database sees to it."),
    "INV-03": Requirement("MUST", "Nobody activates their own; who has activated learns nothing about other codes."),
    "INV-04": Requirement(
        "MUST",
        "Wrong invite codes are counted before they are looked up, and limited.",
    ),
    "INV-05": Requirement(
        "MUST",
        "An activation, its count and its event happen together or not at all.",
    ),
    "INV-06": Requirement("MUST", "Who activates is told before that the owner will see their number."),
    "HOOK-01": Requirement("MUST", "Events are signed as Standard Webhooks has it.", _HOOKS),
    "HOOK-02": Requirement("MUST", "Each endpoint has a secret that can be changed without a gap.", _HOOKS),
    "HOOK-03": Requirement("MUST", "Deliveries are tried again with patience and follow no redirect.", _HOOKS),
    "HOOK-04": Requirement("MUST", "No delivery reaches a private address.", _HOOKS),
    "HOOK-05": Requirement("MUST", "Events carry ids and no numbers.", _HOOKS),
    "HOOK-06": Requirement("LATER", "Asymmetric signatures, and a log of deliveries.", _HOOKS),
    "CRY-01": Requirement("MUST", "Production does not start with weak keys; each purpose has a key; one host is answered for."),
    "CRY-02": Requirement("MUST", "Production shows no debugger, no versions and no metrics."),
    "CRY-03": Requirement("SHOULD", "Numbers are encrypted at rest.", "weighed against search and uniqueness later"),
    "CRY-04": Requirement(
        "SHOULD", "Keys are listed and rotated; what we depend on is pinned by hash and audited.", "the supply chain comes later"
    ),
    "LOG-01": Requirement("MUST", "What matters leaves an event and a line, in UTC, with the id of its request."),
    "LOG-02": Requirement(
        "MUST", "No log, table, header or address holds a code, a token, a cookie or somebody's number; no value begins a line."
    ),
    "LOG-03": Requirement("MUST", "Every fault leaves a trace for us, shows nothing, and lets nobody in."),
    "LOG-04": Requirement("SHOULD", "Metrics show budgets, spending and conversion."),
    "PRV-01": Requirement(
        "MUST",
        "What is kept is listed, and people are told before they give their number.",
    ),
    "PRV-02": Requirement("MUST", "People export what is stored about them, at once."),
    "PRV-03": Requirement("MUST", "People delete themselves; no number and no plain hash of one stays."),
    "PRV-04": Requirement("MUST", "What is past its keeping time goes."),
    "PRV-05": Requirement("SHOULD", "Coming back after a deletion buys no second activation; the mark of it has an end."),
    "ACC-01": Requirement("MUST", "The code goes into one field that can be filled and pasted."),
    "ACC-02": Requirement("MUST", "Errors are words, tied to their field."),
    "ACC-03": Requirement("MUST", "People know how long a code lives, and get another without typing their number again."),
    "ACC-04": Requirement("MUST", "Sizes, contrast, narrow screens and the keyboard work."),
    "ACC-05": Requirement("SHOULD", "Somebody with a screen reader has tried it.", _PEOPLE),
    "EVD-01": Requirement("MUST", "Where we deviate from a standard, it is written down with its reason, and tested."),
    "EVD-02": Requirement("MUST", "Every promise above that is a MUST is named by a test, and limits stand in one place."),
}
