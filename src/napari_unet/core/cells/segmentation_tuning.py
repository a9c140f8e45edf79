"""Settings that find cells and regions best in a network's output, by annotation."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.class_map import edge_reach, follow_edges
from napari_unet.core.cells.instances import most_probable, segment_instances
from napari_unet.core.cells.label_ids import numbered
from napari_unet.core.cells.labelmap import at_edge, mostly_within, sizes
from napari_unet.core.metrics.objects import average_precision
from napari_unet.core.settings import Segmentation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.training.training_set import HeldOut

OVERLAPS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Overlaps (IoU) from which a cell counts as found."""

# Below this share of the typical size a found object is a cell only if the network is
# sure of it: other images may show far smaller ones; see docs/recipe.md.
_UNSURE = 0.25
# Of the size that a network found itself, from strokes.
_UNSURE_OF_STROKES = 0.1
# Below this share, and no more pixels than are usual, it is none however sure.
_SMALLEST = 0.15
# Where a cell's half width drops by this share of the typical radius, and by that share
# of the half width of the smaller part, it is split; see docs/recipe.md.
_WAIST, _NECK = 0.15, 0.25
# From strokes a network does not learn the gaps between touching cells, so narrower
# waists split them.
_WAIST_OF_STROKES, _NECK_OF_STROKES = 0.08, 0.1
_THRESHOLDS = (0.4, 0.5, 0.6)
# Waists at which cells are split: factors of `min_distance`, and `neck`.
_SPLITS = ((0.5, 0.15), (2.0, 0.3), (4.0, 0.5))
# Factors of `unsure_size`.
_SIZES = (0.3, 0.5, 1.5)
# Fewer cells are not enough to choose by.
_FEWEST = 20
# Reaches of edges in the image, in pixels.
_EDGES = (2.0, 4.0, 8.0)
# Smaller gains are taken for chance: of the precision or overlap, and in cells.
GAIN, CELLS_WON = 0.01, 3
# Most that a part of the held-out annotation may lose: one image unlike the others must
# not decide.
_LOSS = 0.005


def usual_settings(
    cells: NDArray[np.number], ndim: int, *, strokes: bool = False
) -> Segmentation:
    """Return the settings that are used until held-out cells show better ones: by size.

    `cells` are sizes in pixels (voxels) of annotated cells, or of a typical one that
    was found; `strokes` says whether the network learnt from strokes inside of cells.
    """
    if not len(cells):
        return Segmentation()
    size = float(np.median(cells))
    usual = Segmentation()
    unsure = _UNSURE_OF_STROKES if strokes else _UNSURE
    found = usual.replace(
        min_size=min(round(_SMALLEST * size), usual.min_size),
        unsure_size=round(unsure * size),
    )
    if ndim == 3:
        return found
    waist, neck = (_WAIST_OF_STROKES, _NECK_OF_STROKES) if strokes else (_WAIST, _NECK)
    return found.replace(min_distance=round(waist * (size / pi) ** 0.5, 2), neck=neck)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A network's output for an annotated part of an image, and the annotation."""

    probabilities: NDArray[np.float32]  # (classes, [z,] y, x)
    cells: NDArray[np.int32]  # annotated ones, 0 elsewhere
    known: NDArray[np.bool_]  # where anything is annotated
    spacing: tuple[float, ...]  # pixel size along each axis relative to the finest

    def found(
        self, settings: Segmentation, cell_classes: Sequence[int]
    ) -> NDArray[np.int32]:
        """Find cells; only those that lie mostly where something is annotated."""
        cells = segment_instances(
            self.probabilities,
            settings,
            cell_classes=cell_classes,
            spacing=self.spacing,
        )
        return mostly_within(cells, self.known).astype(np.int32)

    def true(self, smallest: int) -> NDArray[np.int32]:
        """Return the annotated cells except small ones cut off by the part's edge.

        Small ones in the middle count: whoever annotates them wants them found.
        """
        (cells,) = numbered([self.cells])
        keep = (sizes(cells) >= smallest) | ~at_edge(cells)
        return np.where(keep[cells], self.cells, 0).astype(np.int32)


def count(parts: Sequence[Judged], smallest: int) -> int:
    """Return the number of annotated cells that settings can be judged by."""
    return sum(len(np.unique(part.true(smallest))) - 1 for part in parts)


def choose_settings(
    parts: Sequence[Judged], settings: Segmentation, cell_classes: Sequence[int]
) -> Iterator[Segmentation]:
    """Choose the threshold, the waists and the smallest size that find most cells.

    One after the other, each with the best of those before, judged by the average
    precision at overlaps of 0.5 to 0.9: the mean over the cells has to gain, and no
    part may lose. The best so far is yielded after each trial: `settings` where there
    are fewer than 20 cells, or nothing is better by 0.01 and by three cells. `parts`
    are not trained on.
    """
    true = [part.true(settings.usual_size) for part in parts]
    cells = np.array([len(np.unique(one)) - 1 for one in true])
    if not cell_classes or cells.sum() < _FEWEST:
        return

    def scores(tried: Segmentation) -> NDArray[np.float64]:
        """Return the average precision in each part."""
        found = [part.found(tried, cell_classes) for part in parts]
        pairs = zip(found, true, strict=True)
        # in lists, as each is an image: a volume alone would be judged slice by slice
        every = [average_precision([one], [other], OVERLAPS) for one, other in pairs]
        return np.array([each.mean() for each in every])

    usual = scores(settings)
    best = float(np.average(usual, weights=cells))
    gain = max(GAIN, CELLS_WON / cells.sum())
    chosen = settings
    kinds: list[list[dict[str, float]]] = [
        [{"threshold": t} for t in _THRESHOLDS],
        [
            {"min_distance": times * settings.min_distance, "neck": neck}
            for times, neck in _SPLITS
        ],
        [{"unsure_size": round(times * settings.unsure_size)} for times in _SIZES],
    ]
    for changes in kinds:
        bar = best + gain
        for change in changes:
            tried = chosen.replace(**change)
            if tried != chosen:
                each = scores(tried)
                mean = float(np.average(each, weights=cells))
                if mean > bar and (each - usual >= -_LOSS)[cells > 0].all():
                    bar, best, chosen = mean, mean, tried
            yield chosen


def along_edges(
    judged: Judged, part: HeldOut, settings: Segmentation
) -> NDArray[np.float32]:
    """Return the network's output for a part, smoothed along the edges in its image."""
    reach = edge_reach(settings, judged.spacing)
    if not any(reach):
        return judged.probabilities
    image = part.example.field.read(part.box)
    return follow_edges(judged.probabilities, image, reach)


def choose_edges(
    parts: Sequence[Judged], held_out: Sequence[HeldOut], settings: Segmentation
) -> Iterator[tuple[Segmentation, float, float]]:
    """Choose whether the borders of regions follow edges, and from how far.

    Judged by the mean IoU of the classes in `parts`, a network's output for `held_out`:
    it has to gain 0.01, and no part may lose. The best so far is yielded after each
    trial, with the mean before and with it.
    """

    def overlaps(tried: Segmentation) -> NDArray[np.float64]:
        """Return the mean IoU of each part, and of all parts."""
        tables = []
        for judged, part in zip(parts, held_out, strict=True):
            values = along_edges(judged, part, tried)
            true = part.example.classes[part.box]
            tables.append(_overlap(most_probable(values), true, len(values)))
        return np.array([_mean_iou(t) for t in (*tables, np.sum(tables, axis=0))])

    usual = overlaps(settings)
    bar, best, chosen = usual[-1] + GAIN, usual[-1], settings
    for pixels in _EDGES:
        tried = settings.replace(edge_smoothing=pixels)
        each = overlaps(tried)
        if each[-1] > bar and (each - usual >= -_LOSS).all():
            bar, best, chosen = each[-1], each[-1], tried
        yield chosen, float(usual[-1]), float(best)


def _overlap(
    found: NDArray[np.uint8], true: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Count the pixels of each foreground class in both, and in either."""
    known = true != IGNORED
    rows = [(found[known] == k, true[known] == k) for k in range(1, classes)]
    return np.array(
        [[np.count_nonzero(a & b), np.count_nonzero(a | b)] for a, b in rows]
    )


def _mean_iou(table: NDArray[np.int64]) -> float:
    both, either = table[table[:, 1] > 0].T
    return float((both / either).mean()) if len(either) else 1.0
