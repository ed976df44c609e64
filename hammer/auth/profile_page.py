"""The profile page: its one form, with all that can be typed on it, and everything that it shows."""

from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue

from hammer.auth import forms
from hammer.db.pagination import Page
from hammer.grants import apps
from hammer.invites import activation, invite_codes
from hammer.invites.activation import Invitee
from hammer.parsing import phones
from hammer.refusals import InvalidFields, Refusal
from hammer.sessions import sessions
from hammer.sessions.sessions import Caller
from hammer.users import names, people
from hammer.web.languages import say
from hammer.web.pages import kept_invites, pictures
from hammer.web.pages.forms import Form
from hammer.web.pages.frame import refused
from hammer.web.settings import settings

INVITEES_A_PAGE = 20
WEEKS_OF_GROWTH = 12


class ProfilePage:
    """The caller's profile as it is stored now, and what was typed into the form on it."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.me = people.profile(settings(), caller.user_id)
        self.names, self.invite = forms.Names(obj=self.me), forms.Invite()

    def confirmed_invite(self) -> str | None:
        """The invite code whose activation the person confirmed; None when the form was sent to save names.

        The button beside an invite that was opened sends its code as `carried`. The page that asks before an activation sends
        `invite_code`, and no names.
        """
        opened = request.form.get("carried")
        if opened:
            return opened
        asked_first = "invite_code" in request.form and not self.names.typed()
        return (self.invite.invite_code.data or "") if asked_first else None

    def show(self, refusal: Refusal | None = None, form: Form | None = None) -> ResponseReturnValue:
        """The page, with the refusal at its field of `form`. Forgets opened invites that are of no use, and says so this once."""
        activated = activation.activated(self.caller.user_id)
        useless = kept_invites.drop_useless(self.me.invite_code, activated[0] if activated else None)
        context = self._context() | {
            "activated": activated,
            "opened_invite": kept_invites.newest(),
            "useless": say(useless) if useless else None,
        }
        if refusal and form:
            return refused(refusal, form, "profile.html", **context)
        return render_template("profile.html", **context)

    def _context(self) -> dict[str, Any]:
        link = f"{settings().public_url}/i/{self.me.invite_code}"
        after, invitees = self._invitees()
        devices = sessions.devices(self.caller.user_id)
        return {
            "me": self.me,
            "names": self.names,
            "invite": self.invite,
            "not_an_invite": invite_codes.NOT_AN_INVITE,
            "not_a_username": names.NOT_A_USERNAME,
            "invitees": invitees,
            "place": after,
            "seen_as": seen_as(self.me),
            # This device comes first: the page folds all but the first few.
            "devices": sorted(devices, key=lambda device: device.id != self.caller.session_id),
            "apps": apps.apps(self.caller.user_id),
            "link": link,
            "qr": pictures.qr(link),
            "growth": pictures.growth(self.me.invite_count, activation.by_week(self.caller.user_id, WEEKS_OF_GROWTH)),
        }

    def _invitees(self) -> tuple[str | None, Page[Invitee]]:
        """The place in the list that was asked for, and the invitees from there; the newest when the place is invalid."""
        after, user_id = request.args.get("after"), self.caller.user_id
        try:
            return after, activation.invitees(settings(), user_id, limit=INVITEES_A_PAGE, after=after)
        except InvalidFields:
            return None, activation.invitees(settings(), user_id, limit=INVITEES_A_PAGE)


def seen_as(me: people.Profile) -> str | None:
    """The number as the owner of an invite code will see it. The page says so before the code is activated."""
    return phones.shown(me.telephone_number, settings().invitee_numbers)
