"""What people type. No rule is checked here: the verbs do, and `refused` puts their answer on the field that it is about."""

from typing import Final

from flask import request
from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, StringField  # type: ignore[import-untyped]
from wtforms.form import BaseForm  # type: ignore[import-untyped]

from hammer import codes
from hammer.auth.show import told, unbroken
from hammer.refusals import InvalidFields, Refusal, Wait

NAMES: Final = ("username", "first_name", "last_name")


class Form(FlaskForm):
    problem = ""
    """What is wrong with none of the fields."""

    class Meta(FlaskForm.Meta):
        def wrap_formdata(self, _form: BaseForm, _data: object) -> MultiDict[str, str] | None:
            """Fields that were sent as words: Flask-WTF would take files and JSON for them too."""
            return request.form if request.method == "POST" else None

    def refused(self, refusal: Refusal) -> None:
        """Shows the refusal where it can be mended: on the fields it names, else on the first one; a wait, above them all."""
        first = wrong = next(iter(self))
        if isinstance(refusal, InvalidFields):
            for name, sentences in reversed(list(refusal.errors.items())):
                wrong = self._fields.get(name, first)
                wrong.errors = [unbroken(gettext(sentence)) for sentence in sentences]
        elif isinstance(refusal, Wait):
            self.problem = told(refusal)
        else:
            first.errors = [told(refusal)]
        if wrong.errors:  # so that whoever hears the page is there at once, and is told why
            wrong.render_kw = {"autofocus": True}


class Phone(Form):
    telephone_number = StringField(lazy_gettext("Telephone number"))


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
