"""`texts` and `worker`: what became of texts, trying the gateways, and sending from a process of its own."""

import logging
import signal
import threading

import click
from flask import current_app

from hammer import clock
from hammer.cli.commands import Group, commands
from hammer.cli.output import minute, print_table
from hammer.grants import logout_notices
from hammer.login import test_numbers
from hammer.models import MessageState
from hammer.operations import seals
from hammer.parsing import phones
from hammer.sms import gateways, outbox
from hammer.web.settings import settings
from hammer.webhooks import deliveries

log = logging.getLogger(__name__)


@commands.group(cls=Group)
def texts() -> None:
    """See what became of texts, and try the gateways."""


@texts.command("list")
@click.option("--state", type=click.Choice(MessageState), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Texts shown.")
def list_texts(state: str | None, limit: int) -> None:
    """List texts, the newest first, and count what became of them."""
    rows = [
        (
            *(str(t.id), t.telephone_number or "", t.state, t.gateway or "", str(t.tries), minute(t.asked_at)),
            minute(t.ended_at) if t.ended_at else "",
        )
        for t in outbox.newest(limit, state=state).items
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
    stop = threading.Event()
    handlers_before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # for other threads
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
