"""Someone who knows the truth, and paints right what a prediction has wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.core.annotation.annotations import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]

Kind = Literal["missed", "merged", "split", "outline", "invented"]
# A cell is found if one overlaps it as much as this, as intersection over union.
_FOUND = 0.5


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a prediction in one place.

    Attributes
    ----------
    kind : str
    cells : tuple of int
        Of the truth: one, or those that are merged; none if the cell is invented.
    seen : tuple of int
        Of the prediction.
    """

    kind: Kind
    cells: tuple[int, ...]
    seen: tuple[int, ...]


def mistakes(seen: Labels, truth: Labels, smallest: float) -> list[Mistake]:
    """Return all that is wrong with the cells of a plane.

    Cells with fewer pixels than `smallest` are not asked for.
    """
    return list(_mistakes(seen, truth, smallest))


def is_right(mistake: Mistake, before: Labels, now: Labels, truth: Labels) -> bool:
    """Whether a mistake in the cells of `before` is mended in those of `now`."""
    if not mistake.cells:
        return bool((now[before == mistake.seen[0]] > 0).mean() < _FOUND)
    return all(_is_found(truth == cell, now) for cell in mistake.cells)


def painted(
    mistake: Mistake, seen: Labels, truth: Labels, labels: Labels, next_id: int
) -> list[tuple[NDArray[np.bool_], int]]:
    """Return what is painted to mend it: masks and labels, one stroke for each.

    The cells as they are, and background where the prediction has them in excess. What
    is in `labels`, the annotation, stays.
    """
    strokes = [
        (truth == cell, next_id + number) for number, cell in enumerate(mistake.cells)
    ]
    excess = np.isin(seen, mistake.seen) & (truth == 0) & (labels == 0)
    strokes.append((excess, BACKGROUND))
    return [(mask, value) for mask, value in strokes if mask.any()]


def is_annotated(mistake: Mistake, seen: Labels, truth: Labels, labels: Labels) -> bool:
    """Whether someone has painted there before."""
    places = [truth == cell for cell in mistake.cells]
    places = places or [seen == mistake.seen[0]]
    return any((labels[place] > 0).mean() > _FOUND for place in places)


def _mistakes(seen: Labels, truth: Labels, smallest: float) -> Iterator[Mistake]:
    shape = int(seen.max(initial=0)) + 1, int(truth.max(initial=0)) + 1
    common = np.zeros(shape, np.int64)
    np.add.at(common, (seen.ravel(), truth.ravel()), 1)
    of_seen, of_truth = common.sum(axis=1), common.sum(axis=0)
    overlap = common / np.maximum(of_seen[:, None] + of_truth - common, 1)
    overlap[0], overlap[:, 0] = 0, 0
    large = np.flatnonzero(of_truth >= smallest)
    large = large[large > 0]
    merged: set[int] = set()
    for cell in large[overlap[:, large].max(axis=0) < _FOUND].tolist():
        inside = common[1:, cell]
        holder = int(inside.argmax()) + 1 if inside.any() else 0
        held = [c for c in large.tolist() if common[holder, c] > of_truth[c] / 2]
        parts = np.flatnonzero(
            (common[:, cell] > of_seen / 2) & (common[:, cell] > of_truth[cell] / 10)
        )
        parts = parts[parts > 0]
        there = np.flatnonzero(inside) + 1
        if holder and cell in held and len(held) > 1:
            if holder not in merged:
                merged.add(holder)
                yield Mistake("merged", tuple(held), (holder,))
        elif len(parts) > 1:
            yield Mistake("split", (cell,), tuple(parts.tolist()))
        elif inside.sum() < of_truth[cell] / 2:
            yield Mistake("missed", (cell,), tuple(there.tolist()))
        else:
            yield Mistake("outline", (cell,), tuple(there.tolist()))
    for one in range(1, shape[0]):
        empty = common[one, 0] > of_seen[one] / 2
        if of_seen[one] >= smallest and empty and overlap[one].max() < _FOUND:
            yield Mistake("invented", (), (one,))


def _is_found(mask: NDArray[np.bool_], cells: Labels) -> bool:
    counts = np.bincount(cells[mask].astype(np.int64))
    counts[0] = 0
    best, size = int(counts.argmax()), int(mask.sum())
    return bool(counts[best] / (size + (cells == best).sum() - counts[best]) >= _FOUND)
