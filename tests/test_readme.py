"""The README and the documents are true: their commands are run as they are written, their tables are compared with the program."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from standardwebhooks import Webhook

import config
from hammer import clock
from hammer.events import Type
from hammer.webhooks.catalogue import CATALOGUE, FIELDS
from tests.serving import Server

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
INTEGRATE = (ROOT / "docs" / "integrate" / "README.md").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LINKS = sorted(
    {(str(page.relative_to(ROOT)), path) for page in DOCUMENTS for path in re.findall(r"\]\(((?!http)[^)#\s]+)", page.read_text())}
)


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def test_the_curl_example_logs_two_people_in_and_the_second_activates_the_firsts_code(server: Server) -> None:
    """The block of the README, and the one of docs/integrate/README.md that continues it."""
    script = "\n".join(blocks(section("Log in with curl")) + blocks(INTEGRATE)).replace("http://localhost:5000", server.url)

    run = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=True)

    decoder, rest, answers = json.JSONDecoder(), run.stdout.strip(), []
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].strip()
    me, renamed, second, invitees = answers
    assert me["telephone_number"] == "+79161234501"
    assert (renamed["username"], renamed["first_name"]) == ("ivan", "Иван")
    assert second["activated_invite_code"] == me["invite_code"]
    assert [invitee["telephone_number"] for invitee in invitees] == ["+79161234502"]


def test_the_curl_example_asks_for_other_numbers_than_the_browser_did_just_before() -> None:
    browser, curl = (
        {re.sub(r"\D", "", number)[-10:] for number in re.findall(r"(?:\+7|8) \d{3} \d{3}[- ]\d{2}[- ]\d{2}", text)}
        for text in (section("Log in with a browser"), section("Log in with curl") + INTEGRATE)
    )

    assert (len(browser), len(curl)) == (1, 2)
    assert browser.isdisjoint(curl)


def test_the_curl_example_says_why_there_was_no_answer() -> None:
    [field] = re.findall(r"^field\(\).*$", README, re.MULTILINE)
    script = f"{field}\necho '{json.dumps({'detail': 'Too many texts.', 'retry_after': 5})}' | field verification_id"

    run = subprocess.run(["bash", "-uc", script], check=False, capture_output=True, text=True, timeout=60)

    assert (run.returncode, run.stdout, run.stderr) == (1, "", "Too many texts.\n")


def test_make_knows_every_target_that_the_documents_name() -> None:
    texts = [page.read_text() for page in DOCUMENTS]
    named = {
        name
        for text in texts
        for name in re.findall(r"\bmake (\w+)", "\n".join(blocks(text)) + "".join(re.findall(r"`make [\w-]+`", text)))
    }

    makefile = (ROOT / "Makefile").read_text()

    assert {"run", "test", "help"} <= named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_the_command_line_has_every_command_of_the_table_and_no_other(app: Flask) -> None:
    ours = {name for name in app.cli.commands if name not in ("run", "shell", "routes", "db")}

    first_cells = re.findall(r"^\| (`.*?) \|(?: |$)", (ROOT / "docs" / "command-line.md").read_text(), re.MULTILINE)
    documented = {command.split()[0] for cell in first_cells for command in re.findall(r"`([^`]+)`", cell)}

    assert documented - {"run", "db"} == ours


@pytest.mark.parametrize(("document", "path"), LINKS)
def test_every_file_that_a_document_links_to_exists(document: str, path: str) -> None:
    assert ((ROOT / document).parent / path).exists()


def test_every_document_is_reached_from_the_readme() -> None:
    links: dict[Path, set[Path]] = {page: set() for page in DOCUMENTS}
    for document, path in LINKS:
        links[ROOT / document].add(((ROOT / document).parent / path).resolve())
    reached, new = set[Path](), {ROOT / "README.md"}
    while new:
        reached |= new
        new = {linked for page in new for linked in links.get(page, ())} - reached
    assert set(DOCUMENTS) - reached == set()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"http://localhost:5000(/[a-z0-9/]+)", README + INTEGRATE)) - {"/api/v1"}))
def test_every_address_that_the_documents_name_answers(server: Server, path: str) -> None:
    assert server.request("GET", path).status == 200


def test_the_documents_compute_right_from_how_many_logins_a_day_longer_codes_are_better() -> None:
    """At 0.2 % of logins that leave a wrong guess behind: as long as the budget of each length lasts."""
    guessing = (ROOT / "docs" / "guessing.md").read_text()
    rows = re.findall(
        r"^\| (\d) digits \| ([\d ]+) \| [\d ]+ / 0\.002 = (.+?) logins a day \| ([\d.]+) \|$", guessing, re.MULTILINE
    )
    budgets = {4: 20, 6: 250, 8: 10_000}

    lasts = {int(length): round(float(logins.replace(" million", "e6").replace(" ", ""))) for length, _, logins, _ in rows}
    expected = {int(length): float(bound) for length, _, _, bound in rows}

    assert {int(length): int(budget.replace(" ", "")) for length, budget, _, _ in rows} == budgets
    assert lasts == {length: round(budget / 0.002) for length, budget in budgets.items()}
    assert expected == {length: round(config.expected_takeovers_per_year(length, 3, budgets), 2) for length in budgets}
    assert re.search(r"from about 10 000 logins a day\s+on, begin with six digits", README)
    assert "From about 10 000 logins a day on six digits are the better start" in guessing


def test_the_document_about_webhooks_lists_the_events_of_the_catalogue() -> None:
    document = (ROOT / "docs" / "webhooks.md").read_text()

    rows = [
        f"| `{type_}` | {entry.when} | {' '.join(f'`{field}`' for field in entry.fields)} |" for type_, entry in CATALOGUE.items()
    ]
    fields = [f"| `{name}` | {meaning} |" for name, meaning in FIELDS.items()]

    assert "\n".join(row.replace("|  |", "| |") for row in rows) + "\n\n" in document
    assert "\n".join(fields) + "\n\n" in document


def test_the_document_about_webhooks_lists_every_command_and_every_call(app: Flask, client: FlaskClient) -> None:
    document = (ROOT / "docs" / "webhooks.md").read_text()
    webhooks = app.cli.commands["webhooks"]
    paths = client.get("/api/v1/openapi.json").get_json()["paths"]
    calls = {
        (method.upper(), path.removeprefix("/api/v1").replace("{endpoint_id}", "{id}"))
        for path, methods in paths.items()
        if "/webhooks/" in path
        for method, call in methods.items()
        if "operationId" in call and not call.get("deprecated")
    }

    assert isinstance(webhooks, click.Group)
    assert set(re.findall(r"^\| `webhooks (\w+)", document, re.MULTILINE)) == set(webhooks.commands)
    assert set(re.findall(r"\| `([A-Z]+) (/webhooks/\S*)` \|", document)) == calls


@pytest.mark.requirement("HOOK-01")
def test_the_post_in_the_document_about_webhooks_is_signed_with_the_secret_that_it_names() -> None:
    document = (ROOT / "docs" / "webhooks.md").read_text()
    [post] = re.findall(r"^POST .+?(?=\n```)", document, re.MULTILINE | re.DOTALL)
    [secret] = re.findall(r"whsec_[A-Za-z0-9+/=]+", document)
    head, body = post.split("\n\n")
    headers = dict(line.split(": ") for line in head.splitlines()[1:])
    posted_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)

    with time_machine.travel(posted_at):
        read = Webhook(secret).verify(body, headers)

    assert read["type"] == "invite.activated"
    assert tuple(read["data"]) == CATALOGUE[Type.INVITE_ACTIVATED].fields
    assert headers["webhook-id"].endswith(f"_{clock.microseconds(datetime.fromisoformat(read['timestamp']))}")
