"""The design as documented: colours have enough contrast, and every screen has a picture."""

import re
from itertools import product

import pytest

from tests.pictures import PICTURES, SCENES, STATIC

DOCUMENTS = PICTURES.parent
PAGE = (DOCUMENTS / "pages.md").read_text()
STYLE = (STATIC / "hammer.css").read_text()
MOST_BYTES = {"": 3_000_000, "admin": 4_000_000}
"""Folder in `docs/pictures` -> bytes of its pictures."""


def colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"(--[\w-]+): (#[0-9A-F]{6});", style))


LIGHT = colours(STYLE.split(":root {")[1].split("}")[0])
DARK = LIGHT | colours(STYLE.split("prefers-color-scheme: dark")[1].split("}")[0])


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.requirement("ACC-04")
@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_what_is_written_can_be_read(scheme: dict[str, str]) -> None:
    grounds = ("--paper", "--surface")
    least = {"--ink": 12, "--muted": 4.5, "--accent": 4.5, "--pressed": 4.5, "--good": 4.5, "--bad": 4.5, "--edge": 3}
    on_buttons = [("--on-accent", button) for button in ("--accent", "--pressed", "--bad")]

    seen = {(word, ground): contrast(scheme[word], scheme[ground]) / least[word] for word, ground in product(least, grounds)}
    seen |= {pair: contrast(scheme[pair[0]], scheme[pair[1]]) / 4.5 for pair in on_buttons}

    assert {pair: round(share, 2) for pair, share in seen.items() if share < 1} == {}


def test_the_colours_are_those_that_are_written_down() -> None:
    shown: dict[str, tuple[str, str]] = {}
    for names, light, dark in re.findall(r"^\| (`--.+?`) \| (`#.+?`) \| (`#.+?`) \|", PAGE, re.MULTILINE):
        for name, *both in zip(*(re.findall(r"`(.+?)`", cell) for cell in (names, light, dark)), strict=True):
            shown[name] = (both[0], both[1])

    assert shown == {name: (LIGHT[name], DARK[name]) for name in LIGHT}


def test_every_screen_has_its_picture_and_every_picture_its_place() -> None:
    drawn = {file.relative_to(PICTURES).with_suffix("").as_posix() for file in PICTURES.rglob("*.webp")}
    both = PAGE + (DOCUMENTS / "admin.md").read_text()
    linked = set(re.findall(r"\(pictures/(.+?)\.webp\)", both))

    assert drawn == linked == set(SCENES)


@pytest.mark.parametrize("folder", MOST_BYTES)
def test_the_pictures_are_light_enough_to_be_kept(folder: str) -> None:
    assert sum(file.stat().st_size for file in (PICTURES / folder).iterdir() if file.is_file()) < MOST_BYTES[folder]
