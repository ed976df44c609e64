"""Collects the errors of a browser: in the console, failed scripts, violations of our own policy, missing files, requests to other
hosts."""

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response

_POLICY = """addEventListener("securitypolicyviolation",
    (stopped) => console.error(`policy: ${stopped.effectiveDirective} stopped ${stopped.blockedURI}`));"""

_PROBE = "policy: script-src stopped eval"
"""ReDoc tries whether it can compile code, and works without. Only our own listener notices: the console stays empty."""


def listen(context: BrowserContext, home: str, heard: list[str], *apps: str) -> None:
    """Adds errors to `heard` from now on. A page with a status of 400 or above is none: it shows a refusal. `apps` are
    further sites to which the pages lead; their own errors do not count."""
    refusing_pages: set[str] = set()
    theirs = tuple(f"{app}/" for app in apps)

    def answered(response: Response) -> None:
        if response.request.is_navigation_request():
            refusing_pages.add(response.url)
        elif response.status >= 400 and not response.url.startswith(theirs):
            heard.append(f"{response.status}: {response.url}")

    def logged(message: ConsoleMessage) -> None:
        if message.text == _PROBE and message.page and message.page.url.endswith("/redoc/"):
            return
        if message.location["url"].startswith(theirs):
            return
        of_a_page = message.text.startswith("Failed to load resource") and message.location["url"] in refusing_pages
        if message.type in ("error", "warning") and not of_a_page:
            heard.append(f"console: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{home}/", "data:", *theirs)):
            heard.append(f"elsewhere: {request.url}")

    context.add_init_script(_POLICY)
    context.on("response", answered)
    context.on("console", logged)
    context.on("request", asked)
    context.on("weberror", lambda error: heard.append(f"script: {error.error}"))
