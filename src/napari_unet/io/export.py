"""Probabilities and labels out: TIFF that Fiji shows as it should, or OME-Zarr.

The suffix decides: .zarr is OME-Zarr, .ome.tif is OME-TIFF, any other .tif an ImageJ
hyperstack where ImageJ can hold it (8 or 16 bits or float32, below 4 GB), and
OME-TIFF else. A file appears complete or not at all.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.images.image import AXES, Image
from napari_unet.io.atomic import atomic
from napari_unet.io.ome_zarr import create_zarr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_unet.io.provenance import Provenance

# ImageJ's own order of axes.
_TIFF_AXES = "tzcyx"

# Offsets in a TIFF that is no BigTIFF have 32 bits; the rest is for the metadata.
_IMAGEJ_BYTES = 2**32 - 2**25

_IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)


def write_probabilities(
    path: str | Path,
    probabilities: ArrayLike,
    axes: str,
    spacing_um: Sequence[float] | None = None,
    made: Provenance | None = None,
) -> None:
    """Write class probabilities as float32, background first.

    TIFF is written in the order of axes t, z, c, y, x, OME-Zarr in t, c, z, y, x.

    Parameters
    ----------
    path : str or Path
        Ends in .tif, .tiff or .zarr.
    probabilities : array-like, in [0, 1]
        One channel for each class.
    axes : str
        A letter out of t, c, z, y, x for each axis, in any order; with c.
    spacing_um : sequence of float, optional
        Pixel size along the spatial axes ([z,] y, x) in micrometres.
    made : Provenance, optional
        What it was made from, written with it.

    Raises
    ------
    ValueError
        The suffix is another, the axes do not fit the array, or c is missing.
    OSError
        The file cannot be written; nothing half-written stays.
    """
    path = Path(path)
    data = np.asarray(probabilities, dtype=np.float32)
    if "c" not in axes:
        raise ValueError(
            f"{path}: probabilities need the axis c (classes), found {axes!r}."
        )
    _write(_image(path, data, axes, spacing_um), path, (0.0, 1.0), made)


def write_image(
    path: str | Path,
    image: ArrayLike,
    axes: str,
    spacing_um: Sequence[float] | None = None,
    made: Provenance | None = None,
) -> None:
    """Write an image as float32, shown from its darkest to its brightest value.

    A single channel is left out of the axes. Parameters and errors are those of
    `write_probabilities`, for real numbers of any range.
    """
    path = Path(path)
    data = np.asarray(image, dtype=np.float32)
    if "c" in axes and data.shape[axes.index("c")] == 1:
        data = data.squeeze(axes.index("c"))
        axes = axes.replace("c", "")
    low, high = float(data.min()), float(data.max())
    # a range of no width is none, and ImageJ would choose its own
    shown = low, high if high > low else low + 1
    _write(_image(path, data, axes, spacing_um), path, shown, made)


def write_weights(
    path: str | Path,
    weights: ArrayLike,
    axes: str,
    spacing_um: Sequence[float] | None = None,
    made: Provenance | None = None,
) -> None:
    """Write a weight map as float32, shown from 0 to its largest value.

    Parameters and errors are those of `write_labels`, for real numbers.
    """
    path = Path(path)
    data = np.asarray(weights, dtype=np.float32)
    shown = (0.0, float(data.max()) or 1.0)
    _write(_image(path, data, axes, spacing_um), path, shown, made)


def write_labels(
    path: str | Path,
    labels: ArrayLike,
    axes: str,
    spacing_um: Sequence[float] | None = None,
    made: Provenance | None = None,
) -> None:
    """Write labels in the smallest of uint8, uint16 and uint32 that holds them.

    With more than 65535 labels a TIFF is an OME-TIFF, as ImageJ has no 32-bit
    integers. The display range is set to the labels present, or Fiji would show a black
    image.

    Parameters are those of `write_probabilities`, without the axis c; 0 is background.

    Raises
    ------
    ValueError
        The suffix is another, the axes do not fit the array, there are channels, or
        values that are negative or no integers.
    OSError
        The file cannot be written; nothing half-written stays.
    """
    path = Path(path)
    data = np.asarray(labels)
    image = _image(path, data, axes, spacing_um)
    if "c" in axes:
        raise ValueError(f"{path}: labels have no channels, found axes {axes!r}.")
    if data.dtype.kind not in "bui":
        raise ValueError(f"{path}: labels must be integers, found {data.dtype}.")
    # Python's integers, as no numpy type holds both -1 and 2**64 - 1.
    least, most = int(data.min()), int(data.max())
    if least < 0 or most >= 2**32:
        raise ValueError(
            f"{path}: labels must be from 0 to {2**32 - 1}, found {least} to {most}."
        )
    image = replace(image, data=data.astype(np.min_scalar_type(most)))
    # A range from 0 to 0 is none, and ImageJ would choose its own.
    _write(image, path, (0.0, max(most, 1)), made)


def _image(
    path: Path, data: NDArray[Any], axes: str, spacing_um: Sequence[float] | None
) -> Image:
    spacing = None if spacing_um is None else tuple(float(size) for size in spacing_um)
    return Image(data, axes, spacing, str(path))


def _write(
    image: Image, path: Path, shown: tuple[float, float], made: Provenance | None
) -> None:
    suffix = path.suffix.lower()
    if suffix == ".zarr":
        data, axes = _ordered(image, AXES)
        notes = None if made is None else made.attributes()
        with create_zarr(
            path, data.shape, axes, data.dtype, image.known_um, attributes=notes
        ) as stored:
            stored[...] = data
    elif suffix in {".tif", ".tiff"}:
        _write_tiff(path, image, shown, made)
    else:
        raise ValueError(
            f"{path}: images are written to .tif, .tiff and .zarr, found {suffix!r}."
        )


def _write_tiff(
    path: Path, image: Image, shown: tuple[float, float], made: Provenance | None
) -> None:
    import tifffile

    data, axes = _ordered(image, _TIFF_AXES)
    is_ome = path.stem.lower().endswith(".ome")
    imagej = not is_ome and fits_imagej(data.dtype, data.nbytes)
    extra = _imagej(image, shown) if imagej else {"metadata": _ome(image)}
    if imagej:
        # all six axes, or tifffile takes a last one of length one for samples
        shape = [image.size(a) for a in _TIFF_AXES]
        data, axes = data.reshape(*shape, 1), f"{_TIFF_AXES}s"
    extra["metadata"]["axes"] = axes.upper()
    if made is not None:
        extra["metadata"]["Info" if imagej else "Description"] = made.text()
    with atomic(path) as temporary:
        # ImageJ reads zlib; it is given no predictor, which it reads for few types.
        tifffile.imwrite(
            temporary,
            data,
            imagej=imagej,
            ome=not imagej,
            bigtiff=data.nbytes > _IMAGEJ_BYTES,
            photometric="minisblack",
            compression="zlib",
            **extra,
        )


def fits_imagej(dtype: np.dtype[Any], nbytes: int) -> bool:
    """Whether ImageJ can hold pixels of this type and size in one TIFF."""
    return dtype in _IMAGEJ_TYPES and nbytes <= _IMAGEJ_BYTES


def _imagej(image: Image, shown: tuple[float, float]) -> dict[str, Any]:
    metadata = {
        "mode": "grayscale",  # or Fiji blends the classes as colours
        "min": shown[0],
        "max": shown[1],
        "Ranges": shown * image.channels,  # min and max count for one channel only
    }
    if image.known_um is None:
        return {"metadata": metadata}
    *depth, height, width = image.known_um
    metadata["unit"] = "micron"  # the header is ASCII and cannot hold µ
    if "z" in image.axes:
        # ImageJ takes a spacing that is left out for one micron
        metadata["spacing"] = depth[0] if depth else 0
    return {
        "metadata": metadata,
        "resolution": (1 / width, 1 / height),
        "resolutionunit": "NONE",
    }


def _ome(image: Image) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if image.known_um is not None:
        axes = image.spatial_axes.upper()[-len(image.known_um) :]
        for axis, size in zip(axes, image.known_um, strict=True):
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    return metadata


def _ordered(image: Image, order: str) -> tuple[NDArray[Any], str]:
    axes = "".join(a for a in order if a in image.axes)
    return np.asarray(image.data).transpose([image.axes.index(a) for a in axes]), axes
