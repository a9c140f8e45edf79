"""The images of a task as folders of TIFFs: what a person would give the commands."""

from __future__ import annotations

import shutil
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from benchmarks.accuracy.scribbles import scribble

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.accuracy.task import Sample


def export(
    samples: tuple[Sample, ...],
    source: Path,
    target: Path,
    *,
    scribbles: bool = False,
    membrane: int | None = None,
) -> None:
    """Write samples into the subfolders `images` and `labels`, under equal names.

    Parameters
    ----------
    samples : tuple of Sample
    source : Path
        Folder of the dataset.
    target : Path
        Made if it is not there.
    scribbles : bool
        Whether the labels are strokes instead, in values of an annotation; the seed of
        a sample is its number.
    membrane : int, optional
        Largest label that is membrane, see `Task`.
    """
    for number, sample in enumerate(samples):
        files = {"images": sample.image, "labels": sample.labels}
        for kind, file in files.items():
            path = target / kind / f"{sample.name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "labels" and scribbles:
                _write(path, scribble(_read(source / file, sample.planes), number))
            elif kind == "labels" and membrane is not None:
                inside = _read(source / file, sample.planes) > membrane
                _write(path, inside.astype(np.uint8) * 255)
            elif sample.planes is None:
                # as it is, with the pixel size that its tags may tell
                shutil.copyfile(source / file, path)
            else:
                _write(path, read_planes(source / file, sample.planes))


def read_planes(file: Path, planes: range) -> NDArray[Any]:
    """Read pages of a stack.

    Parameters
    ----------
    file : Path
        TIFF of axes (z, y, x).
    planes : range

    Returns
    -------
    ndarray, shape (y, x) for one plane, otherwise (planes, y, x)

    Raises
    ------
    ValueError
        The file is no stack, or has fewer pages.
    """
    stack: NDArray[Any] = tifffile.imread(file)
    if stack.ndim != 3 or planes.stop > len(stack):
        raise ValueError(
            f"{file}: a stack of {planes.stop} planes or more is needed, found the "
            f"shape {stack.shape}."
        )
    chosen = stack[planes.start : planes.stop : planes.step]
    return chosen[0] if len(planes) == 1 else chosen


def read_sample(sample: Sample, source: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read an image and its labels as they are in the folder of the dataset."""
    image, labels = (
        _read(source / file, sample.planes) for file in (sample.image, sample.labels)
    )
    return image, labels


def pixels(file: Path) -> int:
    """Return the number of pixels, or voxels, of an image file; colours are none."""
    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        sizes = zip(series.axes, series.shape, strict=True)
        return prod(n for axis, n in sizes if axis != "S")


def _read(file: Path, planes: range | None) -> NDArray[Any]:
    if planes is not None:
        return read_planes(file, planes)
    image: NDArray[Any] = tifffile.imread(file)
    return image


def _write(path: Path, data: NDArray[Any]) -> None:
    tifffile.imwrite(path, data, photometric="minisblack", compression="zlib")
