"""TIFF in: ImageJ hyperstacks, OME-TIFF, and plain TIFF of any origin.

Axes come from the metadata through tifffile. The pixel size comes from ImageJ's
resolution tags with its unit, from OME's PhysicalSize, or from a resolution that is
not one of the defaults which programs write without knowing any.
"""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import tifffile

from napari_unet.io.pixels import Pixels
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_unet.core.image import ArrayLike

# Smaller images are read at once: a map keeps the file open and locked on Windows.
MAPPED_FROM_BYTES = 64 * 2**20

# Resolutions of screens and printers; no microscope has pixels of 20 to 350 µm.
_DEFAULT_DPI = (72, 96, 100, 150, 200, 300, 600, 1200)

# What tifffile logs of a file that lost its end.
_BROKEN_CHAIN = "invalid page offset"
_TOO_SHORT = "ImageJ series metadata invalid or corrupted"
_LOST_TEXT = "TiffTag 270 "

_INCH, _CENTIMETRE = 2, 3  # TIFF 6.0, tag ResolutionUnit
_ALPHA = {1, 2}  # TIFF 6.0, tag ExtraSamples: associated and unassociated alpha
_RGB = 2  # TIFF 6.0, tag PhotometricInterpretation


def read(path: Path) -> Pixels:
    """Read the first image of a TIFF file, at full resolution.

    Uncompressed images from 64 MiB on are memory-mapped. Alpha is dropped.

    Raises
    ------
    ValueError
        There is no image in the file or it is cut off.
    """
    with _collected_errors() as errors, tifffile.TiffFile(path) as file:
        if not file.series:
            raise ValueError("it holds no image")
        series = file.series[0]
        _check_complete(file, errors)
        axes = series.axes.lower()
        data = _without_alpha(_data(path, series), axes, series.keyframe)
        return Pixels(data, axes, _sizes(file))


def _check_complete(file: Any, errors: set[str]) -> None:
    """Refuse a file of which tifffile would read fewer images than were written."""
    if _TOO_SHORT in errors:
        images = file.imagej_metadata.get("images")
        raise ValueError(f"it is too short for the {images} images it tells of")
    if _LOST_TEXT in errors:
        raise ValueError("it is cut off before its description")
    # Files of other kinds tell their number of pages; here the chain of pages is all
    # there is, and one that breaks off is a stack that lost its end.
    chained = file.series[0].kind in {"generic", "uniform"} and len(file.pages) > 1
    if _BROKEN_CHAIN in errors and chained:
        raise ValueError(f"it is cut off after page {len(file.pages)}")


@contextmanager
def _collected_errors() -> Iterator[set[str]]:
    """Collect which of these errors tifffile logs, as it raises none of them."""
    errors: set[str] = set()

    def note(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        known = {e for e in (_BROKEN_CHAIN, _TOO_SHORT, _LOST_TEXT) if e in message}
        errors.update(known)
        return not known

    log = logging.getLogger("tifffile")
    log.addFilter(note)
    try:
        yield errors
    finally:
        log.removeFilter(note)


def _data(path: Path, series: Any) -> ArrayLike:
    mappable = series.dataoffset is not None and series.keyframe.is_memmappable
    if mappable and series.nbytes >= MAPPED_FROM_BYTES:
        mapped: ArrayLike = tifffile.memmap(path, series=0, mode="r")
        return mapped
    loaded: ArrayLike = series.asarray()
    return loaded


def _without_alpha(data: ArrayLike, axes: str, page: Any) -> ArrayLike:
    if "s" not in axes:
        return data
    at = axes.index("s")
    alphas = sum(int(kind) in _ALPHA for kind in page.extrasamples)
    # Many programs leave alpha undeclared; a fourth sample beside RGB is nothing else.
    if page.photometric == _RGB:
        alphas = max(alphas, data.shape[at] - 3)
    samples = slice(0, data.shape[at] - alphas)
    index = tuple(samples if i == at else slice(None) for i in range(len(axes)))
    colour: ArrayLike = data[index]
    return colour


def _sizes(file: Any) -> Mapping[str, float]:
    """Return the pixel size in micrometres of the axes the file tells it of."""
    if file.is_ome:
        found = _ome_sizes(file.ome_metadata)
    elif file.is_imagej and "unit" in file.imagej_metadata:
        found = _imagej_sizes(file.imagej_metadata, _resolution(file))
    else:
        found = _plain_sizes(file, _resolution(file))
    return {axis: size for axis, size in found.items() if size is not None}


def _ome_sizes(xml: str) -> dict[str, float | None]:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return {}
    return {
        axis.lower(): micrometres(
            float(pixels.get(f"PhysicalSize{axis}", 0)),
            pixels.get(f"PhysicalSize{axis}Unit", "µm"),
        )
        for axis in "ZYX"
    }


def _imagej_sizes(
    meta: Mapping[str, Any], resolution: Mapping[str, float]
) -> dict[str, float | None]:
    unit = str(meta["unit"])
    sizes = {
        axis: micrometres(1 / pixels, str(meta.get(f"{axis}unit", unit)))
        for axis, pixels in resolution.items()
    }
    if any(_is_default(size) for size in sizes.values()):
        return {}
    # ImageJ leaves a spacing of one out, and writes a negative one for stacks that
    # were taken downwards.
    spacing = abs(float(meta.get("spacing", 1)))
    return {"z": micrometres(spacing, str(meta.get("zunit", unit))), **sizes}


def _plain_sizes(file: Any, resolution: Mapping[str, float]) -> dict[str, float | None]:
    tag = file.pages.first.tags.get("ResolutionUnit")
    units = {_INCH: "inch", _CENTIMETRE: "cm"}
    unit = units.get(int(tag.value) if tag is not None else _INCH)
    if unit is None:
        return {}
    sizes = {axis: micrometres(1 / n, unit) for axis, n in resolution.items()}
    return {} if any(_is_default(size) for size in sizes.values()) else sizes


def _resolution(file: Any) -> dict[str, float]:
    """Pixels in a unit of length along y and x, as the Resolution tags tell."""
    found = {}
    for axis in "yx":
        tag = file.pages.first.tags.get(f"{axis.upper()}Resolution")
        if tag is not None and all(number > 0 for number in tag.value):
            found[axis] = tag.value[0] / tag.value[1]
    return found


def _is_default(size_um: float | None) -> bool:
    return size_um is not None and any(
        math.isclose(size_um, 25400 / dpi, rel_tol=1e-3) for dpi in _DEFAULT_DPI
    )
