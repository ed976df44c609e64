"""What the forms of all pages share. No rule is checked here: the verbs do that, and `refused` shows a refusal at its field."""

from flask import request
from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import StringField  # type: ignore[import-untyped]
from wtforms.form import BaseForm  # type: ignore[import-untyped]

from hammer.refusals import InvalidFields, Refusal, RetryLater
from hammer.web.pages.filters import told, unbroken


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
        elif isinstance(refusal, RetryLater):
            self.problem = told(refusal)
        else:
            first.errors = [told(refusal)]
        if wrong.errors:  # so that whoever hears the page is there at once, and is told why
            wrong.render_kw = {"autofocus": True}


class Phone(Form):
    telephone_number = StringField(lazy_gettext("Telephone number"))
