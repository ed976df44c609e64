"""Refusals: every way a rule can say no, grouped by what the caller can do about it.

    Refusal
    ├── Invalid                 send other data
    │   ├── InvalidRequest          the request itself cannot be read
    │   ├── InvalidFields           a field is missing, malformed or unknown
    │   ├── RegionNotServed         a number that cannot get messages here
    │   ├── UnknownInvite           no user has this invite code
    │   ├── OwnInvite               the invite code is the user's own
    │   └── InviteLoop              the user invited the owner of the code, directly or through other users
    ├── Unauthenticated         prove who you are
    │   ├── WrongCode               a one-time code that is wrong, expired, used or unknown: one answer for all of these
    │   └── NotSignedIn
    ├── Denied                  this caller cannot have it
    │   ├── NotAllowed
    │   └── NotFound
    ├── Conflict                it is taken, or done already
    │   ├── AlreadyActivated        the user, or an earlier user of the number, has activated an invite code
    │   ├── UsernameTaken
    │   └── TelephoneNumberTaken
    └── RetryLater              repeat the request later
        ├── TooManyRequests         a limit is reached
        └── Unavailable             the database is away, or the whole system's guesses of today are spent

Each leaf has a `slug`, which programs rely on, and a `title` and a `sentence` in English, which the front ends translate. Status
codes are chosen by the front ends.

**Returned or raised.** A verb opens the transaction, calls steps and raises refusals. A step works in its caller's transaction.
Where something that was written must stay (a guess that was taken, an attempt, an event), the step *returns* the refusal, and the
verb raises it after the transaction: raised inside, it would roll that back. A step *raises* a refusal only where everything must
be rolled back, as when a limit on messages is reached: `quotas.texts.take` takes nothing from the other limits then.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


def N_(sentence: str) -> str:
    """Returns the sentence unchanged. Marks it for the translation catalogues."""
    return sentence


class Refusal(Exception):
    """`details` are values for the placeholders of the sentence, and members of the problem document."""

    slug: ClassVar[str]
    title: ClassVar[str]
    sentence: ClassVar[str]

    def __init__(self, **details: object) -> None:
        super().__init__(self.slug)
        self.details: Mapping[str, object] = details


class Invalid(Refusal): ...


class Unauthenticated(Refusal): ...


class Denied(Refusal): ...


class Conflict(Refusal): ...


class RetryLater(Refusal):
    """`retry_after` is in whole seconds, at least 1. A `sentence` replaces the one of the class, to say what helps besides waiting.
    `limit` is the name of the limit that was reached, or empty where callers may not know it."""

    def __init__(self, *, retry_after: int, sentence: str = "", limit: str = "") -> None:
        self.retry_after = max(1, retry_after)
        super().__init__(retry_after=self.retry_after)
        self.limit = limit
        if sentence:
            self.sentence = sentence  # type: ignore[misc]  # only of this instance


class InvalidRequest(Invalid):
    slug = "invalid-request"
    title = N_("Unreadable request")
    sentence = N_("The request could not be read.")


REQUIRED = N_("This field is required.")


class InvalidFields(Invalid):
    """`errors` maps each field to English sentences marked with `N_`, which the front ends translate."""

    slug = "invalid-fields"
    title = N_("Invalid fields")
    sentence = N_("Some fields need another look.")

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.errors = errors


class RegionNotServed(Invalid):
    slug = "region-not-served"
    title = N_("Region not served")
    sentence = N_("We cannot send texts to this number. Please use a mobile number of a country that we serve.")


class UnknownInvite(Invalid):
    slug = "unknown-invite"
    title = N_("Unknown invite code")
    sentence = N_("There is no such invite code. Please compare it with the one you were given.")


class OwnInvite(Invalid):
    slug = "own-invite"
    title = N_("Own invite code")
    sentence = N_("This is your own invite code. You can activate somebody else’s.")


class InviteLoop(Invalid):
    slug = "invite-loop"
    title = N_("Invitations in a circle")
    sentence = N_("This person joined through your invite or through one that followed from it, so you cannot use their code.")


class WrongCode(Unauthenticated):
    """`attempts_left` is the number of guesses left; 0 for a code that cannot be used any more, for any reason."""

    slug = "wrong-code"
    title = N_("Wrong code")
    sentence = N_("That code is wrong or has expired.")

    def __init__(self, *, attempts_left: int) -> None:
        super().__init__(attempts_left=attempts_left)
        self.attempts_left = attempts_left


class NotSignedIn(Unauthenticated):
    slug = "not-signed-in"
    title = N_("Not signed in")
    sentence = N_("Please sign in.")


class NotAllowed(Denied):
    """A `sentence` replaces the one of the class, to say what would be allowed. `details` are values for its placeholders."""

    slug = "not-allowed"
    title = N_("Not allowed")
    sentence = N_("You may not do this.")

    def __init__(self, sentence: str = "", **details: object) -> None:
        super().__init__(**details)
        if sentence:
            self.sentence = sentence  # type: ignore[misc]  # only of this instance


class NotFound(Denied):
    slug = "not-found"
    title = N_("Not found")
    sentence = N_("There is nothing here.")


class AlreadyActivated(Conflict):
    slug = "already-activated"
    title = N_("Already activated")
    sentence = N_("You have already activated an invite code. It can be done only once.")


class UsernameTaken(Conflict):
    slug = "username-taken"
    title = N_("Username taken")
    sentence = N_("This username is taken. Please choose another.")


class TelephoneNumberTaken(Conflict):
    slug = "telephone-number-taken"
    title = N_("Number taken")
    sentence = N_("There is already a user with this number.")


class TooManyRequests(RetryLater):
    slug = "too-many-requests"
    title = N_("Too many requests")
    sentence = N_("Too many tries in a short time.")


class Unavailable(RetryLater):
    slug = "unavailable"
    title = N_("Unavailable")
    sentence = N_("We cannot do this right now. Please try again in a moment.")
