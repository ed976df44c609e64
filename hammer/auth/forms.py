"""The forms of the pages for people."""

from typing import Final

from flask import request
from flask_babel import lazy_gettext
from wtforms import BooleanField, StringField  # type: ignore[import-untyped]

from hammer import codes
from hammer.web.pages.forms import Form, Phone

NAMES: Final = ("username", "first_name", "last_name")


class Number(Phone):
    """The form for a new number."""

    telephone_number = StringField(lazy_gettext("New number"))
    end_other_sessions = BooleanField(lazy_gettext("End the sign-ins on all other devices"))


class Code(Form):
    """The form for a one-time code."""

    code = StringField(lazy_gettext("Code"), filters=[lambda typed: typed and (codes.read_one_time_code(typed) or typed)])
    """What was typed. When a whole message was pasted, the code in it."""


class Names(Form):
    """The names on the profile."""

    saved = False
    """Whether the names that were typed are stored by now, so that none counts as changed."""

    def typed(self) -> bool:
        """Whether the form that was sent has any of the fields, even empty."""
        return any(self[name].raw_data for name in NAMES)

    def shown(self, name: str) -> str:
        """The value that the field had when the page was shown. Another tab may have saved another one since."""
        return (self[name].data or "") if self.saved else request.form.get(f"was_{name}", self[name].object_data or "")

    def changed(self) -> dict[str, str]:
        """The values that differ from the ones shown, by the names of their fields."""
        return {name: typed for name in NAMES if (typed := self[name].data or "") != self.shown(name)}

    username = StringField(lazy_gettext("Username"))
    first_name = StringField(lazy_gettext("First name"))
    last_name = StringField(lazy_gettext("Last name"))


class Invite(Form):
    """The field for an invite code."""

    invite_code = StringField(lazy_gettext("Invite code"))
