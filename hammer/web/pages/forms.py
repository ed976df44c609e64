"""What the forms of all pages share. They check no rule: the verbs do that, and `refused` shows a refusal at its field."""

from flask import request
from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import StringField  # type: ignore[import-untyped]
from wtforms.form import BaseForm  # type: ignore[import-untyped]

from hammer.refusals import InvalidFields, Refusal, RetryLater
from hammer.web.pages.filters import explained, unbroken


class Form(FlaskForm):
    problem = ""
    """A refusal that belongs to none of the fields."""

    class Meta(FlaskForm.Meta):
        def wrap_formdata(self, _form: BaseForm, _data: object) -> MultiDict[str, str] | None:
            """The text fields alone: Flask-WTF would also accept files and JSON."""
            return request.form if request.method == "POST" else None

    def refused(self, refusal: Refusal) -> None:
        """Shows the refusal where it can be corrected: at the fields that it names, else at the first one. A wait: above them."""
        first = wrong = next(iter(self))
        if isinstance(refusal, InvalidFields):
            for name, sentences in reversed(list(refusal.errors.items())):
                wrong = self._fields.get(name, first)
                wrong.errors = [unbroken(gettext(sentence)) for sentence in sentences]
        elif isinstance(refusal, RetryLater):
            self.problem = explained(refusal)
        else:
            first.errors = [explained(refusal)]
        if wrong.errors:  # a screen reader starts at the field, and reads why
            wrong.render_kw = {"autofocus": True}


class Phone(Form):
    """The form that begins a login."""

    telephone_number = StringField(lazy_gettext("Telephone number"))
