"""Every way a rule may say no, sorted by what the caller can do about it.

    Refusal
    ├── Mend                    send something else
    │   ├── InvalidRequest          the request itself could not be read
    │   ├── InvalidFields           a field is missing, malformed or unknown
    │   ├── RegionNotServed         a number that gets no texts here
    │   ├── UnknownInvite
    │   ├── OwnInvite
    │   └── InviteLoop
    ├── Prove                   show who you are
    │   ├── WrongCode               wrong, expired, spent or unknown: one answer for all four
    │   └── NotSignedIn
    ├── Leave                   it is not yours
    │   ├── NotAllowed
    │   └── NotFound
    ├── Choose                  it is taken
    │   ├── AlreadyActivated
    │   ├── UsernameTaken
    │   └── TelephoneNumberTaken
    └── Wait                    ask again later
        ├── TooManyRequests
        └── Unavailable

A leaf has a `slug`, which programs rely on, and a `title` and a `sentence`, which the doors translate. Status codes belong to
the doors.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


def N_(sentence: str) -> str:
    """The sentence itself, marked for the catalogues of translations."""
    return sentence


class Refusal(Exception):
    """A rule's no. `details` are the values that its sentence and its problem document carry."""

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
    """`retry_after` is in whole seconds, at least one. A `sentence` of its own says what else one can do than wait; `limit` is the
    name of the one that was reached, where callers may know it."""

    def __init__(self, *, retry_after: int, sentence: str = "", limit: str = "") -> None:
        self.retry_after = max(1, retry_after)
        super().__init__(retry_after=self.retry_after)
        self.limit = limit
        if sentence:
            self.sentence = sentence  # type: ignore[misc]  # of this one alone


class InvalidRequest(Invalid):
    slug = "invalid-request"
    title = N_("Unreadable request")
    sentence = N_("The request could not be read.")


REQUIRED = N_("This field is required.")


class InvalidFields(Invalid):
    """`errors` maps a field to English sentences, each marked with `N_`, that the doors translate."""

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
    """`attempts_left` is 0 for a code that cannot be tried any more, whatever the reason."""

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
    """A `sentence` of its own says what would be allowed."""

    slug = "not-allowed"
    title = N_("Not allowed")
    sentence = N_("You may not do this.")

    def __init__(self, sentence: str = "") -> None:
        super().__init__()
        if sentence:
            self.sentence = sentence  # type: ignore[misc]  # of this one alone


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
