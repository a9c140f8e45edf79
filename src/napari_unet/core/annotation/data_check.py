"""What is annotated in a slice, and its problems, in words for whoever painted it.

Nothing is refused: a finding says where to look and, if there is one, names a remedy.
`core.annotation.annotations` says what labels mean, `core.annotation.project_check`
puts the slices of all images together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    UNKNOWN,
    cell_classes,
)
from napari_unet.core.annotation.components import cells_of, count_necked, speck_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.annotation.components import Cell, Component

FindingKind = Literal[
    "nothing",
    "no-background",
    "no-cells",
    "one-class",
    "merged-cells",
    "specks",
    "shape",
    "dtype",
    "channels",
    "small-image",
]
# Training is pointless; training suffers; it may well be right.
Severity = Literal["error", "warning", "hint"]
# `annotations.with_background_ring`, `components.split_components`,
# `components.remove_specks`, or a new annotation in place of one that does not fit.
Fix = Literal["ring", "split", "remove-specks", "new-annotation"]

BACKGROUND_NAME = "background"


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How much of a class is annotated in one plane or volume."""

    image: int  # number of the image, from 0
    t: int
    z: int | None
    class_name: str
    cells: int  # objects of a class of cells; 0 for regions and the background
    # as painted, before ridges; of the background also what is unlabelled in finished
    # parts
    pixels: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, or a possible one."""

    kind: FindingKind
    severity: Severity
    # for people; slices and time points have the numbers of napari's sliders
    sentence: str
    image: int  # number of the image, from 0
    t: int = 0  # where to go; 0 if it is about the whole image
    z: int | None = 0
    position: tuple[float, float] | None = None  # y and x to go to, in pixels
    label: int | None = None  # id of the object that it is about
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All counts, in the order of images and planes, and findings, errors first."""

    counts: tuple[ClassCount, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedField:
    """The plane or volume that is checked, and what people call it."""

    image: int = 0  # number of the image, from 0
    t: int = 0
    z: int | None = 0
    name: str = "Here"  # begins the sentences, such as "Slice 3" or "embryo, slice 3"

    def finding(
        self,
        kind: FindingKind,
        severity: Severity,
        words: str,
        at: Component | None = None,
        label: int | None = None,
        fix: Fix | None = None,
    ) -> Finding:
        """Return what is wrong here, at the middle of a component of a cell."""
        z, position, sentence = self.z, None, f"{self.name}: {words}"
        if at is not None:
            *depth, y, x = at.centre
            z, position = round(depth[0]) if depth else self.z, (y, x)
        return Finding(
            kind, severity, sentence, self.image, self.t, z, position, label, fix
        )


_HERE = CheckedField()


def check_annotation(
    annotation: Annotation,
    field: CheckedField = _HERE,
    typical: Mapping[int, float] | None = None,
) -> CheckReport:
    """Check one plane or volume; counts are those of the background and each class.

    `typical` is the usual size of the cells of each class, in pixels; the median of
    those here unless given. The report is empty if nothing is painted.
    """
    counts = _count(annotation, field)
    if not any(count.pixels for count in counts):
        return CheckReport()
    cells = cells_of(only_cells(annotation))
    if typical is None:
        typical = usual_sizes(annotation, [(c.label, c.size) for c in cells])
    findings = []
    if counts[0].pixels == 0:
        what = "a cell" if cells else annotation.classes[0].name
        findings.append(
            field.finding(
                "no-background",
                "warning",
                f"no background painted; the network cannot learn what is not {what}.",
                cells[0].components[0] if cells else None,
                fix="ring" if cells else None,
            )
        )
    findings += _check_cells(annotation, cells, typical, field)
    return CheckReport(tuple(counts), tuple(findings))


def only_cells(annotation: Annotation) -> NDArray[np.integer]:
    """Return labels without the objects of regions, which need not be connected."""
    cells = cell_classes(annotation.classes)
    known = annotation.class_of.items()
    if 1 not in cells:  # an object without a class is of the first
        kept = [label for label, number in known if number in cells]
        return np.where(np.isin(annotation.labels, kept), annotation.labels, UNKNOWN)
    regions = [label for label, number in known if number not in cells]
    if not regions:
        return annotation.labels
    return np.where(np.isin(annotation.labels, regions), UNKNOWN, annotation.labels)


def usual_sizes(
    annotation: Annotation, sizes: Iterable[tuple[int, int]]
) -> dict[int, float]:
    """Median size of the cells of each class, from their ids and sizes in pixels."""
    groups: dict[int, list[int]] = defaultdict(list)
    for label, size in sizes:
        groups[annotation.class_of.get(label, 1)].append(size)
    return {number: float(np.median(group)) for number, group in groups.items()}


def _count(annotation: Annotation, field: CheckedField) -> list[ClassCount]:
    ids, pixels = np.unique(annotation.labels, return_counts=True)
    per_class = np.zeros((len(annotation.classes) + 1, 2), np.int64)
    for label, number in zip(ids.tolist(), pixels.tolist(), strict=True):
        if label == BACKGROUND:
            per_class[0, 1] += number
        elif label >= FIRST_OBJECT:
            per_class[annotation.class_of.get(label, 1)] += (1, number)
    if annotation.finished is not None:
        unlabelled = annotation.finished & (annotation.labels == UNKNOWN)
        per_class[0, 1] += np.count_nonzero(unlabelled)
    names = [BACKGROUND_NAME, *(info.name for info in annotation.classes)]
    of_cells = cell_classes(annotation.classes)
    return [
        ClassCount(
            field.image,
            field.t,
            field.z,
            name,
            int(per_class[number, 0]) if number in of_cells else 0,
            int(per_class[number, 1]),
        )
        for number, name in enumerate(names)
    ]


def _check_cells(
    annotation: Annotation,
    cells: list[Cell],
    typical: Mapping[int, float],
    field: CheckedField,
) -> list[Finding]:
    """Find cells that may be several, and specks."""
    findings = []
    specks: list[tuple[Cell, Component]] = []
    for cell in cells:
        usual = typical.get(annotation.class_of.get(cell.label, 1), float(cell.size))
        least = speck_size(usual)
        large = [part for part in cell.components if part.size >= least]
        specks += [(cell, part) for part in cell.components if part.size < least]
        if len(large) > 1:
            words = (
                f"cell {cell.label} lies in {len(large)} separate pieces; if they are "
                "different cells, each needs an id of its own."
            )
            findings.append(
                field.finding(
                    "merged-cells", "warning", words, large[1], cell.label, "split"
                )
            )
        elif large and count_necked(annotation.labels, cell, usual) > 1:
            words = (
                f"cell {cell.label} has a narrow waist; if it is two touching cells, "
                "give one of them another id, or the network learns to join cells."
            )
            findings.append(
                field.finding("merged-cells", "hint", words, large[0], cell.label)
            )
    if specks:
        findings.append(_specks(specks, field))
    return findings


def _specks(specks: list[tuple[Cell, Component]], field: CheckedField) -> Finding:
    cell, first = specks[0]
    label: int | None = cell.label
    words = "a speck far smaller than a cell, perhaps a slip of the brush."
    if len(specks) > 1:
        label = None
        words = (
            f"{len(specks)} specks far smaller than a cell, perhaps slips of the brush."
        )
    return field.finding("specks", "warning", words, first, label, "remove-specks")
