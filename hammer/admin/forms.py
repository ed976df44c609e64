"""The forms of the operator's pages."""

from flask_babel import lazy_gettext
from wtforms import StringField  # type: ignore[import-untyped]

from hammer.web.pages.forms import Form


class Factor(Form):
    """The form that proves a second factor."""

    code = StringField(lazy_gettext("Code from your app, or a recovery code"))
    passkey = StringField()
    """What a passkey answered; empty where a code was typed."""


class App(Form):
    """The form that enrols an authenticator app, or a passkey in place of it."""

    code = StringField(lazy_gettext("Code that the app shows"))
    passkey = StringField()


class Passkey(Form):
    """The form that adds or renames a passkey."""

    name = StringField(lazy_gettext("Name"))
    passkey = StringField()


class Link(Form):
    """The form that takes an enrolment link."""

    link = StringField(lazy_gettext("Enrolment link"))
