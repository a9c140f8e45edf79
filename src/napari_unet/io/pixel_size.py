"""The pixel size in a TIFF: of OME, ImageJ or an LSM, or a resolution.

What cannot be understood is ignored, and never a reason to refuse the pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Mapping

# Tag ResolutionUnit: of TIFF 6.0, and of microscopes that go on counting.
_INCH = 2
_UNITS = {_INCH: "inch", 3: "cm", 4: "mm", 5: "um"}

# The resolution of a TIFF is meant for paper and screens: cameras and scanners, and
# programs that do not know it, write 72 to 600 dots per inch. Only what is finer than
# 1200 dpi, or pixels of 21 µm, can be meant as a pixel size.
_FINEST_DPI = 1200

# Kinds of scans of an LSM of which y and x are those of the sample: stacks, and planes
# and stacks in time.
_PLANES = (0, 3, 6)

# The same values converted to another unit by some program.
_COPIED_DPI = (72, 96, 100, 150, 200, 300, 600, 1200)


def sizes_um(file: Any, number: int) -> Mapping[str, float]:
    """Return the size along those of z, y, x that have one, in micrometres.

    The image is the one of a number, from 0, among the series of a tifffile.TiffFile.
    Of damaged metadata, any exception of their parser is raised.
    """
    if file.is_ome:
        found = _ome(file.ome_metadata, number, len(file.series))
    elif file.is_lsm:
        found = _lsm(file.lsm_metadata)
    elif file.is_imagej and "unit" in file.imagej_metadata:
        found = _imagej(file.imagej_metadata, _resolution(file))
    else:
        found = _plain(file, _resolution(file))
    return {axis: size for axis, size in found.items() if size is not None}


def _ome(xml: str, number: int, series: int) -> dict[str, float | None]:
    described = ElementTree.fromstring(xml).findall(".//{*}Image/{*}Pixels")
    sizes = [
        {
            axis.lower(): micrometres(
                _number(pixels.get(f"PhysicalSize{axis}")),
                pixels.get(f"PhysicalSize{axis}Unit", "µm"),
            )
            for axis in "ZYX"
        }
        for pixels in described
    ]
    if len(sizes) != series and any(other != sizes[0] for other in sizes[1:]):
        return {}  # images without pixels are described, too: whose size it is is open
    found = sizes[min(number, len(sizes) - 1)] if sizes else {}
    return {} if _is_copied(found) else found


def _imagej(
    meta: Mapping[str, Any], resolution: Mapping[str, float]
) -> dict[str, float | None]:
    unit = str(meta["unit"])
    units = {axis: str(meta.get(f"{axis}unit", unit)) for axis in "zyx"}
    sizes = {a: micrometres(1 / pixels, units[a]) for a, pixels in resolution.items()}
    if _is_copied(sizes) or any(
        units[a].lower() in {"inch", "cm"} and _is_print(sizes[a]) for a in sizes
    ):
        return {}
    # ImageJ omits a spacing of one, and writes a negative one for stacks taken
    # downwards.
    spacing = abs(_number(meta.get("spacing", 1)))
    return {"z": micrometres(spacing, units["z"]), **sizes}


def _lsm(meta: Mapping[str, Any]) -> dict[str, float | None]:
    if meta["ScanType"] not in _PLANES:
        return {}
    return {a: micrometres(meta[f"VoxelSize{a.upper()}"], "m") for a in "zyx"}


def _plain(file: Any, resolution: Mapping[str, float]) -> dict[str, float | None]:
    tag = file.pages.first.tags.get("ResolutionUnit")
    unit = _UNITS.get(int(tag.value) if tag is not None else _INCH)
    if unit is None:
        return {}
    sizes = {axis: micrometres(1 / n, unit) for axis, n in resolution.items()}
    return {} if any(map(_is_print, sizes.values())) else sizes


def _resolution(file: Any) -> dict[str, float]:
    """Pixels in a unit of length along y and x, as in the Resolution tags."""
    found = {}
    for axis in "yx":
        tag = file.pages.first.tags.get(f"{axis.upper()}Resolution")
        if tag is not None and all(number > 0 for number in tag.value):
            found[axis] = tag.value[0] / tag.value[1]
    return found


def _number(text: Any) -> float:
    """Parse a number; NaN if it is not one."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def _is_print(size_um: float | None) -> bool:
    # 1 % less: the numbers in the file are rounded
    return size_um is not None and size_um > 0.99 * 25400 / _FINEST_DPI


def _is_copied(sizes: Mapping[str, float | None]) -> bool:
    return any(
        math.isclose(sizes.get(axis) or 0, 25400 / dpi, rel_tol=1e-3)
        for axis in "yx"
        for dpi in _COPIED_DPI
    )
