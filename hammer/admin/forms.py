"""The forms of the operator's pages."""

from flask_babel import lazy_gettext
from wtforms import StringField  # type: ignore[import-untyped]

from hammer.web.pages.forms import Form


class Factor(Form):
    """The form that proves a second factor."""

    code = StringField(lazy_gettext("Code from your app, or a recovery code"))


class App(Form):
    """The form that enrols an authenticator app."""

    code = StringField(lazy_gettext("Code that the app shows"))


class Link(Form):
    """The form that takes an enrolment link."""

    link = StringField(lazy_gettext("Enrolment link"))
