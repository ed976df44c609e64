"""What Hammer promises about security: each promise with its id, its level and a line. Tests name the ids that they prove.

MUST has to hold before the program may be called secure, SHOULD follows soon, LATER is planned. `waits` says why a
promise is not kept yet. `docs/security.md` is made from this by `make evidence`.
"""

from typing import Final, NamedTuple


class Requirement(NamedTuple):
    level: str
    promise: str
    waits: str = ""


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
    "OTP-01": Requirement("MUST", "Codes are uniform over all digits, leading zeros included, from the system's randomness."),
    "OTP-02": Requirement(
        "MUST", "A code lives ten minutes at most and is accepted once, however many requests arrive at the same moment."
    ),
    "OTP-03": Requirement(
        "MUST", "A code works only with its own verification, on pages only in the browser where it was asked for."
    ),
    "OTP-04": Requirement("MUST", "The database contains no code, and nothing against which codes could be tried without the key."),
    "OTP-05": Requirement("MUST", "Known and unknown numbers, and all ways for a code to be wrong, are answered alike."),
    "OTP-06": Requirement("MUST", "The length of a code is a setting, and answers state it."),
    "OTP-07": Requirement(
        "MUST",
        "Input that cannot be the code is refused before anything is compared, and takes no guess. Digits of all scripts count.",
    ),
    "OTP-08": Requirement(
        "MUST",
        "A number is changed with a recently confirmed code and a code to the new number; the old number gets a text.",
    ),
    "OTP-09": Requirement("SHOULD", "Everybody can add a passkey or an authenticator app, with recovery codes.", _SECOND),
    "THR-01": Requirement(
        "MUST", "Wrong guesses at one number make its codes longer, and close it for unknown devices at a hundred in thirty days."
    ),
    "THR-02": Requirement("MUST", "After three wrong guesses a code is void; a new one resets no count."),
    "THR-03": Requirement("MUST", "The whole system has a budget of wrong guesses, and each guess takes a unit first."),
    "THR-04": Requirement("MUST", "When a budget is spent, unknown devices' codes of that length are void and new ones longer."),
    "THR-05": Requirement(
        "MUST",
        "Counters are shared by all processes, outlive a restart, and refuse guesses when they are unreachable.",
    ),
    "THR-06": Requirement(
        "MUST", "No stranger can lock an owner out: a device that signed in before has texts and guesses of its own."
    ),
    "THR-07": Requirement("MUST", "Addresses are trusted from configured proxies only; an IPv6 network of 64 bits counts as one."),
    "THR-08": Requirement(
        "MUST", "Expected takeovers are computed from the live settings; production does not start above what is allowed."
    ),
    "THR-09": Requirement(
        "SHOULD",
        "Past the second budget unknown devices need a proof of work for a text; people are notified of failed bursts.",
        "the first two budgets come first",
    ),
    "SMS-01": Requirement("MUST", "A text ends in the line that binds its code to our origin, and fits one segment."),
    "SMS-02": Requirement(
        "MUST", "The host in a text comes from the configuration; it contains no link and nothing that a person typed."
    ),
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
    "SMS-07": Requirement("LATER", "A changed SIM or a recycled number is noticed.", "no mobile operator reports it to us yet"),
    "PHN-01": Requirement("MUST", "Every spelling of a number is one number, one limit and one person."),
    "PHN-02": Requirement("MUST", "First logins at the same moment make one person with one invite code."),
    "PHN-03": Requirement("MUST", "Tokens name people by a random id; a person who deletes the account and returns is a new user."),
    "TOK-01": Requirement(
        "MUST",
        "A key signs one kind of token by one asymmetric algorithm; a header only names a key of ours.",
    ),
    "TOK-02": Requirement("MUST", "Every claim is required and checked; no other token of ours passes for an access token."),
    "TOK-03": Requirement("MUST", "An access token lives fifteen minutes at most and names no number."),
    "TOK-04": Requirement("MUST", "A refresh token works once; its second use ends the session."),
    "TOK-05": Requirement("MUST", "Refresh tokens have an end and an idle limit; the database contains none that could be used."),
    "TOK-06": Requirement("MUST", "Logout, a block, a deletion and the end of all other sessions end access tokens at once."),
    "TOK-07": Requirement("MUST", "Bearer tokens are read from the header, for userinfo also from a form, and a refusal says so."),
    "TOK-08": Requirement("MUST", "Published keys have no private part; they rotate with an overlap."),
    "TOK-09": Requirement("LATER", "Tokens are bound to a key of their holder.", "no client asks for it yet"),
    "SES-01": Requirement("MUST", "Sessions are stored by the server: a copied cookie is worthless after the logout."),
    "SES-02": Requirement(
        "MUST", "Cookies are unguessable, bound to the host and unreadable for scripts; the database contains none."
    ),
    "SES-03": Requirement("MUST", "A login gives a new session; the session before it has ended."),
    "SES-04": Requirement("MUST", "The server ends sessions after an absolute and an idle time."),
    "SES-05": Requirement("MUST", "Every signed-in page has a logout, and personal pages are not cached."),
    "SES-06": Requirement("SHOULD", "People see their devices and end any of them."),
    "WEB-01": Requirement(
        "MUST", "Every unsafe form needs this browser's token and must not come from another site; GET changes nothing."
    ),
    "WEB-02": Requirement("MUST", "The JSON API uses no cookies and reads JSON only."),
    "WEB-03": Requirement(
        "MUST", "Every answer of the application has a strict content security policy; no page requests anything from another host."
    ),
    "WEB-04": Requirement(
        "MUST", "Every answer of the application has the other protective headers, and forms of a real browser still work."
    ),
    "WEB-05": Requirement("SHOULD", "Every answer of the application scores 130 or more by the Observatory's rules."),
    "WEB-06": Requirement("MUST", "Nothing redirects to another site, and input is never markup."),
    "API-01": Requirement("MUST", "Every error is a problem document without internal details."),
    "API-02": Requirement("MUST", "A refusal that ends with time says after how long."),
    "API-03": Requirement("SHOULD", "Answers state what is left of the limits."),
    "API-04": Requirement("MUST", "Other methods, kinds and sizes are refused as HTTP says; lists end at a hundred."),
    "API-05": Requirement("MUST", "Unknown fields are refused."),
    "API-06": Requirement("MUST", "The OpenAPI document is valid and true."),
    "API-07": Requirement(
        "MUST", "Only origins that are listed may read an answer; production refuses plain http and does not redirect it."
    ),
    "AZN-01": Requirement("MUST", "People reach only their own data."),
    "AZN-02": Requirement("MUST", "Every route states who may call it, and a revoked role is gone at the next request."),
    "AZN-03": Requirement("MUST", "Staff have a second factor and sessions of their own."),
    "AZN-04": Requirement("MUST", "Staff see no codes, and numbers only with a trace."),
    "AZN-05": Requirement(
        "SHOULD",
        "Destructive acts need a recently confirmed code; changes of the audit trail are detectable; files are safe to open.",
    ),
    "INV-01": Requirement("MUST", "Invite codes are random and unique, and are read in every way that people type them."),
    "INV-02": Requirement("MUST", "Each person activates once, for ever; the database enforces it."),
    "INV-03": Requirement("MUST", "People cannot activate their own code; who has activated learns nothing about other codes."),
    "INV-04": Requirement(
        "MUST",
        "Wrong invite codes are counted before they are looked up, and limited.",
    ),
    "INV-05": Requirement(
        "MUST",
        "An activation, its count and its event happen together or not at all.",
    ),
    "INV-06": Requirement("MUST", "Before an activation the page says that the owner will see the number."),
    "HOOK-01": Requirement("MUST", "Events are signed by the rules of Standard Webhooks."),
    "HOOK-02": Requirement("MUST", "Each endpoint has a secret that can be changed without a gap."),
    "HOOK-03": Requirement("MUST", "Deliveries are retried with growing waits and follow no redirect."),
    "HOOK-04": Requirement("MUST", "No delivery reaches a private address."),
    "HOOK-05": Requirement("MUST", "Events contain ids and no numbers."),
    "HOOK-06": Requirement(
        "LATER", "Asymmetric signatures, and a log of deliveries.", "there is the log; signatures have shared secrets"
    ),
    "CRY-01": Requirement(
        "MUST", "Production does not start with weak keys; each purpose has a key; only one host is answered for."
    ),
    "CRY-02": Requirement("MUST", "Production shows no debugger, no metrics, and no version but that of Hammer itself."),
    "CRY-03": Requirement("SHOULD", "Numbers are encrypted at rest.", "weighed against search and uniqueness later"),
    "CRY-04": Requirement(
        "SHOULD",
        "Keys are listed and rotated; dependencies are pinned by hash and audited.",
        "they are pinned in `requirements.lock`; nothing audits them yet",
    ),
    "LOG-01": Requirement("MUST", "Important actions leave an event and a log line, in UTC, with the id of the request."),
    "LOG-02": Requirement(
        "MUST",
        "No log, table, header or address contains a code, a token, a cookie or a person's number; no value can start a log line.",
    ),
    "LOG-03": Requirement("MUST", "Every error leaves a trace in the log, shows no details, and gives no access."),
    "LOG-04": Requirement("SHOULD", "Metrics show budgets, spending and conversion."),
    "PRV-01": Requirement(
        "MUST",
        "What is stored is listed, and the page says so before people enter their number.",
    ),
    "PRV-02": Requirement("MUST", "People export what is stored about them, at once."),
    "PRV-03": Requirement("MUST", "People delete themselves; no number and no plain hash of one stays."),
    "PRV-04": Requirement("MUST", "Data past its retention time is deleted."),
    "PRV-05": Requirement("SHOULD", "Returning after a deletion gives no second activation; the record of it has an end."),
    "ACC-01": Requirement("MUST", "The code goes into one field that can be filled in automatically and pasted into."),
    "ACC-02": Requirement("MUST", "Errors are words, tied to their field."),
    "ACC-03": Requirement("MUST", "People know how long a code lives, and get another without typing their number again."),
    "ACC-04": Requirement("MUST", "Sizes, contrast, narrow screens and the keyboard work."),
    "ACC-05": Requirement("SHOULD", "A user of a screen reader has tried it.", _PEOPLE),
    "EVD-01": Requirement("MUST", "Where we deviate from a standard, it is written down with its reason, and tested."),
    "EVD-02": Requirement("MUST", "Every promise above that is a MUST is named by a test, and limits are defined in one place."),
}
