"""`docs/conformance.md` and the tests of the Basic OP plan are one list."""

import re

from tests.oauth import test_basic_plan
from tests.serving import ROOT

ROWS = re.findall(r"^\| (`oidcc-.+?) \| (.+?) \| (.+) \|$", (ROOT / "docs" / "conformance.md").read_text(), re.MULTILINE)
MODULES_OF_THE_PLAN = 38


def test_each_case_of_the_plan_is_listed_once() -> None:
    modules = [module for named, _, _ in ROWS for module in re.findall(r"`(oidcc-[a-z0-9-]+)`", named)]
    assert len(modules) == len(set(modules)) == MODULES_OF_THE_PLAN


def test_each_case_has_a_test_or_a_reason_and_each_test_has_its_case() -> None:
    named = {name for _, _, proof in ROWS for name in re.findall(r"`(test_\w+)`", proof)}
    assert named == {name for name in vars(test_basic_plan) if name.startswith("test_")}
    assert all("`test_" in proof or proof.startswith("reason: ") for _, _, proof in ROWS)
