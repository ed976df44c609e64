"""The guides of docs/integrate/, and the blocks of code in them.

After a change of an example, `python -m tests.integrate.guides` writes it into its guide.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.serving import ROOT

FOLDER: Final = ROOT / "docs" / "integrate"
EXAMPLES: Final = FOLDER / "examples"
GUIDES: Final = sorted(FOLDER.rglob("*.md"))
_BLOCK: Final = re.compile(
    r"(?:^\[`([\w./-]+)`\]\(((?:\.\./)?examples/)([\w./-]+)\):\n\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
NOT_TRIED: Final = "**Not tried here.**"
"""Stands in a guide whose settings are from the documents of the product alone. Its code runs in no test."""


@dataclass(frozen=True)
class Block:
    guide: Path
    example: str
    """The file of `examples/` that the line above the block links to; empty for none."""
    language: str
    code: str

    @property
    def name(self) -> str:
        """For the names of tests."""
        return f"{self.guide.relative_to(FOLDER)}-{self.example}"


def blocks() -> list[Block]:
    """All blocks of code of all guides."""
    found = []
    for guide in GUIDES:
        for name, _, example, language, code in _BLOCK.findall(guide.read_text()):
            assert name == example, f"{guide} links to {example} and says {name}"
            found.append(Block(guide, example, language, code))
    return found


def main() -> None:
    """Writes the examples into the guides that show them."""
    for guide in GUIDES:
        guide.write_text(_BLOCK.sub(_with_the_example, guide.read_text()))


def _with_the_example(block: re.Match[str]) -> str:
    name, folder, example, language, _ = block.groups()
    if not example:
        return block[0]
    return f"[`{name}`]({folder}{example}):\n\n```{language}\n{(EXAMPLES / example).read_text()}```"


if __name__ == "__main__":
    main()
