"""What is annotated in a slice, and what is wrong with it, in words for who painted it.

Nothing here stops anybody: a finding is told with the place to look at and, where there
is one, the name of a remedy. `core.annotation.annotations` says what labels mean,
`core.annotation.project_check` puts the slices of all images together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT, UNKNOWN
from napari_unet.core.annotation.components import (
    cells_of,
    count_necked,
    remove_specks,
    speck_size,
    split_pieces,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.annotation.components import Cell, Piece

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
Severity = Literal["error", "warning", "hint"]
Fix = Literal["ring", "split", "remove-specks", "new-annotation"]

BACKGROUND_NAME = "background"


@dataclass(frozen=True, slots=True)
class CheckedSlice:
    """Which plane or volume is checked, and how people call it.

    Attributes
    ----------
    image : int
        Number of the image, from 0.
    t, z : int, int or None
    name : str
        Begins the sentences, such as "Slice 3" or "embryo, slice 3".
    """

    image: int = 0
    t: int = 0
    z: int | None = 0
    name: str = "Here"


@dataclass(frozen=True, slots=True)
class PlaneCount:
    """How much of a class is annotated in one plane or volume.

    Attributes
    ----------
    image : int
        Number of the image, from 0.
    t, z : int, int or None
    class_name : str
    cells : int
        Objects of a class of cells; 0 for regions and the background.
    pixels : int
        As painted, before ridges; of the background also what is unlabelled in
        finished parts.
    """

    image: int
    t: int
    z: int | None
    class_name: str
    cells: int
    pixels: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or might be.

    Attributes
    ----------
    kind : str
    severity : {"error", "warning", "hint"}
        Training makes no sense; it is worse for it; it may well be right.
    sentence : str
        For people. Slices and time points have the numbers of napari's sliders.
    image : int
        Number of the image, from 0.
    t, z : int, int or None
        Where to go; 0 if it is about the whole image.
    position : (float, float) or None
        y and x to go to, in pixels.
    label : int or None
        Id of the object that it is about.
    fix : {"ring", "split", "remove-specks", "new-annotation"} or None
        `annotations.with_background_ring`, `pieces.split_pieces`,
        `pieces.remove_specks`, or a new annotation in place of one that does not fit.
    """

    kind: FindingKind
    severity: Severity
    sentence: str
    image: int
    t: int = 0
    z: int | None = 0
    position: tuple[float, float] | None = None
    label: int | None = None
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All counts, in the order of images and planes, and findings, errors first."""

    counts: tuple[PlaneCount, ...] = ()
    findings: tuple[Finding, ...] = ()


def check_annotation(
    annotation: Annotation,
    plane: CheckedSlice | None = None,
    typical: Mapping[int, float] | None = None,
) -> CheckReport:
    """Check one plane or volume.

    Parameters
    ----------
    annotation : Annotation
    plane : CheckedSlice, optional
    typical : mapping of int to float, optional
        Usual size of the cells of each class, in pixels; the median of those here
        unless given.

    Returns
    -------
    CheckReport
        Counts of the background and of each class, none if nothing is painted.
    """
    plane = plane or CheckedSlice()
    counts = _count(annotation, plane)
    if not any(count.pixels for count in counts):
        return CheckReport()
    cells = cells_of(only_cells(annotation))
    if typical is None:
        typical = usual_sizes(annotation, [(c.label, c.size) for c in cells])
    findings = []
    if counts[0].pixels == 0:
        findings.append(_no_background(annotation, cells, plane))
    findings += _check_cells(annotation, cells, typical, plane)
    return CheckReport(tuple(counts), tuple(findings))


def only_cells(annotation: Annotation) -> NDArray[np.integer]:
    """Labels without the objects of regions, which need not be in one piece."""
    regions = [
        i for i, number in annotation.class_of.items() if _is_region(annotation, number)
    ]
    if _is_region(annotation, 1):
        cells = sorted(set(annotation.class_of) - set(regions))
        return np.where(np.isin(annotation.labels, cells), annotation.labels, UNKNOWN)
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


def _is_region(annotation: Annotation, number: int) -> bool:
    return annotation.classes[number - 1].kind == "regions"


def _count(annotation: Annotation, plane: CheckedSlice) -> list[PlaneCount]:
    """Count cells and pixels of the background and of each class."""
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
    for number, info in enumerate(annotation.classes, start=1):
        if info.kind == "regions":
            per_class[number, 0] = 0
    names = [BACKGROUND_NAME, *(info.name for info in annotation.classes)]
    return [
        PlaneCount(plane.image, plane.t, plane.z, name, int(cells), int(size))
        for name, (cells, size) in zip(names, per_class, strict=True)
    ]


def _no_background(
    annotation: Annotation, cells: list[Cell], plane: CheckedSlice
) -> Finding:
    z, position = plane.z, None
    if cells:
        z, position = _go_to(cells[0].pieces[0], plane)
    return Finding(
        "no-background",
        "warning",
        f"{plane.name}: no background painted; the network cannot learn what is not "
        f"{'a cell' if cells else annotation.classes[0].name}.",
        plane.image,
        plane.t,
        z,
        position,
        fix="ring" if cells else None,
    )


def _check_cells(
    annotation: Annotation,
    cells: list[Cell],
    typical: Mapping[int, float],
    plane: CheckedSlice,
) -> list[Finding]:
    """Find cells that may be several, and specks."""
    findings = []
    specks: list[tuple[Cell, Piece]] = []
    for cell in cells:
        usual = typical.get(annotation.class_of.get(cell.label, 1), float(cell.size))
        least = speck_size(usual)
        large = [piece for piece in cell.pieces if piece.size >= least]
        specks += [(cell, piece) for piece in cell.pieces if piece.size < least]
        if len(large) > 1:
            findings.append(_in_pieces(cell, large, plane))
        elif large and count_necked(annotation.labels, cell, usual) > 1:
            findings.append(_necked(cell, plane))
    if specks:
        findings.append(_specks(specks, plane))
    return findings


def _in_pieces(cell: Cell, pieces: list[Piece], plane: CheckedSlice) -> Finding:
    z, position = _go_to(pieces[1], plane)
    return Finding(
        "merged-cells",
        "warning",
        f"{plane.name}: cell {cell.label} lies in {len(pieces)} separate pieces; if "
        "they are different cells, each needs an id of its own.",
        plane.image,
        plane.t,
        z,
        position,
        cell.label,
        "split",
    )


def _necked(cell: Cell, plane: CheckedSlice) -> Finding:
    z, position = _go_to(cell.pieces[0], plane)
    return Finding(
        "merged-cells",
        "hint",
        f"{plane.name}: cell {cell.label} has a narrow waist; if it is two touching "
        "cells, give one of them another id, or the network learns to join cells.",
        plane.image,
        plane.t,
        z,
        position,
        cell.label,
    )


def _specks(specks: list[tuple[Cell, Piece]], plane: CheckedSlice) -> Finding:
    cell, piece = specks[0]
    z, position = _go_to(piece, plane)
    many = len(specks) > 1
    return Finding(
        "specks",
        "warning",
        f"{plane.name}: {len(specks)} specks far smaller than a cell, perhaps slips "
        "of the brush."
        if many
        else f"{plane.name}: a speck far smaller than a cell, perhaps a slip of the "
        "brush.",
        plane.image,
        plane.t,
        z,
        position,
        None if many else cell.label,
        "remove-specks",
    )


def _go_to(piece: Piece, plane: CheckedSlice) -> tuple[int | None, tuple[float, float]]:
    """Return slice and position of a piece; in a volume the slice in its middle."""
    *depth, y, x = piece.centre
    return round(depth[0]) if depth else plane.z, (y, x)


__all__ = [
    "BACKGROUND_NAME",
    "CheckReport",
    "CheckedSlice",
    "Finding",
    "FindingKind",
    "Fix",
    "PlaneCount",
    "Severity",
    "check_annotation",
    "only_cells",
    "remove_specks",
    "split_pieces",
    "usual_sizes",
]
