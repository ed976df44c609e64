"""`texts` and `worker`: what became of texts, trying the gateways, and sending from a process of its own."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import click
from flask import Flask, current_app

from hammer import clock
from hammer.cli.commands import Group, commands
from hammer.cli.output import minute, print_table, second
from hammer.db.database import db
from hammer.grants import logout_notices
from hammer.login import test_numbers
from hammer.models import MessageState
from hammer.operations import seals
from hammer.parsing import phones
from hammer.quotas import guesses
from hammer.quotas import texts as quota
from hammer.refusals import InvalidFields, RegionNotServed
from hammer.sms import gateways, outbox
from hammer.web import metrics_server, traces
from hammer.web.settings import settings
from hammer.webhooks import deliveries

log = logging.getLogger(__name__)


@commands.group(cls=Group)
def texts() -> None:
    """See what became of texts, and try the gateways."""


@texts.command("list")
@click.option("--state", type=click.Choice(MessageState), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Texts shown.")
@click.option("--number", "phone", metavar="PHONE", help="Only those with codes for this number, with what is in the log of them.")
def list_texts(state: str | None, limit: int, phone: str | None) -> None:
    """List texts, the newest first, and count what became of them; or follow those to one number."""
    if phone is not None:
        _list_texts_to(phone, state, limit)
        return
    rows = [
        (
            *(str(t.id), t.telephone_number or "", t.state, t.gateway or "", str(t.tries), minute(t.asked_at)),
            minute(t.ended_at) if t.ended_at else "",
        )
        for t in outbox.newest(settings(), limit, state=state).items
    ]
    if rows:
        print_table(("ID", "NUMBER", "STATE", "GATEWAY", "TRIES", "ASKED FOR (UTC)", "SENT, OR GIVEN UP"), rows)
    status = outbox.status()
    counts = [f"{count} {state}{f' by {gateway}' if gateway else ''}" for (state, gateway), count in sorted(status.newest.items())]
    click.echo(f"Of the newest {outbox.COUNTED}: {', '.join(counts)}." if counts else "There are no texts.", err=True)
    if status.waiting:
        seconds = status.oldest_waiting.total_seconds()
        click.echo(
            f"{status.waiting} {'waits' if status.waiting == 1 else 'wait'}, the oldest for {seconds:.0f} seconds.", err=True
        )


def _list_texts_to(phone: str, state: str | None, limit: int) -> None:
    """Lists the texts to one number with their ids in the log, and what this number may still ask for."""
    numbers = phones.meant(settings(), phone)
    if not numbers:
        raise click.ClickException("This is no telephone number.")
    rows = [
        (
            *(str(t.id), t.state, t.gateway or "", str(t.tries), second(t.asked_at), second(t.ended_at)),
            *(t.code or "", t.verification or "", t.request_id or ""),
        )
        for t in outbox.newest(settings(), limit, state=state, numbers=numbers).items
    ]
    if rows:
        heads = ("ID", "STATE", "GATEWAY", "TRIES", "ASKED FOR (UTC)", "SENT, OR GIVEN UP", "CODE", "VERIFICATION", "REQUEST")
        print_table(heads, rows)
    else:
        hours = settings().texts_kept / timedelta(hours=1)
        click.echo(
            f"No text with a code was asked for. Texts are kept for {hours:g} {'hour' if hours == 1 else 'hours'}.", err=True
        )
    for line in _what_stops(numbers[0]):
        click.echo(line, err=True)


def _what_stops(number: str) -> Iterator[str]:
    """Why this number would get no text now."""
    now = clock.now()
    if test_numbers.is_active(settings(), number, now):
        yield "This is a test number: no text leaves for it."
        return
    try:
        phones.read(settings(), number)
    except RegionNotServed:
        yield "No code is sent to this number: its country is not in HAMMER_REGIONS, or its kind gets no texts."
    except InvalidFields:
        yield "No code is sent to this number: it does not exist."
    left = quota.of_number(db.session(), settings(), number, now)
    for known, who in ((False, "An unknown device"), (True, "A known device")):
        after = f", the next one in {clock.seconds_until(again, now)} s" if (again := left[known].next_send_at) else ""
        yield f"{who} may ask for {left[known].left} more today{after}."
    wrong = guesses.of_number(db.session(), settings(), settings().number_hashes(number), now)
    if wrong.length is None:
        yield "Too many wrong codes were entered: only known devices get codes."


@texts.command("try")
@click.argument("phone")
@click.pass_context
def try_gateways(ctx: click.Context, phone: str) -> None:
    """Send a real text to PHONE, and show what each gateway did."""
    number = phones.read(settings(), phone)
    if test_numbers.is_active(settings(), number, clock.now()):
        raise click.ClickException("This is a test number: no text leaves for it.")
    fault = "there is no gateway"
    for gateway, fault, seconds in outbox.send_test_message(settings(), number):
        click.echo(f"{gateway}: {fault or 'took the text'}, after {seconds:.1f} s")
    if fault:
        click.echo("No gateway took it. To see what is wrong: flask --app wsgi doctor", err=True)
        ctx.exit(1)
    click.echo(f"It is on its way to {number}. Check that it arrives: a gateway may take a text and drop it.")


@commands.command()
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Texts that are sent at the same time.")
def worker(threads: int) -> None:
    """Send texts, notices and webhooks, and seal events.

    Runs until a signal: at SIGTERM and SIGINT the worker finishes what it is sending. For servers with HAMMER_SMS_THREADS=0; run as
    many workers as you like, on one or more machines.
    """
    gateways.check(settings())
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # for other threads
    traces.start(app)
    with ExitStack() as open_while_it_runs:
        try:
            open_while_it_runs.enter_context(metrics_server.serve(app, settings().worker_metrics))
        except OSError as error:
            raise click.ClickException(f"HAMMER_WORKER_METRICS: {error.strerror}. Choose another port or host.") from error
        _work(app, threads)


def _work(app: Flask, threads: int) -> None:
    stop = threading.Event()
    handlers_before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    senders = [outbox.sender_threads(app, threads), logout_notices.notice_threads(app), deliveries.threads(app), seals.threads(app)]
    for sender in senders:
        sender.start()
    counts = threads, logout_notices.THREADS, deliveries.THREADS
    log.info("Sending texts in %d threads, logout notices in %d, and webhooks in %d.", *counts)
    while not stop.wait(1) and all(sender.alive for sender in senders):
        pass
    for number, handler in handlers_before.items():  # a second signal ends the process at once
        signal.signal(number, handler)
    a_thread_died = not stop.is_set()
    for sender in senders:
        sender.stop()
    if a_thread_died:
        raise click.ClickException("A sender thread died; its traceback is above. Start the worker again.")
    log.info("Stopped. All texts, logout notices and webhooks that were being sent are finished.")
