"""The base of state machines (Hypothesis) that call verbs in any order: an empty database, an application context, a clock."""

from datetime import datetime

import time_machine
from flask import Flask
from hypothesis.stateful import RuleBasedStateMachine

from config import Settings
from hammer.db.database import db, transaction
from tests.tampering import empty_all_tables


class Machine(RuleBasedStateMachine):
    """A subclass calls `begin` in a method with `@initialize`."""

    app: Flask
    settings: Settings

    def begin(self, start: datetime) -> None:
        """Stops the clock at `start`, enters an application context, and empties the database."""
        self.moved = time_machine.travel(start, tick=False)
        self.clock = self.moved.start()
        self.context = self.app.app_context()
        self.context.push()
        with transaction() as tx:
            empty_all_tables(tx.connection())

    def teardown(self) -> None:
        if hasattr(self, "context"):
            db.session.remove()
            self.context.pop()
            self.moved.stop()
