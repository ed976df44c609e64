"""`users import` and `users export`: all users, from a file and to a file."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, cast

import click

from hammer.cli.users import users
from hammer.parsing import phones
from hammer.users import files, transfers
from hammer.users.files import EXPORTED, IMPORTED, Seen
from hammer.users.transfers import Outcome
from hammer.web.settings import settings

BATCH: Final = 200
"""Users that are added in one transaction. On SQLite other writers wait for it."""


@users.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--write", is_flag=True, help="Add the users. Without it nothing is written.")
@click.option("--full", is_flag=True, help="Show whole numbers with the lines that failed.")
@click.pass_context
def import_users(ctx: click.Context, file: str, write: bool, full: bool) -> None:
    """Add the users of FILE, or of standard input for `-`.

    FILE is CSV with a header, or JSON lines. Users whose number has a user already are skipped, so a run that was interrupted can
    be repeated. docs/import.md describes the columns.
    """
    judge = transfers.add if write else transfers.check
    counts: Counter[str] = Counter()
    ignored: set[str] = set()
    with ExitStack() as closing:
        closing.enter_context(_unreadable_in_words())
        raw = cast(BinaryIO, closing.enter_context(click.open_file(file, "rb")))
        bar = closing.enter_context(_progress(raw))
        seen = Seen()
        closing.callback(seen.close)
        lines = files.read(raw)
        while batch := list(islice(lines, BATCH)):
            for outcome in transfers.outcomes(settings(), batch, seen, judge):
                ignored |= outcome.line.row.keys() - set(IMPORTED)
                counts["good"] += outcome.is_good
                counts["skipped"] += outcome.is_there
                if outcome.faults:
                    counts["lines of failed"] += _report(outcome, full=full)
            counts["all"] += len(batch)
            bar()
    failed = counts["all"] - counts["good"] - counts["skipped"]
    on_lines = f" on {counts['lines of failed']} lines" if counts["lines of failed"] > failed else ""
    if ignored:
        click.echo(f"Not imported: {', '.join(name for name in EXPORTED if name in ignored)}.", err=True)
    click.echo(
        f"{counts['good']} {'added' if write else 'would be added'}, {counts['skipped']} skipped because there is a user with "
        f"their number, {failed} failed{on_lines}."
    )
    if not write:
        click.echo("Nothing was written. To add them: --write", err=True)
    ctx.exit(1 if failed else 0)


@users.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl"]), help="The default is that of FILE's name, or jsonl.")
def export_users(file: str, kind: str | None) -> None:
    """Write all users to FILE, or to standard output for `-`.

    FILE must be new, and is readable for its owner alone. An import reads it. docs/import.md describes the columns.
    """
    as_csv = (kind or Path(file).suffix[1:].lower()) == "csv"
    if file == "-":
        count = files.write(sys.stdout.buffer, transfers.everyone(), as_csv=as_csv)
    else:
        with _new_file(file) as raw:
            count = files.write(raw, transfers.everyone(), as_csv=as_csv)
    click.echo(f"{count} user{' was' if count == 1 else 's were'} exported.", err=True)


def _report(outcome: Outcome, *, full: bool) -> int:
    """Prints what is wrong with a row, without any of its values but the number. Returns how many lines it covers."""
    line, over_the_bar = outcome.line, "\r\x1b[K" if sys.stderr.isatty() else ""
    number = outcome.number and (outcome.number if full else phones.masked(outcome.number))
    where = f"line {line.number}" if line.last <= line.number else f"lines {line.number} to {line.last}"
    for name, fault in outcome.faults.items():
        column = f", {name}" if name in EXPORTED else ""  # the fault of an unknown column names it
        click.echo(f"{over_the_bar}{where}{f' ({number})' if number else ''}{column}: {fault}", err=True)
    return line.last - line.number + 1


@contextmanager
def _unreadable_in_words() -> Iterator[None]:
    """Says in one line what is wrong with a whole file."""
    try:
        yield
    except files.Unreadable as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _progress(file: BinaryIO) -> Iterator[Callable[[], None]]:
    """A function that moves the progress bar to the present place in the file. There is no bar without a terminal."""
    if not sys.stderr.isatty() or not file.seekable():
        yield lambda: None
        return
    with click.progressbar(length=os.fstat(file.fileno()).st_size, file=sys.stderr) as bar:
        yield lambda: bar.update(file.tell() - bar.pos)


@contextmanager
def _new_file(path: str) -> Iterator[BinaryIO]:
    """A file that is made now, with mode 600. It is removed if the block raises."""
    try:
        raw = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
    except FileExistsError as error:
        raise click.ClickException(f"{click.format_filename(path)} is there already.") from error
    except OSError as error:
        raise click.FileError(path, error.strerror) from error
    try:
        with raw:
            yield raw
    except BaseException:
        Path(path).unlink()
        raise
