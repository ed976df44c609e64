"""The guides show the files that run, as they are, and no other code that could have run."""

import pytest

from tests.integrate.guides import EXAMPLES, Block, blocks

NOT_RUN = {"kotlin", "swift", "console", "http", "json", "sh"}
"""Languages of blocks that are in a guide alone. `sh` is run by tests/test_readme.py."""

SHOWN = [block for block in blocks() if block.example]


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: f"{block.guide.name}-{block.example}")
def test_a_guide_shows_the_file_that_runs(block: Block) -> None:
    assert block.code == (EXAMPLES / block.example).read_text()


def test_every_example_is_shown() -> None:
    files = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file() and "__pycache__" not in path.parts}

    assert {block.example for block in SHOWN} == files


def test_other_blocks_are_of_languages_that_no_test_runs() -> None:
    assert {block.language for block in blocks() if not block.example} <= NOT_RUN
