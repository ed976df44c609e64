"""A staff member who uses the operator's pages (`Operator`)."""

import re

from flask import Flask
from pyotp import TOTP
from werkzeug.test import TestResponse

from hammer import clock, codes
from hammer.db.database import transaction
from hammer.db.prepared import insert_row
from hammer.factors import staff, totp
from hammer.models import Passkey
from hammer.users import accounts, people
from tests.people import Browser, Page


def app_code(secret: str, later: int = 0) -> str:
    """What an authenticator app with this secret shows in this many steps of 30 seconds; negative: what it showed."""
    return TOTP(secret).generate_otp(int(clock.now().timestamp()) // totp.STEP_SECONDS + later)


def add_passkey(user_id: str, *, for_staff: bool = False) -> str:
    """Stores a passkey that no authenticator has; its id."""
    values = {"public_key": b"", "sign_count": 0, "aaguid": "", "rp_id": "localhost", "name": "Key"}
    credential_id = codes.random_id()
    with transaction() as tx:
        backup = {"backup_eligible": False, "backed_up": False}
        insert_row(tx, Passkey, id=credential_id, user_id=user_id, for_staff=for_staff, created_at=clock.now(), **values, **backup)
    return credential_id


class Operator(Browser):
    """A staff member with an authenticator app and recovery codes. `open` opens the operator's pages."""

    def __init__(self, app: Flask, telephone_number: str) -> None:
        super().__init__(app)
        self.number = telephone_number
        self.user_id = ""
        self.secret = ""
        self.recovery_codes: list[str] = []

    def open(self) -> "Operator":
        """Signs in by number, is made staff, and enrols an app by the link: the operator's pages are open then."""
        self.sign_in(self.number)
        token = self.make_staff()
        page = self.get(f"/admin/enrol/{token}/")
        form = page.form_with("code")
        assert form is not None, page.words
        with self.app.app_context():
            self.secret = staff.next_secret(self.app.config["SETTINGS"], self.user_id)
        page = self.send(form, code=app_code(self.secret, -1))  # the code of this step is left for a test
        if once_more := page.form_with("code"):  # a step has ended at this very moment
            page = self.send(once_more, code=app_code(self.secret, -1))
        self.recovery_codes = re.findall(r"\b[2-9B-Z]{7}-[2-9B-Z]{7}\b", page.words)
        assert self.recovery_codes, page.words
        return self

    def make_staff(self) -> str:
        """Makes this person staff, as the command line does. Returns the token of an enrolment link."""
        settings = self.app.config["SETTINGS"]
        with self.app.app_context():
            self.user_id = people.find(settings, self.number)
            accounts.set_staff(settings, self.user_id, True)
            return staff.allow_enrolment(settings, self.user_id)

    def confirm(self) -> Page:
        """Proves the second factor again, by a recovery code. Returns the page that follows."""
        form = self.get("/admin/confirm/").form_with("code")
        assert form is not None
        return self.send(form, code=self.recovery_codes.pop())

    def answer(self, path: str) -> TestResponse:
        """The answer of an address, whatever it is; without following it."""
        return self.client.get(path, headers={"Accept-Language": "en"})

    def has_open(self) -> bool:
        """Whether the operator's pages are open in this browser."""
        return self.answer("/admin/").status_code == 200
