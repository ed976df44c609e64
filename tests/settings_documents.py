"""What is written about the settings from their declarations in `config.py`: the table of docs/settings.md, and `.env.example`.
`make settings` writes both; tests/configuration/test_documents.py checks that they are up to date."""

import re
import textwrap
from typing import Any

from marshmallow.validate import OneOf, Range

import config
from tests.serving import ROOT

DOCUMENT = ROOT / "docs" / "settings.md"
EXAMPLE = ROOT / ".env.example"
BEGIN, END = "<!-- made by `make settings` -->", "<!-- end of what is made -->"
LONGEST_LIST = 5
"""Values of a setting are listed up to this number; there are too many countries."""


def table() -> str:
    """The settings with their defaults, possible values and meanings, in Markdown."""
    rows = [f"| `{each.name}` | {_default(each)} | {_values(each)} | {each.help} |" for each in config.DECLARED.values()]
    return "\n".join(["| name | default | values | |", "|---|---|---|---|", *rows])


def example() -> str:
    """A file `.env` in which every setting is commented out and has its default."""
    parts = [
        "# Copy this file to .env and change what you need. docs/settings.md explains each setting; `make settings` writes both."
    ]
    for each in config.DECLARED.values():
        meaning = re.sub(r"\[.+?\]\((.+?)\)", r"docs/\1", each.help)
        if each.default_text or each.development is not None:
            meaning += f" Default: {_default(each)}."
        value = "" if callable(each.default) else _text(each, each.default)
        lines = textwrap.wrap(meaning.replace("`", ""), 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        parts.append("\n".join([*lines, f"# {each.name}={value}"]))
    return "\n\n".join(parts) + "\n"


def written() -> str:
    """The table as it is in the document."""
    return DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0].strip("\n")


def _default(declared: config.Declaration) -> str:
    if declared.default_text:
        return declared.default_text
    usual = _text(declared, declared.default)
    development = "" if declared.development is None else f"; `{_text(declared, declared.development)}` in development"
    return (f"`{usual}`" if usual else "none") + development


def _text(declared: config.Declaration, value: Any) -> str:
    return str(value) if declared.secret else declared.shown(declared.convert(value))


def _values(declared: config.Declaration) -> str:
    if isinstance(declared.check, Range):
        return f"{declared.check.min} to {declared.check.max}"
    if isinstance(declared.check, OneOf) and len(list(declared.check.choices)) <= LONGEST_LIST:
        return ", ".join(f"`{choice}`" for choice in declared.check.choices)
    return "`on`, `off`" if declared.kind is bool else ""


if __name__ == "__main__":
    page = DOCUMENT.read_text()
    DOCUMENT.write_text(f"{page.partition(BEGIN)[0]}{BEGIN}\n{table()}\n{END}{page.partition(END)[2]}")
    EXAMPLE.write_text(example())
