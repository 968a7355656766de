"""How many examples a property is tried with: few in every run, ten times as many where others are looked for.

`HYPOTHESIS_PROFILE=explore ./dev test tests/core` looks for others by chance. Otherwise they are the same in every run.
"""

import os
from typing import Final

from hypothesis import settings

_USUAL: Final = 40
_MORE: Final = 10

EXPLORES: Final = os.environ.get("HYPOTHESIS_PROFILE", "repeatable") == "explore"


def examples(usual: int) -> int:
    return usual * _MORE if EXPLORES else usual


def load_profile() -> None:
    """What holds for each property that says nothing else."""
    # No deadline: the machines that tests run on are noisy.
    settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=_USUAL)
    settings.register_profile("explore", deadline=None, print_blob=True, max_examples=examples(_USUAL))
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
