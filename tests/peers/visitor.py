"""A person who signs in to apps through the pages of a running server, without scripts, in any language."""

import re
from html import unescape
from typing import Final
from urllib.parse import urljoin

import requests

from tests.people import Form, Page
from tests.serving import Server

MOST_STEPS: Final = 20
_CODE: Final = re.compile(r'data-code="(\d+)"')
_LEADS_ON: Final = re.compile(r'<meta http-equiv="refresh" content="\d+; ?url=([^"]+)"')


class Visitor:
    def __init__(self, server: Server, number: str, language: str = "en") -> None:
        self.server = server
        self.number = number
        self.browser = requests.Session()
        self.browser.headers["Accept-Language"] = language
        self.seen: list[str] = []
        """What the pages since the last `follow` asked for: `number`, `code`, `consent`, `proof` (a newer login), `logout`."""
        self.languages: set[str] = set()
        """The languages of all pages."""

    def follow(self, url: str, *, deny: bool = False) -> str:
        """Opens an address to which an app leads, and does what the pages ask. Returns the app's address to which they lead back.

        With `deny`, the person takes the way back instead of allowing what the app asks for.
        """
        self.seen = []
        answer = self.browser.get(url, allow_redirects=False, timeout=60)
        for _ in range(MOST_STEPS):
            if answer.is_redirect:
                onward = urljoin(answer.url, answer.headers["Location"])
            elif leads_on := _LEADS_ON.search(answer.text):
                assert answer.status_code == 200
                onward = urljoin(answer.url, unescape(leads_on[1]))
            else:
                answer = self._act(answer, deny=deny)
                continue
            if not onward.startswith(f"{self.server.url}/"):
                return onward
            answer = self.browser.get(onward, allow_redirects=False, timeout=60)
        raise AssertionError(f"The pages lead nowhere: {self.seen}, {answer.url}")

    def is_signed_in(self) -> bool:
        """Whether the browser is signed in at Hammer itself."""
        return self.browser.get(f"{self.server.url}/profile/", allow_redirects=False, timeout=60).status_code == 200

    def _act(self, answer: requests.Response, *, deny: bool) -> requests.Response:
        page = Page(answer.text)
        assert answer.status_code == 200, f"{answer.url}: {answer.status_code} {page.words}"
        self.languages |= set(re.findall(r'<html lang="(\w+)"', answer.text))
        if form := page.form_with("telephone_number"):
            return self._send(answer, form, "number", telephone_number=self.number)
        if form := page.form_with("code"):
            shown = _CODE.search(answer.text)
            assert shown, page.words
            return self._send(answer, form, "code", code=shown[1])
        asking = {"/profile/proof/send/": "proof", "/oauth/continue": "consent", "/oauth/logout": "logout"}
        named = [(form, name) for form in page.forms for path, name in asking.items() if form.action.startswith(path)]
        assert named, f"{answer.url}: {page.words}"
        form, name = named[0]
        if deny:
            [way_back] = {unescape(link) for link in re.findall(r'href="([^"]*/oauth/leave[^"]*)"', answer.text)}
            return self.browser.get(urljoin(answer.url, way_back), allow_redirects=False, timeout=60)
        return self._send(answer, form, name)

    def _send(self, answer: requests.Response, form: Form, name: str, **filled: str) -> requests.Response:
        self.seen.append(name)
        at = urljoin(answer.url, form.action)
        return self.browser.post(at, data=form.fields | filled, allow_redirects=False, timeout=60)
