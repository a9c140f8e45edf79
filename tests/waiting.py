"""How long tests wait for what has to happen: a slow machine is no fault."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds. No test is to depend on anything shorter.
DEADLINE = 600.0


def until(
    condition: Callable[[], object], work: Callable[[], None] = lambda: sleep(0.01)
) -> None:
    """Do some work, or sleep, until the condition holds; fail after the deadline."""
    end = monotonic() + DEADLINE
    while not condition():
        if monotonic() > end:
            pytest.fail(f"it did not happen within {DEADLINE:.0f} s")
        work()
