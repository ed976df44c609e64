"""What people type. No rule is checked here: the verbs do, and `refused` puts their answer on the field that it is about."""

from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from wtforms import BooleanField, StringField  # type: ignore[import-untyped]

from hammer.auth.show import told
from hammer.refusals import InvalidFields, Refusal, Wait


class Form(FlaskForm):
    problem = ""
    """What is wrong with none of the fields."""

    def refused(self, refusal: Refusal) -> None:
        """Shows the refusal where it can be mended: on the fields it names, else on the first one; a wait, above them all."""
        first = next(iter(self))
        if isinstance(refusal, InvalidFields):
            for name, sentences in refusal.errors.items():
                self._fields.get(name, first).errors = [gettext(sentence) for sentence in sentences]
        elif isinstance(refusal, Wait):
            self.problem = told(refusal)
        else:
            first.errors = [told(refusal)]


class Phone(Form):
    telephone_number = StringField(lazy_gettext("Telephone number"))


class Number(Phone):
    end_other_sessions = BooleanField(lazy_gettext("Sign out all other devices"))


class Code(Form):
    code = StringField(lazy_gettext("Code"))


class Names(Form):
    username = StringField(lazy_gettext("Username"))
    first_name = StringField(lazy_gettext("First name"))
    last_name = StringField(lazy_gettext("Last name"))


class Invite(Form):
    invite_code = StringField(lazy_gettext("Invite code"))
