"""The settings of this installation, as they are. Of a secret the page shows only whether it is set."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flask import render_template
from flask.typing import ResponseReturnValue
from markupsafe import Markup

import config
from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.refusals import N_
from hammer.sessions.sessions import Caller
from hammer.web.pages.filters import code
from hammer.web.settings import settings

GROUPS: Final = {
    "env": N_("Installation"),
    "secret_key": N_("Key and databases"),
    "sms_url": N_("Gateways and countries"),
    "test_numbers": N_("Test numbers"),
    "code_length": N_("Codes and guesses"),
    "resend_wait": N_("Limits"),
    "support": N_("Your service"),
    "android_app_hash": N_("Apps on phones"),
    "invitee_numbers": N_("Privacy and monitoring"),
}
"""The field of `config.Settings` with which a group begins -> the name of the group."""


@dataclass(frozen=True)
class Setting:
    name: str
    value: str
    help: Markup
    """The first sentence of its help."""
    secret: bool
    changed: bool
    """Whether it is not the default; False for all secrets, whose value nothing on the page may depend on."""


@blueprint.get("/settings/", endpoint="settings")
@admin_only()
def list_settings(_: Caller) -> ResponseReturnValue:
    """All settings, in groups."""
    groups: list[tuple[str, list[Setting]]] = []
    for field, setting in _settings():
        if field in GROUPS:
            groups.append((GROUPS[field], []))
        groups[-1][1].append(setting)
    return render_template("admin/settings.html", groups=groups)


def _settings() -> Iterator[tuple[str, Setting]]:
    values = vars(settings())
    for field, declared in config.DECLARED.items():
        changed = not declared.secret and not declared.is_default(values[field], values)
        about = _written(_first_sentence(declared.help))
        yield field, Setting(declared.name, declared.shown(values[field]), about, declared.secret, changed)


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].removesuffix(".") + "."


def _written(text: str) -> Markup:
    """The Markdown of a help text as HTML: its code, and the names of the documents that it links to."""
    parts = re.sub(r"\[[^]]+\]\(([^)]+)\)", r"`docs/\1`", text).split("`")
    return Markup("").join(code(part) if place % 2 else part for place, part in enumerate(parts))
