"""The house rules that a program can check."""

import ast
import codecs
import inspect
import re
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

import hammer

ROOT = Path(__file__).parent.parent
ROOMS = sorted((ROOT / "hammer").rglob("*.py"))
DOORS = {"auth", "api", "health", "files", "statuses", "cli"}
every_room = pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def handlers(room: Path) -> Iterator[ast.ExceptHandler]:
    return (node for node in ast.walk(ast.parse(room.read_text())) if isinstance(node, ast.ExceptHandler))


def is_behind_a_door(room: Path) -> bool:
    return room.relative_to(ROOT / "hammer").parts[0].removesuffix(".py") not in DOORS


def test_the_only_commit_stands_in_the_database_room() -> None:
    assert [room.name for room in ROOMS if ".commit(" in room.read_text()] == ["database.py"]
    assert (ROOT / "hammer" / "database.py").read_text().count(".commit(") == 1


@every_room
def test_no_room_catches_everything(room: Path) -> None:
    for handler in handlers(room):
        caught = "" if handler.type is None else ast.unparse(handler.type)
        assert handler.type is not None, f"line {handler.lineno}: a bare except"
        assert not re.search(r"\bException\b", caught), f"line {handler.lineno}: except {caught}"
        if "BaseException" in caught:  # only to clean up and let it go on; or, in a thread, to hand it to whoever waits
            handed = room.name == "gateways.py" and ast.unparse(handler.body[-1]) == "said.put(type(fault).__name__)"
            assert handed or isinstance(handler.body[-1], ast.Raise), f"line {handler.lineno}: except {caught} swallows"


@pytest.mark.parametrize("room", [r for r in ROOMS if is_behind_a_door(r)], ids=lambda room: str(room.relative_to(ROOT)))
def test_no_status_code_stands_below_the_doors(room: Path) -> None:
    known = {status.value for status in HTTPStatus if status.value >= 400}
    if room.name == "__init__.py":
        return
    tree = ast.parse(room.read_text())
    durations = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "timedelta"]
    days = {id(part) for duration in durations for part in ast.walk(duration)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) is int and id(node) not in days:
            assert node.value not in known, f"line {node.lineno}: {node.value}"
    assert "status_code" not in room.read_text()


@every_room
def test_no_room_has_a_coroutine(room: Path) -> None:
    """No view can be one, nor what is asked before and after it: `create_app` has them called as they are, not run to their end."""
    assert [node.name for node in ast.walk(ast.parse(room.read_text())) if isinstance(node, ast.AsyncFunctionDef)] == []


def test_the_map_of_the_house_names_every_room() -> None:
    drawn = {line.split()[-1] for line in re.findall(r"^ {4}[a-z ]{10}([a-z_]+)  ", inspect.getsource(hammer), re.MULTILINE)}
    rooms = {path.stem for path in (ROOT / "hammer").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert drawn == rooms - {"__init__"}


def test_every_setting_is_in_the_readme_and_every_one_there_is_read() -> None:
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "config.py").read_text()))
    section = (ROOT / "README.md").read_text().split("\n## Settings\n")[1].split("\n## ")[0]
    documented = {
        name for row in re.findall(r"^\| (`[A-Z].*?) \|", section, re.MULTILINE) for name in re.findall(r"`([A-Z_]+)`", row)
    }
    assert len(read) > 10
    assert documented == read


def test_nothing_reads_the_environment_but_the_configuration() -> None:
    """And the doctor, who asks where a secret came from."""
    assert [room.name for room in ROOMS if re.search(r"\bos\.environ\b|import environ\b|getenv", room.read_text())] == ["doctor.py"]


def test_every_room_begins_with_the_caption_over_its_door() -> None:
    without = [str(room.relative_to(ROOT)) for room in ROOMS if ast.get_docstring(ast.parse(room.read_text())) is None]
    assert without == []


# Turned by 13 letters, so that this file does not hold what it looks for.
SOMEBODYS_MACHINE = [codecs.decode(word, "rot13") for word in ("/jbex/", "/gzc/", "/ebbg/", "/hfef/", "/ubzr/")]
ELSEWHERE = [codecs.decode(word, "rot13") for word in ("clcv.bet", "clguba.bet/fvzcyr", "ertvfgel.ac", "cebkl.tbynat")]
MAKERS = [codecs.decode(word, "rot13") for word in ("pynhqr", "naguebcvp", "pungtcg", "bcranv", "pbcvybg", "yyz")]


def test_the_repository_speaks_of_itself_alone() -> None:
    """No path of somebody's machine, no package host, no word about what it was written with."""
    forbidden = re.compile(
        rf"(?<![\w.}}$)]){'|'.join(map(re.escape, SOMEBODYS_MACHINE + ELSEWHERE))}|\b({'|'.join(MAKERS)})\b", re.IGNORECASE
    )
    found = []
    for file in tracked():
        if "static" in file.parts and ("vendor" in file.parts or file.name.endswith((".min.js", ".bundle.js", "bundle.js"))):
            continue
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in forbidden.finditer(text)]
    assert found == []


def test_every_kind_of_event_is_written_somewhere() -> None:
    kinds = re.findall(r"^([A-Z_]+): Final = ", (ROOT / "hammer" / "events.py").read_text(), re.MULTILINE)
    elsewhere = "".join(file.read_text() for file in ROOMS if file.name != "events.py")
    assert [kind for kind in kinds if kind[0] != "_" and f"events.{kind}" not in elsewhere] == []
