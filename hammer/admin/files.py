"""Files with people, out of the list and into it.

A file that is imported is never stored: the page that says what would happen holds it, packed, in its form, which adds the people.
"""

import zlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import islice
from typing import Any, Final

from flask import Response, flash, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from flask_babel import format_decimal, gettext, ngettext

from hammer import clock
from hammer.admin import forms, people
from hammer.admin.access import admin_only
from hammer.admin.asking import done, refuse
from hammer.admin.blueprint import blueprint
from hammer.refusals import N_, InvalidFields, NotAllowed, Refusal, RetryLater
from hammer.sessions.sessions import Caller
from hammer.users import files, search, transfers
from hammer.users.files import Fault, Line, Seen
from hammer.users.transfers import Judge, NewUser, Outcome
from hammer.web.pages.frame import refused, shows_only
from hammer.web.settings import settings

AT_ONCE: Final = 1000
"""Rows of a download that are sent at once."""
ADDED_AT_ONCE: Final = 100
"""People of an import who are added in one transaction: other acts of staff wait for its end."""
MOST_PEOPLE: Final = 1000
MOST_BYTES: Final = 256 * 1024
LONGEST_BODY: Final = MOST_BYTES // 3 * 4 + 16 * 1024
"""Bytes of a form with the longest file, packed."""
FAULTS_SHOWN: Final = 100
NO_FILE: Final = N_("Choose a file.")
CHOOSE_AGAIN: Final = N_("Choose the file once more.")
TOO_LARGE: Final = N_("This file is larger than 256 kB. Split it, or use the command line.")
TOO_MANY: Final = N_("This file has more than 1,000 people. Split it, or use the command line.")
NOBODY: Final = N_("This file has a header and no people.")
NOTHING_LEFT: Final = N_("Of deleted people nothing is left that a file could have.")


@blueprint.route("/people/export/", methods=["GET", "POST"])
@admin_only(recent=True)
def export(caller: Caller) -> ResponseReturnValue:
    """Says whom the file will have: the people of the list with the same address. Then sends it, as it is read."""
    form = forms.People()
    try:
        asked, filters = people.read_address(form)
    except InvalidFields as refusal:
        return refuse(url_for("admin.list_people"), gettext(next(iter(refusal.errors.values()))[0]))
    back = url_for("admin.list_people", **asked)  # type: ignore[arg-type]
    if filters.only == search.Only.DELETED:
        return refuse(back, gettext(NOTHING_LEFT))
    if shows_only():
        return render_template("admin/export.html", form=form, back=back, shown=people.SHOWN)
    ids, more = transfers.choose(form.q.data, filters, actor_id=caller.user_id)
    said = ngettext("The file has %(count)s person.", "The file has %(count)s people.", len(ids), count=format_decimal(len(ids)))
    flash(f"{said} {gettext('The list has more: these are its first ones.')}" if more else said)
    name = f"people-{clock.now():%Y-%m-%d}.csv"
    sent = Response(stream_with_context(_csv(ids)), mimetype="text/csv")
    sent.headers.set("Content-Disposition", "attachment", filename=name)
    return sent


@blueprint.route("/people/import/", methods=["GET", "POST"])
@admin_only(recent=True, longest_body=LONGEST_BODY)
def import_(caller: Caller) -> ResponseReturnValue:
    """Says what would become of the lines of a file. Then adds the people."""
    form, template = forms.Import(), "admin/import.html"
    if request.method != "POST":
        return render_template(template, form=form, columns=files.IMPORTED)
    sure = "packed" in request.form and "check" not in request.form and not shows_only()
    content, answers = b"", list[Refusal | None]()
    judge = partial(_add, answers) if sure else transfers.check
    try:
        content = _sent()
        found = _outcomes(content, partial(judge, actor_id=caller.user_id))
    except (InvalidFields, NotAllowed, RetryLater) as refusal:
        kept = _packed(content) if isinstance(refusal, RetryLater) else ""
        added = answers.count(None) if answers else None
        return refused(refusal, form, template, columns=files.IMPORTED, kept=kept, added=added)
    if sure:
        return done(url_for("admin.list_people"), _result(found))
    return render_template(template, form=form, columns=files.IMPORTED, packed=_packed(content), **_report(found))


def _add(answers: list[Refusal | None], users: Sequence[NewUser], *, actor_id: str) -> list[Refusal | None]:
    """What `transfers.add` answers, in batches. `answers` has those of the batches before, when one is refused."""
    for start in range(0, len(users) or 1, ADDED_AT_ONCE):  # one batch at least, for its event
        answers += transfers.add(users[start : start + ADDED_AT_ONCE], actor_id=actor_id)
    return answers


def _csv(ids: list[str]) -> Iterator[bytes]:
    """The file, with the byte order mark that spreadsheets look for."""
    lines = files.csv_lines(transfers.chosen(ids))
    yield "\ufeff".encode()
    while some := "".join(islice(lines, AT_ONCE)):
        yield some.encode()


def _sent() -> bytes:
    """The file that was sent, or sent along by the page that asks. Refuses with `InvalidFields` one that is too large, or none."""
    file = request.files.get("file")
    if file is not None and file.filename:
        content: bytes = file.read()
    elif "packed" in request.form:
        content = _unpacked(request.form["packed"])
    else:
        raise InvalidFields({"file": [NO_FILE]})
    if len(content) > MOST_BYTES:
        raise InvalidFields({"file": [TOO_LARGE]})
    return content


def _outcomes(content: bytes, judge: Judge) -> list[Outcome]:
    """What becomes of each line. Refuses with `InvalidFields` a file that is none of people, or has too many."""
    seen = Seen()
    try:
        return transfers.outcomes(settings(), _lines(content), seen, judge)
    except files.Unreadable as error:
        raise InvalidFields({"file": [_in_words(fault) for fault in error.faults]}) from error
    finally:
        seen.close()


def _lines(content: bytes) -> list[Line]:
    """The lines of the file. Refuses with `InvalidFields` none and too many, and raises `files.Unreadable`."""
    lines = list(islice(files.read(BytesIO(content)), MOST_PEOPLE + 1))
    if not 0 < len(lines) <= MOST_PEOPLE:
        raise InvalidFields({"file": [TOO_MANY if lines else NOBODY]})
    if any(files.NOT_UTF_8 in line.faults.values() for line in lines):
        raise files.Unreadable(files.NOT_UTF_8_FILE)
    return lines


def _report(found: list[Outcome]) -> dict[str, Any]:
    """What the page says of the lines: how many there are of each kind, and the first that cannot be added."""
    faults = [(each, column, _in_words(fault)) for each in found for column, fault in each.faults.items()]
    return {
        "good": sum(each.is_good for each in found),
        "there": sum(each.is_there for each in found),
        "failed": sum(bool(each.faults) for each in found),
        "faults": faults[:FAULTS_SHOWN],
        "more": len(faults) > FAULTS_SHOWN,
        "ignored": [name for name in files.EXPORTED if name not in files.IMPORTED and any(name in each.line.row for each in found)],
    }


def _result(found: list[Outcome]) -> str:
    """What was done, with the numbers of people that were not added if there are any."""
    counts = _report(found)
    said = [ngettext("%(num)d person was added.", "%(num)d people were added.", counts["good"])]
    if counts["there"]:
        said.append(gettext("Skipped, because their number has a user: %(count)s.", count=format_decimal(counts["there"])))
    if counts["failed"]:
        said.append(gettext("Failed: %(count)s.", count=format_decimal(counts["failed"])))
    return " ".join(said)


def _in_words(fault: Fault) -> str:
    return str(gettext(fault.sentence, **fault.values))


def _packed(content: bytes) -> str:
    return urlsafe_b64encode(zlib.compress(content)).decode()


def _unpacked(packed: str) -> bytes:
    """The content, or the beginning of one that is too large. Refuses with `InvalidFields` what `_packed` did not make."""
    try:
        return zlib.decompressobj().decompress(b64decode(packed, b"-_", validate=True), MOST_BYTES + 1)
    except (ValueError, zlib.error) as error:
        raise InvalidFields({"file": [CHOOSE_AGAIN]}) from error
