"""One line of the table: what was measured, against what, and what it must reach."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and its target.

    Attributes
    ----------
    what, against : str
        What was measured, and what it is a ratio to.
    value : float
    sign : {"≤", "≥"}
    target : float
    unit : str
        Of value and target; empty for ratios.
    found : str
        The figures behind the value, and the limit they are to be seen against.
    """

    what: str
    against: str
    value: float
    sign: Literal["≤", "≥"]
    target: float
    unit: str = ""
    found: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return (
            self.value >= self.target if self.sign == "≥" else self.value <= self.target
        )


def interleaved(
    works: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Time several works in turn, so that a slow minute of the machine hits all.

    Parameters
    ----------
    works : mapping of str to callable
    repeats : int
        How often each is timed.

    Returns
    -------
    dict of str to list of float
        Seconds of each repeat.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            seconds[name].append(timed(work))
    return seconds


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    began = perf_counter()
    work()
    return perf_counter() - began


def ratio(seconds: Mapping[str, list[float]], over: str, under: str) -> float:
    """Return the median of one over the other's, pair by pair.

    Both of a pair ran next to each other, on the machine as it then was.
    """
    pairs = zip(seconds[over], seconds[under], strict=True)
    return median(a / b for a, b in pairs)


def middle(seconds: list[float]) -> str:
    """Write the median of some times."""
    value = median(seconds)
    return f"{1000 * value:.1f} ms" if value < 1 else f"{value:.2f} s"
