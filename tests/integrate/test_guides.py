"""The guides show the files that run, as they are, and no other code that could have run."""

import re
import shlex
from pathlib import Path

import pytest
from flask import Flask

from tests.integrate.guides import EXAMPLES, FOLDER, NOT_TRIED, Block, blocks

NOT_RUN = {"kotlin", "swift", "console", "http", "json", "sh"}
"""Languages of blocks that are in a guide alone. `sh` is run by tests/test_readme.py."""

PRODUCTS = sorted(set((FOLDER / "sign-in").glob("*.md")) - {FOLDER / "sign-in" / "README.md"})
SHOWN = [block for block in blocks() if block.example]


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: block.name)
def test_a_guide_shows_the_file_that_runs(block: Block) -> None:
    assert block.code == (EXAMPLES / block.example).read_text()


def test_every_example_is_shown() -> None:
    files = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file() and "__pycache__" not in path.parts}

    assert {block.example for block in SHOWN} == files


def test_other_blocks_are_of_languages_that_no_test_runs() -> None:
    others = {block.language for block in blocks() if not block.example and NOT_TRIED not in block.guide.read_text()}

    assert others <= NOT_RUN


def test_a_guide_to_a_product_shows_the_file_that_runs_or_says_that_it_was_not_tried() -> None:
    shown = {block.guide for block in SHOWN}
    said = {guide for guide in PRODUCTS if NOT_TRIED in guide.read_text()}

    assert set(PRODUCTS) == (shown & set(PRODUCTS)) | said
    assert shown.isdisjoint(said)


@pytest.mark.parametrize("guide", PRODUCTS, ids=lambda guide: guide.stem)
def test_the_command_line_takes_the_command_by_which_a_guide_registers_an_app(app: Flask, guide: Path) -> None:
    [command] = re.findall(r"^\$ \.venv/bin/flask --app wsgi (clients add (?:.*\\\n)*.*)$", guide.read_text(), re.MULTILINE)

    added = app.test_cli_runner().invoke(args=shlex.split(command.replace("\\\n", "")))

    assert added.exit_code == 0, added.output
    assert all(name in added.output for name in ("client_id:", "client_secret:"))
