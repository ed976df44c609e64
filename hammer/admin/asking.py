"""Pages that ask before something is done: what will happen, and the one button."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import Response, flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from markupsafe import Markup

from hammer.refusals import Conflict, Invalid, NotAllowed
from hammer.web.languages import say
from hammer.web.pages.forms import Form
from hammer.web.pages.frame import REFUSED, refused, shows_only

TEMPLATE: Final = "admin/action.html"


@dataclass(frozen=True)
class Action:
    """What the page of an action says."""

    title: str
    what: tuple[str, ...]
    """What will happen."""
    button: str
    done: str = ""
    """What was done; empty where `act` returns the sentence."""
    undo: str = ""
    """The endpoint of the action that undoes it."""
    danger: bool = False
    own: bool = False
    """Whether staff may do it to their own account too."""


def ask(
    action: Action,
    act: Callable[[], object],
    back: str,
    *,
    facts: Sequence[tuple[str, object]] = (),
    form: Form | None = None,
    template: str = TEMPLATE,
    then: str = "",
    undo: str = "",
    **details: Any,
) -> ResponseReturnValue:
    """The page that asks; or, when its form was sent, what `act` does, and the page at `then` or `back`, which says what was done.

    :param facts: about whom or what it is, in pairs of a name and a value.
    :param undo: the address of the page that undoes it.
    :param details: values of the sentence that says what was done.
    """
    context: dict[str, Any] = {"action": action, "back": back, "facts": facts, **details}
    if shows_only():
        return render_template(template, form=form, **context)
    try:
        sentence = act()
    except (Invalid, Conflict) as refusal:
        if form is None:
            raise
        return refused(refusal, form, template, **context)
    except NotAllowed as refusal:
        return refuse(back, say(refusal))
    return done(then or back, gettext(action.done, **details) if action.done else str(sentence), undo)


def refuse(back: str, sentence: str) -> Response:
    """Leads to the page at `back`, which says why nothing was done."""
    flash(sentence, REFUSED)
    return redirect(back, 303)  # type: ignore[return-value]


def done(back: str, sentence: str, undo: str = "") -> Response:
    """Leads to the page at `back`, which says what was done, with a link to the page at `undo`."""
    link = Markup(' <a href="{}">{}</a>').format(undo, gettext("Undo")) if undo else ""
    flash(Markup("{}{}").format(sentence, link))
    return redirect(back, 303)  # type: ignore[return-value]


def show_once(
    title: str,
    secrets: Sequence[tuple[str, str]],
    back: str,
    *,
    what: Sequence[str] = (),
    facts: Sequence[tuple[str, object]] = (),
) -> ResponseReturnValue:
    """The page with secrets that is shown once, in pairs of a name and a value. `what` says what they are for; `facts` are shown
    elsewhere too."""
    return render_template("admin/once.html", title=title, secrets=secrets, back=back, what=what, facts=facts)
