"""`docs/clients.md` is true: its example runs as it is written, and its figures are those of the program."""

import json
import subprocess

import pytest

from hammer.clients import registry, secrets
from tests.conftest import SETTINGS
from tests.serving import ROOT, Server, surroundings
from tests.test_readme import blocks

DOCUMENT = (ROOT / "docs" / "clients.md").read_text()


@pytest.mark.needs("curl", "jq")
def test_the_example_reads_a_user_and_asks_for_a_code(server: Server) -> None:
    server.sign_in("+79161234508")
    [example] = blocks(DOCUMENT)
    script = example.replace("http://localhost:5000", server.url)
    settings = {"DATABASE_URL": server.database_url, "SECRET_KEY": SETTINGS.secret_key, "HAMMER_PUBLIC_URL": server.url}

    run = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, env=surroundings() | settings, capture_output=True, text=True, timeout=60, check=True
    )

    users, end = json.JSONDecoder().raw_decode(run.stdout)
    assert len(users) == 1
    assert "·" in users[0]["telephone_number"]
    assert json.loads(run.stdout[end:])["telephone_number"] == "+79161234507"


def test_the_figures_are_those_of_the_program() -> None:
    assert f"by default {registry.SENDS_PER_HOUR}" in DOCUMENT
    assert f"| {secrets.WRONG_PER_HOUR} wrong secrets an hour |" in DOCUMENT
    assert f"stays valid for {secrets.OVERLAP.total_seconds() / 3600:.0f} hours" in DOCUMENT
