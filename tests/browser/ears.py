"""What a browser complains of while people use the pages: errors in the console, scripts that failed, what our own policy stopped,
files that did not come, requests to anybody else."""

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response

_POLICY = """addEventListener("securitypolicyviolation",
    (stopped) => console.error(`policy: ${stopped.effectiveDirective} stopped ${stopped.blockedURI}`));"""


def listen(context: BrowserContext, home: str, heard: list[str]) -> None:
    """Adds to `heard` from now on. That a page refuses with a status of 400 and above is no complaint: the page says what it is."""
    refusing_pages: set[str] = set()

    def answered(response: Response) -> None:
        if response.request.is_navigation_request():
            refusing_pages.add(response.url)
        elif response.status >= 400:
            heard.append(f"{response.status}: {response.url}")

    def said(message: ConsoleMessage) -> None:
        of_a_page = message.text.startswith("Failed to load resource") and message.location["url"] in refusing_pages
        if message.type in ("error", "warning") and not of_a_page:
            heard.append(f"console: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{home}/", "data:")):
            heard.append(f"elsewhere: {request.url}")

    context.add_init_script(_POLICY)
    context.on("response", answered)
    context.on("console", said)
    context.on("request", asked)
    context.on("weberror", lambda error: heard.append(f"script: {error.error}"))
