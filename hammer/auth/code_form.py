"""The form that takes a one-time code. It serves three purposes: to sign in, to prove one's number again, to prove a new number.

The signed cookie keeps the id of the verification that was asked for last, and of the one before it, separately for each
purpose.
"""

from collections.abc import Callable
from dataclasses import dataclass

from flask import flash, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.auth import forms
from hammer.login import by_code, verifications
from hammer.login.verifications import Asker, CodeSent
from hammer.models import Verification
from hammer.parsing import phones
from hammer.quotas import idempotency
from hammer.refusals import Invalid, NotFound, Refusal, RetryLater, TooManyRequests, Unauthenticated
from hammer.web import languages, request_limits, tokens
from hammer.web.pages.frame import go, refused, shows_only
from hammer.web.settings import settings


@dataclass(frozen=True)
class CodeForm:
    """A form that takes a code, for one purpose: `ask` sends the first code, `enter` takes it, `resend` sends it again."""

    name: str
    """The key in the signed cookie under which the id of the verification is kept."""
    button: str
    page: str
    """The endpoint that shows the form and takes the code."""
    resend_page: str
    """The endpoint that sends the code again."""
    number_page: str | None = None
    """The endpoint where the person can change the number; None when the number is fixed."""
    way_out: str | None = None
    """The endpoint for people who give up."""
    next_page: Callable[[], str] | None = None
    """The endpoint that a right code leads to, when the form has to remember it."""

    def asked(self) -> Verification | None:
        """The verification that this browser asked for last. It may be over. None when there is none, or it ended long ago."""
        return verifications.find(session.get(self.name, ""))

    def is_pending(self, asked: Verification) -> bool:
        """Whether the code of this verification is still good."""
        return verifications.pending(settings(), asked.id) is not None

    def number(self) -> str:
        """The number of that verification, as people write it; empty when there is none."""
        asked = self.asked()
        return phones.pretty(asked.telephone_number) if asked else ""

    def ask(self, typed: str, send: Callable[[], CodeSent]) -> Refusal | None:
        """Sends a first code by `send` to the number that was `typed`. Returns the refusal; None if the person has a
        code to enter now.

        When a person goes back and presses the button again, their last code is still good: then none is sent.
        """
        try:
            verification_id = send().verification.id
        except (Invalid, RetryLater) as refusal:
            pending = self._pending_for(typed) if isinstance(refusal, TooManyRequests) else None
            if pending is None:
                return refusal
            verification_id = pending
        if session.get(self.name, verification_id) != verification_id:
            session[self._previous_key] = session[self.name]
        session[self.name] = verification_id
        return None

    def enter(self, asked: Verification, confirm: Callable[[str], ResponseReturnValue]) -> ResponseReturnValue:
        """Passes the code that was typed to `confirm` and returns its answer, or the form with its refusal. Without a code, only
        shows the form."""
        if self.sent_from_older_tab(asked):
            return go(self.page)
        if shows_only():
            return self._show(asked)
        try:
            return confirm(forms.Code().code.data or "")
        except (Invalid, Unauthenticated, RetryLater) as refusal:
            return self._show(asked, refusal)

    def resend(self, asked: Verification, key: idempotency.Key, send: Callable[[], CodeSent]) -> ResponseReturnValue:
        """Sends the same code once more, or a new one by `send` when the old one is over. Then shows the form again."""
        if self.sent_from_older_tab(asked):
            return go(self.page)
        try:
            sent = _send_again(asked, key, send).verification
        except (Invalid, RetryLater) as refusal:
            return self._show(asked, refusal)
        session[self.name] = sent.id
        if not self.is_pending(sent):  # the form was sent again after its code had expired
            return go(self.page)
        flash(gettext("We have sent you another text."))
        keeps_digits = forms.Code().code.data and sent.id == asked.id
        return self._show(sent) if keeps_digits else go(self.page)

    def sent_from_older_tab(self, asked: Verification) -> bool:
        """Whether the form belongs to an older code than `asked`, the newest one. If so, the next page says so."""
        if request.form.get("verification", asked.id) == asked.id:
            return False
        flash(gettext("Another code was asked for in another tab. Here is the form for that one."))
        return True

    def forget_last(self) -> None:
        """Forgets the verification that was asked for last."""
        session.pop(self.name, None)

    def forget(self) -> None:
        """Forgets all verifications of this form."""
        self.forget_last()
        session.pop(self._previous_key, None)

    @property
    def _previous_key(self) -> str:
        """The key in the signed cookie of the verification before the newest one."""
        return f"{self.name}-before"

    def _pending_for(self, typed: str) -> str | None:
        """The id of a verification of this form whose code was sent to the number and is still good."""
        number = phones.canonical(settings(), typed)
        for kept in (self.name, self._previous_key):
            pending = verifications.pending(settings(), session.get(kept, ""))
            if pending is not None and pending.verification.telephone_number == number:
                return pending.verification.id
        return None

    def _show(self, asked: Verification, refusal: Refusal | None = None) -> ResponseReturnValue:
        """The page with the form, or with the offer of a new code when this one is over; `sent` is None then."""
        context = {
            "code_form": self,
            "asked": asked.id,
            "number": asked.telephone_number,
            "sent": verifications.pending(settings(), asked.id),
            "guesses_at_first": settings().guesses_per_code,
            "usual_length": settings().code_length,
            "then": self.next_page() if self.next_page else None,
            "demo_code": verifications.shown_in_demo(settings(), asked),
        }
        form = forms.Code()
        return refused(refusal, form, "code.html", **context) if refusal else render_template("code.html", form=form, **context)


def asker() -> Asker:
    """Who asks for a code in this request."""
    return Asker(request_limits.address(), languages.chosen(), tokens.device_token())


def _send_again(asked: Verification, key: idempotency.Key, send: Callable[[], CodeSent]) -> CodeSent:
    try:
        return by_code.resend_code(settings(), asked.id, asker(), key=key)
    except NotFound:
        return send()
