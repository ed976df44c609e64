"""The operator's mark, accent, links, templates and apps: what is refused at the start, and what is served."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

import config
from config import Settings
from hammer.operations import doctor
from hammer.users import accounts, people
from hammer.web import branding
from hammer.web.pages import templates
from tests import delivery
from tests.auth.pages import Outline, send, words
from tests.auth.test_design import DARK, LIGHT, contrast
from tests.people import Browser

Made = Callable[[Settings], Flask]
SHAPES = (
    '<rect width="32" height="32" fill="url(#g)"/><defs><linearGradient id="g"><stop stop-color="#14673A"/></linearGradient></defs>'
)
GOOD = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{SHAPES}</svg>'
PRINTS = ":".join(["AB"] * 32), ":".join(["cd"] * 32)


def svg(inside: str, of_svg: str = "") -> bytes:
    return GOOD.replace(SHAPES, inside).replace("<svg ", f"<svg {of_svg} ").encode()


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes | str], str]:
    """Writes the content into a file, and returns its path."""

    def written(content: bytes | str) -> str:
        path = tmp_path / "mark.svg"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return written


@pytest.mark.parametrize(
    "drawn",
    [
        GOOD.encode(),
        b"<?xml version='1.0' encoding='utf-8'?>" + GOOD.encode(),
        svg(
            "<style>path { fill: red } @media (prefers-color-scheme: dark) { path { fill: url(#g) } }</style><path d='M0 0h9v9z'/>"
        ),
        svg("<defs><g id='a'><path d='M0 0h9v9z'/></g></defs><use href='#a'/>"),
        svg("<text x='1'>А &amp; Б</text><title>Acme</title>"),
    ],
)
def test_a_mark_of_shapes_is_accepted(drawn: bytes) -> None:
    assert branding.fault_of_mark(drawn) == ""


@pytest.mark.parametrize(
    ("drawn", "fault"),
    [
        (b"", "not well-formed"),
        (b"\x89PNG\r\n\x1a\n", "not well-formed"),
        (GOOD[:-3].encode(), "not well-formed"),
        (GOOD.encode() + b"<g/>", "not well-formed"),
        (b'<html xmlns="http://www.w3.org/1999/xhtml"/>', "the element html"),
        (b"<svg viewBox='0 0 1 1'/>", "the element svg"),  # of no namespace: browsers draw nothing
        (GOOD.replace(' viewBox="0 0 32 32"', "").encode(), "no viewBox"),
        (svg("<script>alert(1)</script>"), "the element script"),
        (svg("<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'/></foreignObject>"), "the element foreignObject"),
        (svg("<h:script xmlns:h='http://www.w3.org/1999/xhtml'/>"), "the element script"),
        (svg("<a href='#g'/>"), "the element a"),
        (svg("<image href='#g'/>"), "the element image"),
        (svg("<animate attributeName='href' to='javascript:alert(1)'/>"), "the element animate"),
        (svg("<set attributeName='href'/>"), "the element set"),
        (svg("<filter id='f'><feImage href='#a'/></filter>"), "the element feImage"),
        (svg(SHAPES, "onload='alert(1)'"), "the event handler onload"),
        (svg("<path ONCLICK='x'/>"), "the event handler ONCLICK"),
        (svg("<use href='https://evil.example/#a'/>"), "another file by href"),
        (svg("<use href='data:image/svg+xml,x'/>"), "another file by href"),
        (svg("<use xlink:href='//evil.example/a' xmlns:xlink='http://www.w3.org/1999/xlink'/>"), "another file by href"),
        (svg("<use href='#a'/>", "xml:base='https://evil.example/'"), "another file by base"),
        (svg("<style>path { fill: url(https://evil.example/a) }</style>"), "Its styles refer"),
        (svg("<style>path { fill: u</style><style>rl(a) }</style>"), "Its styles refer"),
        (svg("<style>path { fill: u\\72l(a) }</style>"), "Its styles refer"),
        (svg("<style>@import 'a.css';</style>"), "Its styles refer"),
        (svg("<path style='fill: URL(a)'/>"), "Its styles refer"),
        (svg("<path fill='url(a#b)'/>"), "Its styles refer"),
        (b"<?xml version='1.0'?><?xml-stylesheet href='a.css'?>" + GOOD.encode(), "a processing instruction"),
        (b"<!DOCTYPE svg [<!ENTITY a 'b'>]>" + GOOD.encode(), "a DOCTYPE"),
        (b"<!DOCTYPE svg SYSTEM 'https://evil.example/a.dtd'>" + GOOD.encode(), "a DOCTYPE"),
        (svg("<path d='M0 0h9v9z'/>" * 1000), "larger than 20 kB"),
        (GOOD.encode("utf-16"), "not well-formed"),
        (b"<?xml version='1.0' encoding='latin-1'?>" + svg("<title>\u00e9</title>").decode().encode("latin-1"), "not well-formed"),
    ],
)
def test_a_mark_that_could_do_more_than_be_drawn_is_refused(drawn: bytes, fault: str) -> None:
    assert fault in branding.fault_of_mark(drawn)


def test_the_mark_is_served_with_a_policy_that_forbids_everything(
    app_with: Made, settings: Settings, file: Callable[..., str]
) -> None:
    client = app_with(replace(settings, mark=file(GOOD))).test_client()
    page = Outline(client.get("/login/"))
    [icon] = [link["href"] or "" for link in page.all("link") if link["rel"] == "icon"]

    answer = client.get(icon)

    assert [image["src"] for image in page.all("img")] == [icon]
    assert (answer.text, answer.mimetype) == (GOOD, "image/svg+xml")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert answer.headers["Content-Security-Policy"].endswith("sandbox")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert client.get("/branding/mark.svg").headers["Cache-Control"] == "no-cache"
    assert client.get(icon, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("own", [{"name": "Acme"}, {"mark": GOOD}])
def test_no_picture_shows_hammers_mark_where_the_operator_has_a_name_or_a_mark(
    app_with: Made, settings: Settings, file: Callable[..., str], own: dict[str, str]
) -> None:
    own = {name: file(value) if name == "mark" else value for name, value in own.items()}
    client = app_with(replace(settings, **own)).test_client()  # type: ignore[arg-type]
    page = client.get("/login/")

    assert not {"og:image", "og:image:alt"} & {str(meta.get("property")) for meta in Outline(page).all("meta")}
    assert not re.search(r"card\.png|mark\.png|static/mark\.svg|apple-touch-icon|<svg", page.text)
    assert client.get("/apple-touch-icon.png").status_code == 404
    favicon = client.get("/favicon.ico")
    assert (favicon.mimetype, favicon.headers["Cache-Control"]) == ("image/svg+xml", "public, max-age=86400")
    assert favicon.data == client.get("/branding/mark.svg").data


@pytest.mark.parametrize("name", ["Acme", "«Ель»", "é", "&", "Кофейня", "🔨"])
def test_a_name_without_a_mark_is_marked_by_its_first_letter(app_with: Made, settings: Settings, name: str) -> None:
    drawn = app_with(replace(settings, name=name)).test_client().get("/branding/mark.svg")

    assert f">{name[0].upper()}</text>".replace(">&<", ">&amp;<") in drawn.text
    assert branding.fault_of_mark(drawn.data) == ""


def test_without_settings_there_is_nothing_of_the_operator(client: FlaskClient) -> None:
    page = client.get("/login/")

    assert "/branding/" not in page.text
    assert len(Outline(page).all("svg")) == 1
    assert "og:image" in page.text
    for path in ("/branding/mark.svg", "/branding/style.css"):
        assert client.get(path).status_code == 404
    assert 'rel="apple-touch-icon"' in page.text


ACCENTS = ("#B93A0A", "#14673A", "#0A58CA", "#000000", "#7B2CBF", "#cc0000", "#8A6E00", "#767600")


@pytest.mark.parametrize("accent", ACCENTS)
@pytest.mark.requirement("ACC-04")
def test_one_accent_can_be_read_in_both_schemes(accent: str) -> None:
    shades = branding.shades(accent)

    assert branding.fault_of_accent(accent) == ""
    assert shades.light == accent.upper()
    for scheme, colours in ((LIGHT, (shades.light, shades.light_pressed)), (DARK, (shades.dark, shades.dark_pressed))):
        grounds = [scheme[name] for name in ("--paper", "--surface", "--on-accent")]
        assert min(contrast(colour, ground) for colour in colours for ground in grounds) >= 4.5


@pytest.mark.parametrize("accent", ["#FFCC00", "#FFFFFF", "#FF9B61", "#00B7FF", "#888888"])
def test_an_accent_that_cannot_be_read_is_refused_with_one_that_can(accent: str) -> None:
    fault = branding.fault_of_accent(accent)

    nearest = re.search(r"Take a darker one, like (#[0-9A-F]{6})\.$", fault)
    assert nearest
    assert branding.fault_of_accent(nearest[1]) == ""


def test_the_colours_that_are_checked_are_those_of_the_stylesheet() -> None:
    for scheme, ours in ((LIGHT, branding.LIGHT), (DARK, branding.DARK)):
        assert (ours.paper, ours.surface, ours.on_accent) == tuple(scheme[name] for name in ("--paper", "--surface", "--on-accent"))
    used = branding.HAMMERS
    assert (used.light, used.light_pressed) == (LIGHT["--accent"], LIGHT["--pressed"])
    assert (used.dark, used.dark_pressed) == (DARK["--accent"], DARK["--pressed"])


def test_the_accent_is_a_stylesheet_after_ours(app_with: Made, settings: Settings) -> None:
    client = app_with(replace(settings, accent="#14673A")).test_client()
    ours, theirs = (link["href"] or "" for link in Outline(client.get("/login/")).all("link") if link["rel"] == "stylesheet")

    answer = client.get(theirs)

    assert "hammer.css" in ours
    assert answer.mimetype == "text/css"
    assert answer.text.startswith("@layer tokens {\n  :root { --accent: #14673A;")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert client.get(theirs, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_a_bad_mark_and_a_bad_accent_are_reported_together(settings: Settings, app_with: Made, file: Callable[..., str]) -> None:
    with pytest.raises(config.Misconfigured) as refused:
        app_with(replace(settings, accent="#FFCC00", mark=file(svg("<script/>"))))

    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["HAMMER_MARK", "HAMMER_ACCENT"]


@pytest.mark.parametrize("language", ["en", "ru"])
def test_links_of_the_operator_are_at_the_foot_in_the_persons_language(app_with: Made, settings: Settings, language: str) -> None:
    there = replace(settings, terms_url="https://example.com/{language}/terms", help_url="https://example.com/help")
    page = app_with(there).test_client().get(f"/nowhere?lang={language}")

    foot = page.text.split("<footer>")[1]
    links = re.findall(r'<a href="(.+?)">(.+?)</a>', foot)
    labels = {"en": ("Terms", "Help"), "ru": ("Условия", "Помощь")}[language]
    assert links == [(f"https://example.com/{language}/terms", labels[0]), ("https://example.com/help", labels[1])]


def test_people_whom_only_the_operator_can_help_find_where_to_write(app_with: Made, settings: Settings) -> None:
    app = app_with(replace(settings, support="mailto:help@example.com", regions=frozenset({"KZ"})))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    client = app.test_client()
    link = '<a href="mailto:help@example.com">Write to us</a>'

    refused = send(client, "/login/?lang=en", telephone_number="+79291234567")
    missing = client.get("/nowhere?lang=en")

    assert link in refused.text
    assert "Please use a mobile number of a country that we serve. Write to us" in words(refused)
    assert "Write to us" not in words(missing)


def test_the_owner_of_a_blocked_account_finds_where_to_write(app_with: Made, settings: Settings) -> None:
    app = app_with(replace(settings, support="https://example.com/help"))
    person, number = Browser(app), "+79291234567"
    person.sign_in(number)
    with app.app_context():
        accounts.set_blocked(people.find(app.config["SETTINGS"], number), True)

    client = app.test_client()
    client.get("/login/?lang=en")
    send(client, "/login/", telephone_number=number)
    with app.app_context():
        code = delivery.code_for(app.config["SETTINGS"], number)
    refused = send(client, "/login/code/", code=code)

    assert (refused.status_code, '<a href="https://example.com/help">Write to us</a>' in refused.text) == (403, True)


def test_a_template_of_the_operator_comes_first_and_can_extend_ours(app_with: Made, settings: Settings, tmp_path: Path) -> None:
    tmp_path.joinpath("base.html").write_text('{% extends "original/base.html" %}{% block foot %}<p>Acme GmbH</p>{% endblock %}')
    tmp_path.joinpath("landing.html").write_text('{% extends "base.html" %}{% block title %}Ours{% endblock %}')
    app = app_with(replace(settings, templates=str(tmp_path)))
    client = app.test_client()

    assert "<p>Acme GmbH</p>" in client.get("/login/").text
    assert "<title>Ours — Hammer</title>" in client.get("/i/Q9UK59").text
    [found] = templates.examine(app, app.config["SETTINGS"])
    assert (found.state, found.how) == (doctor.FINE, f"2 of your own in {tmp_path}, without errors")


@pytest.mark.parametrize(
    ("name", "content", "state", "how"),
    [
        ("base.html", b"<p>\n{% if %}", doctor.WRONG, "base.html: line 2: Expected an expression, got 'end of statement block'"),
        ("base.html", b"{{ 1|nosuch }}", doctor.WRONG, "base.html: line 1: No filter named 'nosuch'."),
        ("phone.html", b'{% extends "bse.html" %}', doctor.WRONG, "phone.html: names bse.html, which there is not"),
        ("base.html", b"\xff", doctor.WRONG, "base.html: cannot be read: it is not UTF-8"),
        (
            "base.html",
            b'{% extends "original/base.html" %}{% block foot %}{{ nosuch.thing }}{% endblock %}',
            doctor.WRONG,
            "an error page cannot be drawn: 'nosuch' is undefined",
        ),
        ("fone.html", b"", doctor.ADVICE, "fone.html has the name of none of ours, and no other names it"),
    ],
)
def test_doctor_finds_what_is_wrong_with_templates_of_the_operator(
    app_with: Made, settings: Settings, tmp_path: Path, name: str, content: bytes, state: str, how: str
) -> None:
    tmp_path.joinpath(name).write_bytes(content)
    app = app_with(replace(settings, templates=str(tmp_path)))

    found = [(finding.state, finding.how) for finding in templates.examine(app, app.config["SETTINGS"])]
    said = app.test_cli_runner().invoke(args=["doctor"])

    assert (state, how) in found
    assert f"templates: {how}" in said.stdout
    assert (said.exit_code == 1) is (state == doctor.WRONG)


@pytest.mark.parametrize("content", ["{{ nosuch.thing }}", "{% if %}", '{% extends "nosuch.html" %}'])
def test_a_broken_frame_is_an_error_in_words_with_our_headers(
    app_with: Made, settings: Settings, tmp_path: Path, content: str
) -> None:
    tmp_path.joinpath("base.html").write_text(content)
    app = app_with(replace(settings, templates=str(tmp_path)))
    app.config["PROPAGATE_EXCEPTIONS"] = False

    answer = app.test_client().get("/login/?lang=en")

    assert (answer.status_code, answer.mimetype) == (500, "text/plain")
    assert answer.text.startswith("Something broke on our side\nIt is not your fault")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_apps_of_the_operator_may_open_our_links(app_with: Made, settings: Settings) -> None:
    android = (f"com.example.app:{PRINTS[0]}", f"com.example.app:{PRINTS[1]}", f"com.example.beta:{PRINTS[0]}")
    app = app_with(replace(settings, android_apps=android, apple_apps=("A1B2C3D4E5.com.example.app",)))
    client = app.test_client()

    google, apple = (client.get(f"/.well-known/{name}") for name in ("assetlinks.json", "apple-app-site-association"))

    for answer in (google, apple):
        assert (answer.status_code, answer.mimetype) == (200, "application/json")
        assert answer.headers["Cache-Control"] == "public, max-age=86400"
    assert google.json is not None
    assert apple.json is not None
    targets = {entry["target"]["package_name"]: entry["target"]["sha256_cert_fingerprints"] for entry in google.json}
    assert targets == {"com.example.app": [PRINTS[0], PRINTS[1].upper()], "com.example.beta": [PRINTS[0]]}
    assert all("delegate_permission/common.handle_all_urls" in entry["relation"] for entry in google.json)
    [details] = apple.json["applinks"]["details"]
    assert details == {"appIDs": ["A1B2C3D4E5.com.example.app"], "components": [{"/": "/i/*"}]}


def test_without_apps_there_are_no_such_files(client: FlaskClient) -> None:
    for name in ("assetlinks.json", "apple-app-site-association"):
        assert client.get(f"/.well-known/{name}").status_code == 404
