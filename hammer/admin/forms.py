"""The forms of the operator's pages."""

from flask_babel import lazy_gettext
from wtforms import (  # type: ignore[import-untyped]
    BooleanField,
    FileField,
    HiddenField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)

from hammer.models import Scope, SigningAlgorithm
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


class Names(Form):
    """The form that changes the names of a person."""

    username = StringField(lazy_gettext("Username"))
    first_name = StringField(lazy_gettext("First name"))
    last_name = StringField(lazy_gettext("Last name"))


class NewNumber(Form):
    """The form that gives a person another number."""

    telephone_number = StringField(lazy_gettext("New number"))
    end_sessions = BooleanField(lazy_gettext("Sign the person out everywhere"))


class Attach(Form):
    """The form that makes a person a referee of another one."""

    referrer = StringField(lazy_gettext("Invite code or id of the person who invited them"))
    reason = StringField(lazy_gettext("Reason"))


class Detach(Form):
    """The form that undoes an activation."""

    reason = StringField(lazy_gettext("Reason"))
    may_activate = BooleanField(lazy_gettext("The person may activate an invite code once more"))


class HowMany(Form):
    """The form that asks how many people are meant, before all of them are deleted."""

    count = StringField(lazy_gettext("Number of people to delete"))


class People(Form):
    """The form that finds people."""

    q = StringField(lazy_gettext("Number, name, code or id"))
    only = StringField(lazy_gettext("Show"))
    joined_from = StringField(lazy_gettext("Joined from"))
    joined_to = StringField(lazy_gettext("until"))
    invited_by = StringField(lazy_gettext("Invited by"))


class Import(Form):
    """The form that takes a file of people."""

    file = FileField(lazy_gettext("File"))


class ShowNumber(Form):
    """The form that asks why a number is to be shown."""

    reason = StringField(lazy_gettext("Why?"))


class Webhook(Form):
    """The form that adds or changes a webhook endpoint."""

    client = StringField(lazy_gettext("App (name or id)"))
    url = StringField(lazy_gettext("URL"))
    which = StringField()
    """`all` for all types of events."""
    types = SelectMultipleField(lazy_gettext("What is it told?"))
    seen = HiddenField()
    """The edition of the endpoint that the form was filled in from."""


class Replay(Form):
    """The form that posts events once more: one, or those of a time."""

    since = StringField(lazy_gettext("From (UTC)"))
    until = StringField(lazy_gettext("To (UTC)"))
    message_id = HiddenField()


class Audit(Form):
    """The filters of the audit trail."""

    by_staff = StringField(lazy_gettext("Only acts of staff"))
    kind = StringField(lazy_gettext("What"))
    person = StringField(lazy_gettext("Person (id)"))
    client = StringField(lazy_gettext("App (id)"))
    since = StringField(lazy_gettext("From (UTC)"))
    until = StringField(lazy_gettext("To (UTC)"))


class Client(Form):
    """The form that adds or changes a client."""

    name = StringField(lazy_gettext("Name"))
    redirect_uris = TextAreaField(lazy_gettext("Redirect URIs"))
    post_logout_redirect_uris = TextAreaField(lazy_gettext("Redirect URIs after signing out"))
    backchannel_logout_uri = StringField(lazy_gettext("Address for logout notices"))
    algorithm = SelectField(lazy_gettext("Signature of its id tokens"), choices=[each.value for each in SigningAlgorithm])
    first_party = BooleanField(lazy_gettext("It is our own app"))
    pkce_required = BooleanField(lazy_gettext("It has to use PKCE"))
    scopes = SelectMultipleField(lazy_gettext("Scopes"), choices=[each.value for each in Scope])
    sends_per_hour = StringField(lazy_gettext("Texts an hour"))
    origins = TextAreaField(lazy_gettext("Origins"))
    public = BooleanField(lazy_gettext("It cannot keep a secret"))
    seen = HiddenField()
    """The edition of the client that the form was filled in from; empty for a new client."""


class RotateKeys(Form):
    """The form that makes new keys for id tokens."""

    ahead = BooleanField(lazy_gettext("Publish them ten minutes before they sign"))
