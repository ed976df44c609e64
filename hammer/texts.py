"""What we text, in which language, and the outbox it waits in.

A verb queues a text in its own transaction and calls `wake()` after it; threads of this process carry it to the gateway, so no
request waits for one. A text is claimed by moving its `due_at` ahead: should the process die while sending, another takes it up.
"""

import logging
import threading
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from babel.support import NullTranslations, Translations
from sqlalchemy import exists, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from config import Settings
from hammer import clock, gateways
from hammer.database import db, transaction
from hammer.models import Text, Verification
from hammer.refusals import N_, Unavailable

if TYPE_CHECKING:
    from flask import Flask

LEASE = timedelta(seconds=30)
"""How long a claim holds; longer than any gateway may take."""
MOST_TRIES = 3
THREADS = 4
_IDLE_SECONDS = 5.0
"""How often the outbox is looked at when nobody calls: for texts that another process left behind."""

log = logging.getLogger(__name__)
_news = threading.Event()


def init_app(app: "Flask") -> None:
    """Starts the delivery threads with the first request, in whichever process serves it. Tests deliver by hand."""
    threads: list[threading.Thread] = []
    starting = threading.Lock()

    def start() -> None:
        with starting:
            if not threads:
                threads.extend(threading.Thread(target=_deliver_for_ever, args=(app,), daemon=True) for _ in range(THREADS))
                for thread in threads:
                    thread.start()

    if not app.testing:
        app.before_request(start)


def queue(session: Session, verification: Verification) -> None:
    """Adds a text about `verification` to the outbox, in the caller's transaction."""
    session.flush()  # the verification first: SQLAlchemy orders inserts by relationships, not by foreign keys
    session.add(Text(verification_id=verification.id, due_at=clock.now(), tries=0, sent=False))


def queue_notice(session: Session, telephone_number: str, language: str) -> None:
    """Adds a text to the outbox that tells a number that it opens its account no more, in the caller's transaction."""
    session.add(Text(telephone_number=telephone_number, language=language, due_at=clock.now(), tries=0, sent=False))


def wake() -> None:
    """Tells the delivery threads that something was committed for them."""
    _news.set()


def words(settings: Settings, verification: Verification) -> str:
    """The message, in the person's language.

    The last line lets a phone offer the code to our origin alone (WICG SMS one-time codes).
    """
    code = verification.code(settings.key("codes"))
    sentence = _catalogue(verification.language).gettext(N_("Hammer code %(code)s. Do not tell it to anybody.")) % {"code": code}
    return f"{sentence}\n@{urlsplit(settings.public_url).hostname} #{code}"


def notice(language: str) -> str:
    """What the old number is told after a change of number. No code and no link: those would teach people to follow them."""
    return str(_catalogue(language).gettext(N_("Hammer: another number opens your account now. Was it not you? Write to us.")))


def deliver_next(settings: Settings) -> bool:
    """Sends the text that has waited longest; False when none is due."""
    now = clock.now()
    due = (Text.ended_at.is_(None), Text.due_at <= now)
    if not db.session.scalar(select(exists().where(*due))):
        return False
    longest = select(Text.id).where(*due).order_by(Text.due_at).limit(1).with_for_update(skip_locked=True)
    with transaction() as session:
        claim = update(Text).where(Text.id == longest.scalar_subquery()).returning(Text)
        claimed = session.scalar(claim.values(due_at=now + LEASE, tries=Text.tries + 1))
        if claimed is None:
            return False
        message = _message(session, settings, claimed)
    sent = message is not None and gateways.send(settings, *message)
    if sent or message is None or claimed.tries >= MOST_TRIES:
        with transaction() as session:
            ended = {"ended_at": clock.now(), "sent": sent, "telephone_number": None}
            session.execute(update(Text).where(Text.id == claimed.id).values(ended))
    return True


def _message(session: Session, settings: Settings, text: Text) -> tuple[str, str] | None:
    """Where the text goes, and its words; None when nobody waits for it any more."""
    if text.verification_id is None:
        return (text.telephone_number, notice(text.language or "")) if text.telephone_number else None
    verification = session.get_one(Verification, text.verification_id)
    still_wanted = verification.consumed_at is None and verification.expires_at > clock.now()
    return (verification.telephone_number, words(settings, verification)) if still_wanted else None


def _deliver_for_ever(app: "Flask") -> None:
    while True:
        try:
            with app.app_context():
                while deliver_next(app.config["SETTINGS"]):
                    pass
        except (Unavailable, SQLAlchemyError) as error:
            log.warning("The outbox waits: %s.", type(error).__name__)
        _news.wait(_IDLE_SECONDS)
        _news.clear()


@cache
def _catalogue(language: str) -> NullTranslations:
    return Translations.load(Path(__file__).parent / "translations", [language])
