"""What webhooks cost: a claim while many deliveries are due, and how many deliveries one worker posts in a second.

    python -m tests.benchmarks.webhooks sqlite:////tmp/empty.sqlite3 postgresql+psycopg://…/empty

Each database is migrated and empty, and is emptied again. The receiver of the posts is another process on the loopback.
"""

import argparse
import asyncio
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import cycle

from sqlalchemy import delete, insert, select, text

from config import Settings
from hammer import clock, create_app, events
from hammer.db.database import db, transaction
from hammer.models import Event, WebhookDelivery, WebhookEndpoint
from hammer.webhooks import deliveries, endpoints
from tests.benchmarks import hammer_app
from tests.benchmarks.__main__ import print_versions
from tests.benchmarks.applications import environment
from tests.tampering import tamper

BATCH = 10_000
RARE = 1000
"""One published event in so many is a `KEY_ROTATED`. The others are `SIGNED_UP`."""
CLAIMS = 1000


def fill(endpoint_ids: Sequence[str], many: int, due_at: datetime) -> None:
    """Replaces all events by `many` published ones and as many that apps are not told about. The published ones wait for the
    endpoints in turn."""
    now, receivers = clock.now(), cycle(endpoint_ids)
    tamper(*(f"delete from {table}" for table in ("webhook_deliveries", "seals", "events")))
    with transaction() as tx:
        for begin in range(1, many + 1, BATCH):
            places = range(begin, min(begin + BATCH, many + 1))
            kinds = {place: events.Kind.SIGNED_UP if place % RARE else events.Kind.KEY_ROTATED for place in places}
            published = [{"id": place, "at": now, "kind": kinds[place], "sequence": place} for place in places]
            tx.execute(insert(Event), published)
            others = [{"id": many + place, "at": now, "kind": events.Kind.SIGNED_IN, "sequence": None} for place in places]
            tx.execute(insert(Event), others)
            waiting = [{"endpoint_id": next(receivers), "event_id": place, "tries": 0, "due_at": due_at} for place in places]
            tx.execute(insert(WebhookDelivery), waiting)
    if db.engine.dialect.name != "sqlite":
        db.session.execute(text("select setval(pg_get_serial_sequence('events', 'id'), max(id)) from events"))
        db.session.execute(text("vacuum analyze"))


def measure_claims(settings: Settings, many: int) -> None:
    """Prints how long the transaction takes with which a worker claims an endpoint and reads its oldest delivery."""
    for receivers in (20, 1):
        with _endpoints(settings, 20, port=9) as ids:
            fill(ids[:receivers], many, clock.now())
            took = []
            for _ in range(CLAIMS):
                now, began = clock.now(), time.perf_counter()
                with transaction() as tx:
                    endpoint = deliveries.QUEUE.claim(tx, now, *deliveries._has_work(now))
                    assert endpoint is not None
                    assert deliveries._oldest_due(tx, endpoint, now) is not None
                took.append((time.perf_counter() - began) * 1000)
                with transaction() as tx:
                    deliveries._release(tx, endpoint, next_at=now)
            print(
                f"{many} deliveries due at {receivers} of 20 endpoints: a claim takes {statistics.median(took):.1f} ms, "
                f"99 of 100 at most {sorted(took)[CLAIMS * 99 // 100]:.1f} ms.",
                flush=True,
            )


def measure_rate(settings: Settings, many: int, rounds: int) -> None:
    """Prints how many deliveries the threads of one process post in a second."""
    app = create_app(settings)
    for receivers in (1, 4):
        rates, cpu = [], []
        for _ in range(rounds):
            with _receiver() as port, _endpoints(settings, receivers, port) as ids:
                fill(ids, many, clock.now())
                began, used = time.perf_counter(), time.process_time()
                workers = deliveries.threads(app)
                workers.start()
                while db.session.scalar(select(WebhookDelivery.id).where(WebhookDelivery.ended_at.is_(None)).limit(1)):
                    time.sleep(0.05)
                rates.append(many / (time.perf_counter() - began))
                cpu.append((time.process_time() - used) / many * 1000)
                workers.stop()
        print(
            f"{receivers} endpoints: {statistics.median(rates):.0f} deliveries a second ({min(rates):.0f} to {max(rates):.0f}), "
            f"{statistics.median(cpu):.1f} ms of CPU each.",
            flush=True,
        )


@contextmanager
def _endpoints(settings: Settings, many: int, port: int) -> Iterator[list[str]]:
    yield [endpoints.add(settings, f"http://127.0.0.1:{port}/{n}").id for n in range(many)]
    with transaction() as tx:
        tx.execute(delete(WebhookEndpoint))


@contextmanager
def _receiver() -> Iterator[int]:
    """A server that accepts every post; its port."""
    command = [sys.executable, "-m", "tests.benchmarks.webhooks", "--receive"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _receive() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.webhooks", description=__doc__)
    parser.add_argument("urls", nargs="*")
    parser.add_argument("--due", type=int, default=100_000, help="deliveries that are due while claims are measured")
    parser.add_argument("--many", type=int, default=1000, help="deliveries in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        asyncio.run(_receive())
    logging.disable()
    print_versions()
    for url in options.urls:
        with environment(DATABASE_URL=url):
            settings = replace(hammer_app.settings(), webhook_hosts=frozenset({"127.0.0.1"}))
            with create_app(settings).app_context():
                print(f"\n{db.engine.dialect.name}:\n")
                measure_claims(settings, options.due)
                measure_rate(settings, options.many, options.rounds)
                db.session.remove()


if __name__ == "__main__":
    main()
