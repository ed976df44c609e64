"""Conventions that a program can check."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

import hammer
from hammer import events

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "hammer").rglob("*.py"))
FRONT_ENDS = {"auth", "api", "oauth", "admin", "web", "cli"}
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))


def handlers(module: Path) -> Iterator[ast.ExceptHandler]:
    return (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.ExceptHandler))


def is_a_rule(module: Path) -> bool:
    return module.relative_to(ROOT / "hammer").parts[0].removesuffix(".py") not in FRONT_ENDS


def test_the_only_commit_is_in_the_database_module() -> None:
    assert [module.name for module in MODULES if ".commit(" in module.read_text()] == ["database.py"]
    assert (ROOT / "hammer" / "db" / "database.py").read_text().count(".commit(") == 1


@every_module
def test_no_module_catches_everything(module: Path) -> None:
    for handler in handlers(module):
        caught = "" if handler.type is None else ast.unparse(handler.type)
        assert handler.type is not None, f"line {handler.lineno}: a bare except"
        assert not re.search(r"\bException\b", caught), f"line {handler.lineno}: except {caught}"
        if "BaseException" in caught:  # only to clean up and re-raise, or to pass it from a thread to the waiting one
            handed = module.name == "gateways.py" and ast.unparse(handler.body[-1]) == "result.put(type(fault).__name__)"
            assert handed or isinstance(handler.body[-1], ast.Raise), f"line {handler.lineno}: except {caught} swallows"


@pytest.mark.parametrize("module", [r for r in MODULES if is_a_rule(r)], ids=lambda module: str(module.relative_to(ROOT)))
def test_no_status_code_is_below_the_front_ends(module: Path) -> None:
    known = {status.value for status in HTTPStatus if status.value >= 400}
    if module.name == "__init__.py":
        return
    tree = ast.parse(module.read_text())
    durations = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "timedelta"]
    days = {id(part) for duration in durations for part in ast.walk(duration)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) is int and id(node) not in days:
            assert node.value not in known, f"line {node.lineno}: {node.value}"
    assert "status_code" not in module.read_text()


def layers_checked() -> list[set[str]]:
    """The layers of import-linter's contract, from the top."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    return [set(layer.split(" | ")) for layer in contract["layers"]]


def layers_drawn(map_: str) -> list[set[str]]:
    """The layers of a map: lines that are indented by four spaces, names in front, at least two spaces, and what they are for."""
    return [set(names.split(" | ")) for names in re.findall(r"^    ((?:\w+ \| )*\w+) {2,}\S", map_, re.MULTILINE)]


def test_the_maps_and_the_contract_of_imports_are_one_list() -> None:
    assert hammer.__doc__ is not None
    readme = (ROOT / "README.md").read_text().split("\n## Layout\n")[1].split("\n## ")[0]
    assert layers_drawn(hammer.__doc__) == layers_drawn(readme) == layers_checked()


def test_every_module_is_in_a_layer_and_imports_only_from_layers_below() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    checked = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_nothing_reads_the_environment_but_the_configuration() -> None:
    """Except for `doctor`, which checks where a secret came from."""
    assert [module.name for module in MODULES if re.search(r"\bos\.environ\b|import environ\b|getenv", module.read_text())] == [
        "doctor.py"
    ]


def test_every_module_has_a_docstring() -> None:
    without = [str(module.relative_to(ROOT)) for module in MODULES if ast.get_docstring(ast.parse(module.read_text())) is None]
    assert without == []


def test_every_kind_of_event_is_written_somewhere() -> None:
    elsewhere = "".join(file.read_text() for file in MODULES if file.name != "events.py")
    assert [kind for kind in events.Kind if f"events.Kind.{kind.name}" not in elsewhere] == []


def test_the_hooks_before_a_commit_run_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    check = re.findall(r"^\t\$\(BIN\)/(.+)$", (ROOT / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0], re.MULTILINE)

    assert [hook["entry"].removeprefix(".venv/bin/") for hook in hooks] == check


def test_tests_of_pages_leave_no_clock_and_no_script_to_the_next_test() -> None:
    """Contexts are used again: `visit(clock=True)` and `visit(script=...)` give one that is not."""
    files = (ROOT / "tests" / "browser").glob("test_*.py")
    assert [file.name for file in files if re.search(r"\.clock\.install\(|\.add_init_script\(", file.read_text())] == []
