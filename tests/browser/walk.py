"""Visits every page in every state once, and measures each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import CDPSession, Page, ViewportSize, expect

from tests.actions import wrong_code
from tests.browser.actions import (
    Visit,
    address_for_app,
    ask,
    button,
    code_field,
    code_shown,
    enter,
    expect_profile,
    invite_field,
    invite_link,
    let_pass,
    number_field,
    section,
    unfold,
)
from tests.serving import Server

SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTHS = (360, 1280)
ZOOMED: Final[ViewportSize] = {"width": 320, "height": 256}
"""A screen of 1280 by 1024 at 400 % zoom (WCAG 2.2, 1.4.10)."""
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_AXE = Axe().axe_script

# axe cannot compute the contrast over what the stylesheet draws (notches, slots for digits), so it also checks the page without.
_PLAIN = """(plain) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("::before, ::after { display: none !important } input { background-image: none !important }");
    document.adoptedStyleSheets = plain ? [sheet] : [];
}"""

_RUN_AXE = """async ([tags, rule]) => {
    const only = rule ? { type: "rule", values: [rule] } : { type: "tag", values: tags };
    const { violations, incomplete } = await axe.run(document, {
        runOnly: only, resultTypes: ["violations", "incomplete"], rules: rule ? {} : { "target-size": { enabled: true } },
    });
    return [["finds", violations], ["cannot decide", incomplete]].flatMap(([verb, rules]) =>
        rules.flatMap(({ id, nodes }) => nodes.map(({ html, any }) => `${verb} ${id}: ${html.slice(0, 160)} ${any[0]?.message}`)));
}"""

_SMALL_TARGETS = """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), summary, select, textarea")]
    .filter((target) => target.checkVisibility() && !target.matches("body > a, [aria-hidden]"))
    .filter((target) => {
        const within = target.closest("p, li, dd, td");
        const alone = !within || within.innerText.trim() === target.innerText.trim();
        const inline = !alone && getComputedStyle(target).display === "inline";
        const { width, height } = target.getBoundingClientRect();
        return !inline && (width < 24 || height < 24);
    })
    .map((target) => `${target.outerHTML.slice(0, 120)} ${JSON.stringify(target.getBoundingClientRect())}`)"""

_SIDEWAYS = """() => {
    const most = document.documentElement.clientWidth;
    const beyond = [...document.querySelectorAll("body *")].filter((one) =>
        one.checkVisibility() && !one.matches("body > a, svg *") && one.getBoundingClientRect().right > most + 0.5);
    return document.documentElement.scrollWidth > most ? ["the page", ...beyond.map((one) => one.outerHTML.slice(0, 120))]
        : beyond.filter((one) => one.innerText?.trim()).map((one) => one.outerHTML.slice(0, 120));
}"""

_MOVING = """() => [...document.querySelectorAll("*")].flatMap((one) => ["", "::before", "::after"].flatMap((part) => {
    const { transitionDuration, animationDuration, animationName, scrollBehavior } = getComputedStyle(one, part || null);
    const long = (list) => list.split(",").some((each) => parseFloat(each) * (/\\dms/.test(each) ? 0.001 : 1) > 0.05);
    const moves = long(transitionDuration) || (animationName !== "none" && long(animationDuration));
    return moves || scrollBehavior === "smooth" ? [`${one.outerHTML.slice(0, 120)}${part}`] : [];
}))"""

_WITHOUT_EDGE = """() => [...document.querySelectorAll("button, .button, input:not([type=hidden], [type=checkbox], [type=radio])")]
    .filter((one) => one.checkVisibility())
    .filter((one) => {
        const { borderTopStyle, borderTopWidth, borderTopColor, backgroundColor } = getComputedStyle(one);
        return borderTopStyle === "none" || parseFloat(borderTopWidth) < 1 || borderTopColor === backgroundColor;
    })
    .map((one) => one.outerHTML.slice(0, 120))"""

_WITHOUT_FOCUS = """() => [...document.querySelectorAll("a[href], button:enabled, input:not([type=hidden]), summary")]
    .filter((one) => one.checkVisibility() || one.matches("body > a"))
    .filter((one) => {
        one.focus({ focusVisible: true, preventScroll: true });
        const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(one);
        return document.activeElement !== one || outlineStyle === "none" || parseFloat(outlineWidth) < 2
            || /^rgba\\(.*, 0\\)$|^transparent$/.test(outlineColor);
    })
    .map((one) => one.outerHTML.slice(0, 120))"""

_LOOSE_ENDS = """() => {
    const wrong = [];
    const named = (one, attribute) => (one.getAttribute(attribute) ?? "").split(/\\s+/).filter(Boolean);
    for (const one of document.querySelectorAll("[aria-describedby], [aria-labelledby]"))
        for (const id of [...named(one, "aria-describedby"), ...named(one, "aria-labelledby")])
            if (!document.getElementById(id)) wrong.push(`${id} is nowhere`);
    for (const field of document.querySelectorAll("[aria-invalid=true]"))
        if (!named(field, "aria-describedby").some((id) => document.getElementById(id)?.matches("[role=alert]:not(:empty)")))
            wrong.push(`no alert says what is wrong with ${field.name}`);
    for (const alert of document.querySelectorAll("[role=alert]"))
        if (!alert.innerText.trim()) wrong.push("an alert says nothing");
    if (document.querySelector("[aria-invalid=true]") && !/^(Error|Ошибка):/.test(document.title))
        wrong.push(`the title hides the error: ${document.title}`);
    if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
    if (!document.documentElement.lang) wrong.push("no language");
    return wrong;
}"""

_BLOCKING = """() => performance.getEntriesByType("resource").filter((one) => one.renderBlockingStatus === "blocking")
    .map((one) => new URL(one.name).pathname)"""


@dataclass
class State:
    """One page in one state. Each list says what is wrong, and where."""

    name: str
    title: str
    axe: list[str] = field(default_factory=list)
    sideways: list[str] = field(default_factory=list)
    small_targets: list[str] = field(default_factory=list)
    moving: list[str] = field(default_factory=list)
    without_edge: list[str] = field(default_factory=list)
    without_focus: list[str] = field(default_factory=list)
    loose_ends: list[str] = field(default_factory=list)
    blocking: list[str] = field(default_factory=list)
    """What has to arrive before anything is painted, the document aside."""
    wire: dict[str, int] = field(default_factory=dict)
    """Path -> bytes on the wire, headers and all, with nothing kept from before."""


class Wire:
    """How many bytes each page takes in all, as Chromium counts them, with its cache off."""

    def __init__(self, page: Page) -> None:
        self.protocol: CDPSession = page.context.new_cdp_session(page)
        self.asked: dict[str, tuple[str, str]] = {}
        self.came: dict[str, int] = {}
        self.protocol.on("Network.requestWillBeSent", self._asked)
        self.protocol.on("Network.loadingFinished", self._came)
        self.protocol.send("Network.enable")
        self.protocol.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def _asked(self, event: dict[str, Any]) -> None:
        path = event["request"]["url"].split("/", 3)[-1].partition("?")[0]
        self.asked[event["requestId"]] = event["loaderId"], f"/{path}"

    def _came(self, event: dict[str, Any]) -> None:
        self.came[event["requestId"]] = int(event["encodedDataLength"])

    def of_this_page(self) -> dict[str, int]:
        loader = self.protocol.send("Page.getFrameTree")["frameTree"]["frame"]["loaderId"]
        return {path: self.came.get(asked, 0) for asked, (belongs, path) in self.asked.items() if belongs == loader}


def inspect(name: str, page: Page, wire: Wire) -> State:
    """Looks at the page from all sides and leaves it as it was."""
    page.wait_for_load_state("load")
    state = State(name, page.title(), wire=wire.of_this_page(), blocking=page.evaluate(_BLOCKING))
    before = page.viewport_size
    page.evaluate(_AXE)
    page.evaluate(_PLAIN, True)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            rule = "color-contrast" if scheme == "dark" else ""  # the one that colours change
            state.axe += [f"{width} {scheme}: {found}" for found in page.evaluate(_RUN_AXE, [_TAGS, rule])]
        state.small_targets += page.evaluate(_SMALL_TARGETS)
    page.evaluate(_PLAIN, False)
    page.set_viewport_size(ZOOMED)
    state.sideways += page.evaluate(_SIDEWAYS)
    page.set_viewport_size(before or ZOOMED)
    state.loose_ends += page.evaluate(_LOOSE_ENDS)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    state.moving += page.evaluate(_MOVING)
    page.emulate_media(forced_colors="active")
    state.without_edge += page.evaluate(_WITHOUT_EDGE)
    state.without_focus += page.evaluate(_WITHOUT_FOCUS)
    page.emulate_media(forced_colors="none", reduced_motion="no-preference")
    state.without_focus += page.evaluate(_WITHOUT_FOCUS)
    return state


def walk(visit: Visit, server: Server, new_number: Callable[[], str]) -> Iterator[State]:
    """All states, in the order in which two people meet them: one who invites, and a friend with an invite link."""
    anna, boris = visit(), visit()
    hers, his = Wire(anna), Wire(boris)
    me, friend = new_number(), new_number()

    anna.goto("/login/")
    yield inspect("phone form", anna, hers)
    number_field(anna).fill("12")
    button(anna, "Get the code").click()
    expect(anna.get_by_role("alert")).to_be_visible()
    yield inspect("phone form, not a number", anna, hers)
    ask(anna, me)
    yield inspect("code form", anna, hers)
    enter(anna, wrong_code(code_shown(anna)))
    expect(anna.get_by_role("alert")).to_be_visible()
    yield inspect("code form, wrong once", anna, hers)
    let_pass(server, minutes=4)
    anna.goto("/login/code/")
    yield inspect("code form, another text may be asked for", anna, hers)
    let_pass(server, minutes=4)
    anna.reload()
    yield inspect("code form, too old", anna, hers)
    button(anna, "Send a new code").click()
    enter(anna, code_shown(anna))
    expect_profile(anna)
    yield inspect("profile, first visit", anna, hers)
    link = invite_link(anna)
    for _ in range(3):
        server.call("POST", "/users/me/invite/", {"invite_code": link[-6:]}, token=server.sign_in(new_number())["access_token"])
    anna.reload()
    yield inspect("profile, three invited", anna, hers)
    section(anna, "You invited").get_by_text("The last 12 weeks in numbers").click()
    yield inspect("profile, the numbers opened", anna, hers)
    about = unfold(anna, "About you")
    about.get_by_label("Username").fill("7")
    button(about, "Save").click()
    expect(anna.get_by_role("alert")).to_be_visible()
    yield inspect("profile, a bad username", anna, hers)
    about.get_by_label("Username").fill("")
    unfold(anna, "Activate an invite")
    yield inspect("profile, an invite may be typed", anna, hers)
    invite_field(anna).fill("?")
    button(section(anna, "Activate an invite"), "Activate").click()
    expect(invite_field(anna)).to_have_attribute("aria-invalid", "true")
    yield inspect("profile, no invite code", anna, hers)
    invite_field(anna).fill("K7M2QX")
    button(section(anna, "Activate an invite"), "Activate").click()
    expect(anna.get_by_role("heading", level=1)).to_contain_text("Activate")
    yield inspect("before activating", anna, hers)
    for page in ("delete", "number"):
        anna.goto(f"/profile/{page}/")
        yield inspect(f"{page}, with a fresh code", anna, hers)
    number_field(anna).fill("12")
    button(anna, "Get the code").click()
    expect(anna.get_by_role("alert")).to_be_visible()
    yield inspect("number, not a number", anna, hers)
    let_pass(server, minutes=10)
    for page in ("delete", "number"):
        anna.goto(f"/profile/{page}/")
        yield inspect(f"{page}, needs a fresh code", anna, hers)
    button(anna, "Get the code").click()
    expect(code_field(anna)).to_be_visible()
    yield inspect("proof", anna, hers)
    for page in ("/profile/", "/profile/delete/", "/profile/proof/", link, "/nowhere"):  # Russian words are longer
        anna.goto(f"{page}?lang=ru")
        yield inspect(f"{page.removeprefix(server.url)[:9]}, in Russian", anna, hers)

    boris.goto(link)
    yield inspect("landing", boris, his)
    boris.goto("/i/nothing")
    yield inspect("landing, no invite", boris, his)
    boris.goto("/login/")
    yield inspect("phone form, invited", boris, his)
    server.ask(friend)
    number_field(boris).fill(friend)
    button(boris, "Get the code").click()
    expect(boris.get_by_role("alert")).to_be_visible()
    yield inspect("phone form, too soon", boris, his)
    let_pass(server, minutes=2)
    ask(boris, friend, start="")
    enter(boris, code_shown(boris))
    expect_profile(boris)
    yield inspect("profile, with an invite to activate", boris, his)
    button(boris.get_by_role("region", name="Activate"), "Activate").click()
    expect(boris.get_by_role("heading", name="The invite that you activated")).to_be_visible()
    yield inspect("profile, just activated", boris, his)
    boris.goto("/nowhere")
    yield inspect("no such page", boris, his)
    boris.context.clear_cookies()
    boris.goto("/login/")
    boris.context.clear_cookies()
    number_field(boris).fill(friend)
    button(boris, "Get the code").click()
    expect(boris.get_by_role("heading", level=1)).to_contain_text("cookies")
    yield inspect("cookies blocked", boris, his)
    yield from walk_to_an_app(visit(), server, new_number())


def walk_to_an_app(page: Page, server: Server, number: str) -> Iterator[State]:
    """The states that a person meets who signs in to an app."""
    wire = Wire(page)
    # The page that leads on to the app would leave before it is inspected.
    page.route("**/onward.js*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    everything = "openid phone profile invites offline_access"
    app = address_for_app(server, "Grafana", "https://app.example/callback", everything)

    page.goto(app)
    yield inspect("phone form, for an app", page, wire)
    ask(page, number, start="")
    yield inspect("code form, for an app", page, wire)
    enter(page, code_shown(page))
    expect(page.get_by_role("heading", name="Sign in to Grafana?")).to_be_visible()
    yield inspect("consent", page, wire)
    page.get_by_role("link", name="Русский").click()
    expect(button(page, "Разрешить")).to_be_visible()
    yield inspect("consent, in Russian", page, wire)
    page.get_by_role("link", name="English").click()
    at = page.url
    button(page, "Allow").click()
    expect(page.get_by_role("link", name="Continue to Grafana")).to_be_visible()
    yield inspect("on to the app", page, wire)
    page.goto("/profile/")
    yield inspect("profile, with an app", page, wire)
    let_pass(server, minutes=40)
    page.goto(at)
    yield inspect("a sign-in to an app that is over", page, wire)
    page.goto(f"{app}&max_age=60")
    yield inspect("a newer code, for an app", page, wire)
    page.goto(f"/oauth/logout?{urlsplit(app).query}")
    yield inspect("sign out for an app", page, wire)
    page.goto("/oauth/authorize")
    yield inspect("an app that asks in a wrong way", page, wire)
