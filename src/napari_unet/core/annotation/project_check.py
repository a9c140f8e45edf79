"""The data check of a whole project: all annotated slices of all its images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import FIRST_OBJECT
from napari_unet.core.annotation.data_check import (
    BACKGROUND_NAME,
    CheckedField,
    CheckReport,
    Finding,
    check_annotation,
    only_cells,
    usual_sizes,
)
from napari_unet.core.geometry.boxes import axis_sizes
from napari_unet.core.text import capitalised, times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_unet.core.annotation.data_check import Fix, Severity
    from napari_unet.core.images.array_reference import (
        AnnotationReference,
        ImageReference,
    )
    from napari_unet.core.images.image import Image
    from napari_unet.core.jobs import Place


def check(
    images: Sequence[ImageReference],
    annotations: Sequence[AnnotationReference | None],
    places: Sequence[Sequence[Place]],
    halo: Sequence[int],
) -> Iterator[CheckReport]:
    """Check the annotation of all images of a project; yield a report after each plane.

    It has what was found so far; the last one is complete. `annotations` has None where
    an image has none, `places` are the planes or volumes of each image that have
    annotation, `halo` is how far the network sees, in pixels, ([z,] y, x).
    """
    report = CheckReport()
    opened = [reference.open() for reference in images]
    for number, (image, annotation) in enumerate(zip(opened, annotations, strict=True)):
        problems = _check_image(number, image, annotation, halo)
        report = CheckReport(report.counts, (*report.findings, *problems))
        if annotation is None or any(p.severity == "error" for p in problems):
            continue
        usual = _usual(annotation, places[number])
        for t, z in places[number]:
            name = _name(image, t, z, alone=len(images) == 1)
            found = check_annotation(
                annotation.field(t, z), CheckedField(number, t, z, name), usual
            )
            report = CheckReport(
                report.counts + found.counts, report.findings + found.findings
            )
            yield report
    yield _complete(report, opened, annotations)


def _name(image: Image, t: int, z: int | None, *, alone: bool) -> str:
    """Name a plane as people see it: what distinguishes it from others."""
    parts = [] if alone else [image.name]
    if image.size("t") > 1:
        parts.append(f"time {t}")
    if z is not None and image.size("z") > 1:
        parts.append(f"slice {z}")
    name = ", ".join(parts) or image.name
    # a name that somebody gave an image stays as it is
    return capitalised(name) if alone and parts else name


def _usual(
    annotation: AnnotationReference, places: Sequence[Place]
) -> dict[int, float]:
    """Median size of the cells of each class, over all planes."""
    found = []
    field = None
    for t, z in places:
        field = annotation.field(t, z)
        ids, pixels = np.unique(only_cells(field), return_counts=True)
        cells = ids >= FIRST_OBJECT
        found += list(zip(ids[cells].tolist(), pixels[cells].tolist(), strict=True))
    return {} if field is None else usual_sizes(field, found)


def _check_image(
    number: int,
    image: Image,
    annotation: AnnotationReference | None,
    halo: Sequence[int],
) -> list[Finding]:
    """Find problems of an image as a whole; after errors its planes are not checked."""
    findings = []
    seen = image.field_shape(len(halo))
    if any(n <= h for n, h in zip(seen, halo, strict=True)):
        sentence = (
            f"{image.name} has {times(seen)} pixels, and the network sees "
            f"{times(halo)} around each: what it sees is mostly mirrored."
        )
        findings.append(Finding("small-image", "warning", sentence, number))
    if annotation is None:
        return findings
    dtype, shape = np.dtype(annotation.labels.dtype), annotation.labels.shape
    fix: Fix = "new-annotation"
    if dtype.kind not in "iu":
        sentence = f"{image.name}: an annotation has whole numbers, this one {dtype}."
        findings.append(Finding("dtype", "error", sentence, number, fix=fix))
    wanted = {a: image.size(a) for a in image.axes if a != "c"}
    if axis_sizes(annotation.axes, shape) != wanted:
        sentence = (
            f"{image.name}: the annotation has {times(shape)} pixels "
            f"({annotation.axes}), the image {times([*wanted.values()])}; they must be "
            "equal."
        )
        findings.append(Finding("shape", "error", sentence, number, fix=fix))
    return findings


def _complete(
    report: CheckReport,
    images: Sequence[Image],
    annotations: Sequence[AnnotationReference | None],
) -> CheckReport:
    """Add what only all images together show."""
    findings = list(report.findings)
    painted = {count.image for count in report.counts}
    broken = {f.image for f in findings if f.severity == "error"}
    for number, image in enumerate(images):
        if number not in painted | broken:
            findings.append(_nothing(number, image, annotations[number], painted))
    if painted:
        backgrounds = [c for c in report.counts if c.class_name == BACKGROUND_NAME]
        if not any(count.pixels for count in backgrounds):
            # it is an error where no slice has any
            findings = [
                replace(f, severity="error") if f.kind == "no-background" else f
                for f in findings
            ]
        findings += _missing_classes(report, annotations)
        findings += _channels(images, sorted(painted))
    findings.sort(key=lambda f: ("error", "warning", "hint").index(f.severity))
    return CheckReport(report.counts, tuple(findings))


def _nothing(
    number: int,
    image: Image,
    annotation: AnnotationReference | None,
    painted: set[int],
) -> Finding:
    fix: Fix | None = "new-annotation" if annotation is None else None
    severity: Severity = "hint" if painted else "error"
    advice = ", so it is not used for training"
    if not painted:
        advice = "; paint a few cells and background"
    sentence = f"{image.name}: nothing is painted{advice}."
    return Finding("nothing", severity, sentence, number, fix=fix)


def _missing_classes(
    report: CheckReport, annotations: Sequence[AnnotationReference | None]
) -> list[Finding]:
    first = report.counts[0].image
    found = {c.class_name for c in report.counts if c.pixels}
    used = [a for a in annotations if a is not None]
    names = list(dict.fromkeys(info.name for a in used for info in a.classes))
    missing = [name for name in names if name not in found]
    if len(missing) == len(names):
        sentence = "Only background is painted; paint a few cells too."
        return [Finding("no-cells", "error", sentence, first)]
    sentence = "Nothing of the class {} is painted; the network cannot learn it."
    return [
        Finding("one-class", "warning", sentence.format(name), first)
        for name in missing
    ]


def _channels(images: Sequence[Image], painted: Sequence[int]) -> list[Finding]:
    """Find images whose number of channels differs from the first."""
    first = images[painted[0]]
    return [
        Finding(
            "channels",
            "error",
            f"{images[number].name} has {images[number].channels} channels, "
            f"{first.name} has {first.channels}; images for training need the same.",
            number,
        )
        for number in painted
        if images[number].channels != first.channels
    ]
