"""Draws a picture of every screen in every state: `make pictures`; some of them: `make pictures ARGS="code profile"`.

A picture is a sheet: a phone (360 px) in both languages and both colour schemes, and with letters of twice the size; below, a wide
screen (1280 px, at half its size). All numbers and names are invented.
"""

import argparse
import io
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from flask import Flask
from PIL import Image, ImageColor
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from sqlalchemy import insert, update
from werkzeug.exceptions import InternalServerError
from werkzeug.serving import make_server

from hammer import clock, create_app
from hammer.db.database import db
from hammer.models import Referral, SendAllowance, Session, SessionKind, User, Verification
from hammer.refusals import TooManyRequests, Unavailable
from hammer.sessions import sessions
from hammer.sms import gateways
from hammer.web.access import public
from tests import delivery, pictures_of_admin, pictures_of_apps
from tests.actions import wrong_code
from tests.conftest import SETTINGS
from tests.databases import migrate
from tests.tampering import empty_all_tables

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
STATIC = PICTURES.parent.parent / "hammer" / "static"
ME, INVITE = "+79298284301", "K7M2QX"
GAP, GROUND = 24, "#8C8780"


@dataclass(frozen=True)
class Variant:
    width: int
    scheme: str
    language: str
    large: bool = False


PHONES = [
    Variant(360, "light", "ru"),
    Variant(360, "dark", "ru"),
    Variant(360, "light", "en"),
    Variant(360, "dark", "en"),
    Variant(360, "light", "ru", large=True),
]
WIDE = [Variant(1280, "light", "en"), Variant(1280, "dark", "ru")]


class Visit:
    """A browser in one variant, and what scenes need: people, messages, the passing of time."""

    def __init__(self, app: Flask, page: Page, url: str) -> None:
        self.app, self.page, self.url = app, page, url
        self.part = "body"
        """The element that the picture shows, from its top on."""
        self.most = 10_000
        """The maximum height of the picture in pixels, when letters have their usual size."""

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def ask(self, number: str = ME) -> None:
        self.open("/login/")
        self.page.fill("#telephone_number", number)
        with self.page.expect_navigation():
            self.page.click("main form button")

    def guess(self, right: bool = False) -> None:
        with self.app.app_context():
            code = delivery.code_for(self.app.config["SETTINGS"], ME)
        with self.page.expect_navigation():  # the form sends itself
            self.page.locator("#code").press_sequentially(code if right else wrong_code(code))

    def passes(self, seconds: int) -> None:
        """Makes the verification and the wait for another text older."""
        with self.app.app_context(), db.engine.begin() as rows:
            ago = timedelta(seconds=seconds)
            for found in db.session.query(Verification):
                rows.execute(update(Verification).values(expires_at=found.expires_at - ago))
            for allowance in db.session.query(SendAllowance):
                rows.execute(update(SendAllowance).values(next_send_at=allowance.next_send_at - ago))
        self.page.reload()

    def sign_in(self, *, invitees: int = 0, named: bool = True, devices: int = 1, invited: bool = False) -> None:
        """Signs in a user whose code was activated by `invitees` people in the last 18 weeks."""
        now = clock.now()
        with self.app.app_context(), db.engine.begin() as rows:
            names = {"first_name": "Анна", "last_name": "Ковалёва", "username": "anna.k"} if named else {}
            owner = {"id": "me", "telephone_number": ME, "invite_code": "Q9UK59", "date_joined": now, "invite_count": invitees}
            rows.execute(insert(User).values(owner | names))
            for n in range(invitees):
                row = {"id": f"u{n}", "telephone_number": f"+7916{n * 7919 % 10**7:07d}", "invite_code": f"{n:06d}"}
                rows.execute(insert(User).values(row | {"date_joined": now}))
                moment = now - timedelta(weeks=18) * (n / invitees) ** 2 - timedelta(minutes=7 * n + 3)
                rows.execute(insert(Referral).values(referee_id=f"u{n}", referrer_id="me", activated_at=moment))
            if invited:
                rows.execute(insert(User).values(id="host", telephone_number="+79160000001", invite_code=INVITE, date_joined=now))
                rows.execute(
                    insert(Referral).values(referee_id="me", referrer_id="host", activated_at=now - timedelta(days=40, hours=3))
                )
        with self.app.app_context():
            me = db.session.get_one(User, "me")
            kinds = ["Chrome · Android", "Safari · iPhone", "Firefox · Linux", "", "Edge · Windows"][:devices]
            moments = [now - timedelta(minutes=2), *(now - timedelta(hours=hours) for hours in (20, 33, 47, 60))]
            opened = [
                Session(**Session.opening(me, kind=SessionKind.BROWSER, device=kind, now=at))
                for kind, at in zip(kinds, moments, strict=False)
            ]
            db.session.add_all(opened)
            db.session.commit()
            cookie = sessions.cookie(self.app.config["SETTINGS"], opened[0])
        self.page.context.add_cookies([{"name": "hammer", "value": cookie, "url": self.url}])


def scene_phone(visit: Visit) -> None:
    visit.open("/login/")


def scene_phone_error(visit: Visit) -> None:
    visit.ask("8 929 828")


def scene_phone_wait(visit: Visit) -> None:
    visit.ask()
    visit.page.context.clear_cookies()
    visit.ask()


def scene_phone_invited(visit: Visit) -> None:
    visit.open(f"/i/{INVITE}")
    visit.page.click("main .button")


def scene_code(visit: Visit) -> None:
    visit.app.config["SETTINGS"] = replace(visit.app.config["SETTINGS"], demo=True)
    visit.ask()


def scene_code_wrong(visit: Visit) -> None:
    visit.ask()
    visit.guess()


def scene_code_waiting(visit: Visit) -> None:
    visit.ask()
    visit.passes(12)
    visit.page.locator("#code").press_sequentially("12")


def scene_code_ready(visit: Visit) -> None:
    visit.ask()
    visit.passes(61)


def scene_code_eight(visit: Visit) -> None:
    visit.ask()
    with visit.app.app_context(), db.engine.begin() as rows:
        rows.execute(update(Verification).values(code_length=8))
    visit.page.reload()
    visit.page.locator("#code").press_sequentially("1234567")


def scene_code_expired(visit: Visit) -> None:
    visit.ask()
    visit.passes(301)


def scene_profile_first(visit: Visit) -> None:
    visit.most = 1250
    visit.open(f"/i/{INVITE}")
    visit.sign_in(named=False)
    visit.open("/profile/")


def scene_profile_empty(visit: Visit) -> None:
    visit.most = 1250
    visit.sign_in(named=False)
    visit.open("/profile/")


def scene_profile_12(visit: Visit) -> None:
    visit.sign_in(invitees=12, invited=True, devices=2)
    visit.open("/profile/")


def scene_profile_240(visit: Visit) -> None:
    visit.sign_in(invitees=240, invited=True, devices=4)
    visit.open("/profile/")
    visit.page.click("figure summary")


def scene_profile_error(visit: Visit) -> None:
    visit.part = "section:has(#about)"
    visit.sign_in()
    visit.open("/profile/")
    visit.page.click("section:has(#about) summary")
    visit.page.fill("#username", "1")
    visit.page.press("#username", "Enter")


def scene_profile_activated(visit: Visit) -> None:
    visit.most = 1250
    visit.sign_in()
    with visit.app.app_context(), db.engine.begin() as rows:
        rows.execute(insert(User).values(id="host", telephone_number="+79160000001", invite_code=INVITE, date_joined=clock.now()))
    visit.open(f"/i/{INVITE}")
    visit.page.click("main .button")
    visit.page.click(".ask button >> nth=0")


def scene_activate(visit: Visit) -> None:
    visit.sign_in()
    visit.open("/profile/")
    visit.page.click("summary:has(#activation)")
    visit.page.fill("#invite_code", "k7m-2qx")
    visit.page.press("#invite_code", "Enter")


def scene_devices(visit: Visit) -> None:
    visit.part = "section:has(#devices)"
    visit.sign_in(devices=5)
    visit.open("/profile/#devices")


def scene_delete(visit: Visit) -> None:
    visit.sign_in()
    visit.open("/profile/delete/")


def scene_delete_proof(visit: Visit) -> None:
    visit.sign_in()
    with visit.app.app_context(), db.engine.begin() as rows:
        rows.execute(update(Session).values(created_at=clock.now() - timedelta(hours=1)))
    visit.open("/profile/delete/")


def scene_number(visit: Visit) -> None:
    visit.sign_in(devices=2)
    visit.open("/profile/number/")


def scene_landing(visit: Visit) -> None:
    visit.open(f"/i/{INVITE}")


def scene_landing_unknown(visit: Visit) -> None:
    visit.open("/i/K7M2")


def scene_error_404(visit: Visit) -> None:
    visit.open("/nowhere")


def scene_error_429(visit: Visit) -> None:
    visit.open("/pictures/429")


def scene_error_500(visit: Visit) -> None:
    visit.open("/pictures/500")


def scene_error_503(visit: Visit) -> None:
    visit.open("/pictures/503")


def scene_error_expired(visit: Visit) -> None:
    visit.open("/login/")
    visit.page.locator("[name=csrf_token]").first.evaluate("field => field.value = 'x'")
    visit.page.click("main form button")


def scene_error_cookies(visit: Visit) -> None:
    visit.open("/login/")
    visit.page.context.clear_cookies()
    visit.page.click("main form button")


def scene_print(visit: Visit) -> None:
    visit.sign_in()
    visit.open("/profile/")
    visit.page.emulate_media(media="print")


SCENES: dict[str, Callable[[Visit], None]] = {
    name.removeprefix("scene_").replace("_", "-"): scene
    for name, scene in (globals() | vars(pictures_of_apps)).items()
    if name.startswith("scene_")
} | {f"admin/{name}": scene for name, scene in pictures_of_admin.SCENES.items()}


def main() -> None:
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("names", nargs="*", help=f"beginnings of the names of screens; all of them: {', '.join(SCENES)}")
    wanted.add_argument("--into", type=Path, default=PICTURES, help="where the pictures go (default: docs/pictures)")
    wanted.add_argument("--sharp", type=int, default=1, help="device pixels a CSS pixel (default: 1)")
    given = wanted.parse_args()
    chosen = {name: scene for name, scene in SCENES.items() if not given.names or name.startswith(tuple(given.names))}
    (given.into / "admin").mkdir(parents=True, exist_ok=True)
    with _served() as (app, url), sync_playwright() as player, _chromium(player, 16) as usual, _chromium(player, 32) as large:
        _marks(usual)
        for name, scene in chosen.items():
            shots = [_shot(app, large if variant.large else usual, url, scene, variant, given.sharp) for variant in PHONES + WIDE]
            phones, wide = shots[: len(PHONES)], [shot.reduce(2) for shot in shots[len(PHONES) :]]
            _save(_sheet([_row(phones), _row(wide)]), given.into / f"{name}.webp")
            if name == "profile-12":
                _save(_row([phones[0], phones[3]]).crop((0, 0, 2 * (360 + GAP) + GAP, 940)), given.into / "profile.png")


def _shot(app: Flask, chromium: Browser, url: str, scene: Callable[[Visit], None], variant: Variant, sharp: int) -> Image.Image:
    _empty(app)
    viewport = {"width": variant.width, "height": 640 if variant.width < 640 else 900}
    with chromium.new_context(
        viewport=viewport,  # type: ignore[arg-type]
        color_scheme=variant.scheme,  # type: ignore[arg-type]
        locale=variant.language,
        timezone_id="Europe/Moscow",
        device_scale_factor=sharp,
    ) as context:
        page = context.new_page()
        visit = Visit(app, page, url)
        page.add_init_script("navigator.share ??= async () => {}")  # as on a phone
        scene(visit)
        body = visit.part == "body"
        how = {"animations": "disabled", "caret": "initial"}
        drawn = page.screenshot(full_page=True, **how) if body else page.locator(visit.part).screenshot(**how)  # type: ignore[arg-type]
        shot = Image.open(io.BytesIO(drawn)).convert("RGB")
        return shot.crop((0, 0, shot.width, min(shot.height, visit.most * sharp * (2 if variant.large else 1))))


def _marks(chromium: Browser) -> None:
    """Draws the pictures for messengers and home screens from the mark."""
    mark = (STATIC / "mark.svg").read_text()
    for name, (width, height, side) in {"card": (1200, 630, 280), "mark": (180, 180, 180)}.items():
        word = "<b>Hammer</b>" if name == "card" else ""
        style = f"""body {{ margin: 0; height: 100vh; display: flex; align-items: center; justify-content: center; gap: 56px;
            background: {"#FBF8F3" if word else "#B93A0A"}; color: #1D1A16; font: 650 150px system-ui; letter-spacing: -0.03em }}
            svg {{ width: {side}px; height: {side}px }}"""
        with chromium.new_context(viewport={"width": width, "height": height}) as context:
            page = context.new_page()
            page.set_content(f"<style>{style}</style>{mark}{word}")
            drawn = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            drawn.quantize(32, dither=Image.Dither.NONE).save(STATIC / f"{name}.png", optimize=True)


def _row(shots: list[Image.Image]) -> Image.Image:
    height = max(shot.height for shot in shots)
    row = Image.new("RGB", (sum(shot.width + GAP for shot in shots) + GAP, height + GAP), GROUND)
    place = GAP
    for shot in shots:
        row.paste(shot, (place, GAP))
        place += shot.width + GAP
    return row


def _save(sheet: Image.Image, file: Path) -> None:
    """Saves the sheet in few colours, as the pages have few: this takes a third of the bytes."""
    few = sheet.quantize(palette=_palette(), dither=Image.Dither.NONE)
    if file.suffix == ".png":
        few.save(file, optimize=True)
    else:
        few.convert("RGB").save(file, lossless=True, method=4)


def _palette() -> Image.Image:
    """The colours of both schemes, and the mixtures at the edges of letters."""
    style = (STATIC / "hammer.css").read_text()
    found: dict[str, list[str]] = {}
    for name, colour in re.findall(r"(--[\w-]+): (#[0-9A-F]{6});", style):
        found.setdefault(name, []).append(colour)
    colours = [ImageColor.getrgb(colour)[:3] for both in found.values() for colour in both]
    colours += [ImageColor.getrgb(colour)[:3] for colour in (GROUND, "#3367D6", "#003BA0")]
    for scheme in (0, 1):
        words = [(word, ground) for ground in ("paper", "surface") for word in ("ink", "muted", "accent", "edge")]
        for word, ground in [*words, ("on-accent", "accent"), ("good", "surface"), ("bad", "paper"), ("on-accent", "bad")]:
            pair = [ImageColor.getrgb(found[f"--{name}"][scheme]) for name in (word, ground)]
            for share in (0.12, 0.33, 0.67):
                colours.append(tuple(round(a * share + b * (1 - share)) for a, b in zip(*pair, strict=True))[:3])
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in dict.fromkeys(colours) for part in colour])
    return palette


def _sheet(rows: list[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows) + GAP), GROUND)
    place = 0
    for row in rows:
        sheet.paste(row, (0, place))
        place += row.height
    return sheet


def _empty(app: Flask) -> None:
    gateways.memory.clear()
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], demo=False)
    with app.app_context(), db.engine.begin() as rows:
        empty_all_tables(rows)


@contextmanager
def _chromium(playwright: Playwright, letters: int) -> Iterator[Browser]:
    program = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium")
    if not program:
        raise SystemExit("Pictures need Chromium: install it, or name one in TEST_CHROMIUM.")
    args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars", f"--blink-settings=defaultFontSize={letters}"]
    browser = playwright.chromium.launch(executable_path=program, args=args)
    yield browser
    browser.close()


@contextmanager
def _served() -> Iterator[tuple[Flask, str]]:
    """The application on a free port, in this process, with a database of its own."""
    with tempfile.TemporaryDirectory() as directory:
        settings = replace(
            SETTINGS,
            database_url=f"sqlite:///{directory}/pictures.sqlite3",
            sends_per_number_day=1000,
        )
        migrate(settings)
        app = create_app(settings)
        app.config["PROPAGATE_EXCEPTIONS"] = False
        app.config.update(SESSION_COOKIE_NAME="hammer_form", SESSION_COOKIE_SECURE=False)
        _faults(app)
        server = make_server("127.0.0.1", 0, app, threaded=True)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield app, f"http://127.0.0.1:{server.port}"
        finally:
            server.shutdown()
            serving.join()
            server.server_close()


def _faults(app: Flask) -> None:
    """Adds addresses that show the error pages."""

    def fail(error: Exception) -> Callable[[], str]:
        @public
        def view() -> str:
            raise error

        return view

    faults = {429: TooManyRequests(retry_after=135), 500: InternalServerError(), 503: Unavailable(retry_after=2)}
    for number, error in faults.items():
        app.add_url_rule(f"/pictures/{number}", f"auth.picture_{number}", fail(error))


if __name__ == "__main__":
    main()
