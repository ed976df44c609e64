"""What `doctor` says about a part of the deployment."""

from dataclasses import dataclass
from typing import Final

FINE: Final = "fine"
ADVICE: Final = "advice"
"""It works, but could be better."""
WRONG: Final = "wrong"


@dataclass(frozen=True)
class Finding:
    """The state of one part of the deployment, and what to do unless it is fine."""

    state: str
    part: str
    how: str
    remedy: str = ""
