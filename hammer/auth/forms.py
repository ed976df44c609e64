"""The forms of the pages for people."""

from typing import Final

from flask import request
from flask_babel import lazy_gettext
from wtforms import BooleanField, StringField  # type: ignore[import-untyped]

from hammer import codes
from hammer.web.pages.forms import Form, Phone

NAMES: Final = ("username", "first_name", "last_name")


class Number(Phone):
    telephone_number = StringField(lazy_gettext("New number"))
    end_other_sessions = BooleanField(lazy_gettext("End the sign-ins on all other devices"))


class Code(Form):
    code = StringField(lazy_gettext("Code"), filters=[lambda typed: typed and (codes.read_one_time_code(typed) or typed)])
    """What was typed; of a whole text that was pasted, its code."""


class Names(Form):
    saved = False
    """Whether what was typed is stored by now, and so no change any more."""

    def typed(self) -> bool:
        """Whether any of them was sent, be it empty."""
        return any(self[name].raw_data for name in NAMES)

    def shown(self, name: str) -> str:
        """What the field had in it when the page that was sent was made; another tab may have saved something else since."""
        return (self[name].data or "") if self.saved else request.form.get(f"was_{name}", self[name].object_data or "")

    def changed(self) -> dict[str, str]:
        """What was typed and was not there before, by the names of the fields."""
        return {name: typed for name in NAMES if (typed := self[name].data or "") != self.shown(name)}

    username = StringField(lazy_gettext("Username"))
    first_name = StringField(lazy_gettext("First name"))
    last_name = StringField(lazy_gettext("Last name"))


class Invite(Form):
    invite_code = StringField(lazy_gettext("Invite code"))
