"""Images that networks made, beside those that they should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.cli.notes import notes_of
from napari_unet.cli.pairing import pair_files
from napari_unet.core.metrics import IMAGE_METRICS
from napari_unet.core.text import sentence, times
from napari_unet.io.atomic import check_separate
from napari_unet.io.images import check_finite, read_image
from napari_unet.io.prediction_folder import IMAGE, KINDS, RECORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.cli.pairing import By
    from napari_unet.core.images.image import Image


@dataclass(frozen=True, slots=True)
class ImageScores:
    """How near images are, over all pixels of all of them."""

    results: dict[str, float | None]  # by metric, None where images are too small
    pairs: list[dict[str, str]]  # the files, for programs
    notes: list[str]  # what was chosen, in sentences
    problems: list[str]  # why other pairs were not compared, a sentence for each


def are_images(predictions: str | Path) -> bool:
    """Whether what is named is images that `predict` made, and no labels.

    They are named as all labels are: by the folder that `predict` wrote, the folder of
    images in it, or files in that.
    """
    folder = named = Path(predictions)
    if not named.is_dir() or named.suffix == ".zarr":
        named = named.parent
    if named.name == IMAGE and (named.parent / RECORD).is_file():
        return True
    return (folder / IMAGE).is_dir() and not any((folder / k).is_dir() for k in KINDS)


def image_scores(
    predictions: str | Path,
    truth: Sequence[str | Path],
    metrics: Sequence[str],
    *,
    axes: str | None = None,
    by: By = "name",
    output: str | None = None,
) -> ImageScores:
    """Measure images; each channel by itself, with the mean of all where several are.

    `axes` are of the truth, `output` is a file that will be written. Pixels of the
    truth that are NaN or infinite do not count, nor do planes with some in SSIM. Pairs
    that cannot be read, or differ in size, are left out. A ValueError says that files
    do not go together.
    """
    folder = Path(predictions) / IMAGE
    source = folder if folder.is_dir() else predictions
    pairing = pair_files([source], truth, by, "target")
    if output is not None and output != "-":
        check_separate(output, pairing.files)
    pairs, problems = [], []
    for files in pairing.pairs:
        try:
            pairs.append((files, *_read(*files, axes)))
        except (ValueError, OSError) as error:
            problems.append(sentence(error))
    images = [image for _, *both in pairs for image in both]
    notes = [*pairing.notes(), *notes_of(images)]
    planes = [
        (f.read(), w.read())
        for _, one, other in pairs
        for f, w in zip(one.fields(2), other.fields(2), strict=True)
    ]
    results: dict[str, float | None] = {}
    for name in metrics if pairs else ():
        results |= _each_channel(name, planes)
    rows = [{"prediction": str(p), "truth": str(t)} for (p, t), *_ in pairs]
    return ImageScores(results, rows, notes, problems)


def _read(file: Path, truth: Path, axes: str | None) -> tuple[Image, Image]:
    """Read a pair; errors name the files, not their images, which have one name."""
    found = replace(read_image(file), name=str(file))
    wanted = replace(read_image(truth, axes), name=str(truth))
    _check_sizes(found, wanted)
    check_finite(found)
    return found, wanted


def _each_channel(
    name: str, planes: Sequence[tuple[NDArray[Any], NDArray[Any]]]
) -> dict[str, float | None]:
    """Return a score, of planes (channels, y, x); of several channels each as well."""
    counts = {len(plane) for pair in planes for plane in pair}
    if len(counts) > 1:
        raise ValueError(f"images have one number of channels, found {sorted(counts)}.")
    (channels,) = counts
    values = [
        _of_channel(name, [(f[c], w[c]) for f, w in planes]) for c in range(channels)
    ]
    if channels == 1:
        return {name: values[0]}
    known = [value for value in values if value is not None]
    mean = sum(known) / channels if len(known) == channels else None
    each = {f"{name}_channel_{c}": value for c, value in enumerate(values, start=1)}
    return {name: mean, **each}


def _of_channel(
    name: str, planes: Sequence[tuple[NDArray[Any], NDArray[Any]]]
) -> float | None:
    """Return a score of planes (y, x); the windows of SSIM need all their pixels."""
    measure = IMAGE_METRICS[name]
    known = [np.isfinite(wanted) for _, wanted in planes]
    if name == "ssim":
        used = [pair for pair, k in zip(planes, known, strict=True) if k.all()]
    else:
        both = zip(planes, known, strict=True)
        used = [(f[k], w[k]) for (f, w), k in both if k.any()]
    if not used:
        return None
    return measure([f for f, _ in used], [w for _, w in used])


def _check_sizes(found: Image, wanted: Image) -> None:
    sizes = [[i.size(a) for a in "tzyx"] for i in (found, wanted)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{found.name}: prediction and truth must have equal sizes along t, z, y, "
            f"x, found {times(sizes[0])} and {times(sizes[1])}."
        )
    if found.channels != wanted.channels:
        raise ValueError(
            f"{found.name}: prediction and truth must have as many channels, found "
            f"{found.channels} and {wanted.channels}."
        )
