"""Templates of the operator (`HAMMER_TEMPLATES`), which are used instead of ours with the same name, and their check."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flask import Flask, render_template
from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PrefixLoader, TemplateError, TemplateSyntaxError, meta

from config import Settings
from hammer.operations.doctor import ADVICE, FINE, WRONG, Finding

ORIGINAL: Final = "original"
"""A template of the operator can extend the one that it replaces: `original/base.html`."""
OURS: Final = Path(__file__).parents[2] / "templates"


def loader(folder: str) -> BaseLoader:
    """Finds a template in the folder of the operator, then in ours."""
    ours = FileSystemLoader(OURS)
    return ChoiceLoader([FileSystemLoader(folder), PrefixLoader({ORIGINAL: ours}), ours])


def examine(app: Flask, settings: Settings) -> Iterator[Finding]:
    """Compiles each template of the operator, draws an error page, and looks for names of templates that there are not."""
    if not settings.templates:
        return
    folder, ours = Path(settings.templates), FileSystemLoader(OURS).list_templates()
    theirs = FileSystemLoader(folder).list_templates()
    known = {*theirs, *ours, *(f"{ORIGINAL}/{name}" for name in ours)}
    used, broken = set(ours), list[Finding]()
    for name in theirs:
        fault, refers = _compile(app, folder / name)
        used |= refers
        faults = ([fault] if fault else []) + [f"names {other}, which there is not" for other in sorted(refers - known)]
        broken += [Finding(WRONG, "templates", f"{name}: {each}", f"Correct {folder / name}.") for each in faults]
    yield from broken
    for name in sorted(set(theirs) - used):
        how = f"{name} has the name of none of ours, and no other names it"
        yield Finding(ADVICE, "templates", how, "Correct its name; docs/branding.md lists ours.")
    if not broken and (fault := _draw(app)):
        yield Finding(WRONG, "templates", f"an error page cannot be drawn: {fault}", f"Correct the templates in {folder}.")
    elif not broken:
        yield Finding(FINE, "templates", f"{len(theirs)} of your own in {folder}, without errors")


def _draw(app: Flask) -> str:
    """What is wrong when an error page is drawn, which needs the frame of all pages and no database; "" if nothing is."""
    try:
        with app.test_request_context():
            render_template("error.html", what="", then="", label="", way_on="", form=None, write_to="")
    except TemplateError as error:
        return str(error)
    return ""


def _compile(app: Flask, file: Path) -> tuple[str, set[str]]:
    """What is wrong with a template, "" if nothing is; and the templates that it names."""
    try:
        tree = app.jinja_env.parse(file.read_text(encoding="utf-8"), str(file))
        names = {name for name in meta.find_referenced_templates(tree) if name}
        app.jinja_env.compile(tree, str(file))
    except TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}", set()
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}", set()
    return "", names
