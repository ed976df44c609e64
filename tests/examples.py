"""How many examples a test of a property draws."""

import hypothesis

USUAL = 100


def examples(count: int) -> int:
    """`count`; in `make fuzz`, whose profile draws more of them, as many times more."""
    profile = hypothesis.settings.default
    return count * profile.max_examples // USUAL if profile else count
