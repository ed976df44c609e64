"""Who may open the operator's pages: staff who proved a second factor in this browser (`admin_only`)."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec, cast

from flask import Response, flash, g, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.refusals import N_, NotAllowed
from hammer.sessions.sessions import Caller
from hammer.users import accounts
from hammer.web import tokens
from hammer.web.access import Access, guarded
from hammer.web.pages.errors import here
from hammer.web.pages.frame import AFTER_SIGN_IN, NOTHING_DONE, REFUSED, UNPROVED, go, is_of_another_user

P = ParamSpec("P")
View = Callable[P, ResponseReturnValue]
ForStaff = Callable[Concatenate[Caller, P], ResponseReturnValue]

PLACE: Final = "admin_place"
"""The key in the signed cookie of the address that was asked for when a proof was missing."""
LONGEST_PLACE: Final = 1600
"""Characters: enough for the address of a bulk action. The browser keeps 4096 bytes of the whole cookie."""
OTHER_STAFF: Final = N_("Another staff member has opened these pages in this browser since, so nothing was done.")
CONFIRM_FIRST: Final = N_("Nothing was done yet: first confirm that it is you.")


def admin_only(
    *, recent: bool = False, long_form: bool = False, longest_body: int | None = None
) -> Callable[[ForStaff[P]], View[P]]:
    """Guards a view: passes it the staff member who opened the operator's pages in this browser.

    Leads others to the sign-in of these pages, and refuses with `NotAllowed` those who are not staff, or no more. With `recent` the
    second factor must have been proved within `accounts.PROOF_STAYS_FRESH`; else nothing is done, and the page that asks for it
    leads back by GET. So a view with `recent` takes its form at an address that also shows a page. A `long_form` takes minutes to
    fill in, so it is shown again instead, with what was typed. With `longest_body` staff may send so many bytes; for everyone else
    the usual limit holds.
    """

    def body_of_staff() -> int | None:
        caller = tokens.operator()
        return longest_body if caller is not None and caller.is_staff else None

    def decorate(view: ForStaff[P]) -> View[P]:
        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            caller = tokens.operator()
            if caller is None:
                return _to_sign_in()
            _enter(caller)
            if recent and not accounts.proved_lately(caller.session_id):
                if not long_form or request.method != "POST":
                    return _to_confirmation()
                g.shows_only = UNPROVED
            return _to_first_page(caller) or view(caller, *args, **kwargs)

        checked.recent, checked.long_form = recent, long_form  # type: ignore[attr-defined]  # for the test that walks over all routes
        if longest_body is not None:
            checked.longest_body = body_of_staff  # type: ignore[attr-defined]  # read before the body is
        return guarded(Access.STAFF, checked)

    return decorate


def signed_in_staff(view: ForStaff[P]) -> View[P]:
    """Guards a view that comes before the second factor: passes it the staff member who is signed in by number in this browser."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        caller = tokens.visitor()
        if caller is None:
            return _to_phone_form(request.endpoint or "")
        _enter(caller)
        return _to_first_page(caller) or view(caller, *args, **kwargs)

    return guarded(Access.STAFF, checked)


def to_place() -> Response:
    """Leads to the page that was asked for when a proof was missing; without one, to the first page."""
    place = session.pop(PLACE, None)
    return cast(Response, redirect(place, 303)) if place else go("admin.home")


def _enter(caller: Caller) -> None:
    if not caller.is_staff:
        raise NotAllowed
    g.visitor = caller  # whose forms these pages have


def _to_first_page(caller: Caller) -> Response | None:
    """Leads to the first page when the form was shown to another staff member."""
    if not is_of_another_user(caller):
        return None
    flash(gettext(OTHER_STAFF), REFUSED)
    return go("admin.home")


def _to_sign_in() -> ResponseReturnValue:
    if request.method != "POST" and request.headers.get("Sec-Fetch-Site") == "cross-site":
        # A link of another site: the browser keeps the cookie back (SameSite=Strict).
        return render_template("admin/again.html", way_on=_address())
    if request.method == "POST":
        flash(gettext(NOTHING_DONE), REFUSED)
    _remember_place()
    visitor = tokens.visitor()
    if visitor is None:
        return _to_phone_form("admin.sign_in")
    if not visitor.is_staff:
        raise NotAllowed
    return go("admin.sign_in")


def _to_phone_form(then: str) -> Response:
    session[AFTER_SIGN_IN] = then
    return go("auth.phone")


def _to_confirmation() -> Response:
    if request.method == "POST":
        flash(gettext(CONFIRM_FIRST), REFUSED)
    _remember_place()
    return go("admin.confirm")


def _remember_place() -> None:
    """Keeps the address of this page in the signed cookie. Addresses of these pages contain nothing personal."""
    page = here()  # another one for an address that only takes a form
    asked = _address() if page == request.path else page
    session[PLACE] = asked if len(asked) <= LONGEST_PLACE else request.path


def _address() -> str:
    """The address of this request, without the host."""
    return request.full_path.removesuffix("?")
