"""Writing probabilities and labels: as TIFF that Fiji shows correctly, or OME-Zarr.

The suffix decides: .zarr is OME-Zarr, .ome.tif is OME-TIFF, any other .tif an ImageJ
hyperstack where ImageJ can hold it (8 or 16 bits or float32, below 4 GB), and
OME-TIFF else. A file appears complete or not at all. Arrays on disk are read block by
block, or for a TIFF plane by plane, so they may be larger than memory.
"""

from __future__ import annotations

from collections import deque
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from napari_unet.core.cells.label_colours import label_colours
from napari_unet.core.cells.objects import HIGHEST_ID
from napari_unet.core.geometry.blocks import cut
from napari_unet.core.geometry.boxes import field_index
from napari_unet.core.images.image import AXES, Image
from napari_unet.io.atomic import atomic
from napari_unet.io.ome_zarr import CHUNK, create_zarr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from napari_unet.core.images.image import ArrayLike
    from napari_unet.io.provenance import Provenance

# ImageJ's own order of axes.
_TIFF_AXES = "tzcyx"

# Offsets in a classic TIFF have 32 bits; the rest is for the metadata.
_IMAGEJ_BYTES = 2**32 - 2**25

# ImageJ spreads 256 colours over the range that is shown: over a wider one, label 1
# would be as black as the background.
_MOST_SHOWN = 500

_IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)

# Part of a plane that is read at a time, in pixels.
_PART = (1024, 2048)
# Larger planes of an OME-TIFF are in tiles, which are read one by one, in pixels.
_WHOLE = 2**24
# Bytes that tifffile may buffer before it compresses.
_COLLECTED = 2**26


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
    probabilities : array, in [0, 1]
        One channel for each class; of numpy, dask or zarr.
    axes : str
        A letter out of t, c, z, y, x for each axis, in any order; with c.
    spacing_um : sequence of float, optional
        Pixel size along the spatial axes ([z,] y, x) in micrometres.
    made : Provenance, optional
        Origin of the result, written with it.

    Raises
    ------
    ValueError
        The suffix is another, the axes do not fit the array, or c is missing.
    OSError
        The file cannot be written; nothing half-written stays.
    """
    deque(probability_blocks(path, probabilities, axes, spacing_um, made), maxlen=0)


def probability_blocks(
    path: str | Path,
    probabilities: ArrayLike,
    axes: str,
    spacing_um: Sequence[float] | None = None,
    made: Provenance | None = None,
) -> Iterator[None]:
    """As `write_probabilities`, with None after each block of an OME-Zarr.

    Closed before its end it leaves nothing.
    """
    path = Path(path)
    image = _image(path, probabilities, axes, spacing_um)
    if "c" not in axes:
        raise ValueError(
            f"{path}: probabilities need the axis c (classes), found {axes!r}."
        )
    yield from _written(image, path, np.float32, (0.0, 1.0), made)


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
    # an empty range is invalid, and ImageJ would choose its own
    shown = low, high if high > low else low + 1
    made_image = _image(path, data, axes, spacing_um)
    deque(_written(made_image, path, np.float32, shown, made), maxlen=0)


def write_pixels(path: str | Path, image: Image) -> None:
    """Write an image with its own type of pixels, or one that an OME-TIFF has.

    Errors are as of `write_image`.
    """
    path = Path(path)
    dtype = _ome_type(image)
    low, high = (0.0, 1.0) if dtype.kind in "fb" else (0.0, float(np.iinfo(dtype).max))
    deque(_written(image, path, dtype, (low, high), None), maxlen=0)


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
    image = _image(path, weights, axes, spacing_um)
    most = max(float(part.max()) for part in _parts(image))
    deque(_written(image, path, np.float32, (0.0, most or 1.0), made), maxlen=0)


def write_labels(
    path: str | Path,
    labels: ArrayLike,
    axes: str,
    spacing_um: Sequence[float] | None = None,
    made: Provenance | None = None,
) -> None:
    """Write labels in the smallest of uint8, uint16 and uint32 that holds them.

    With more than 65535 labels a TIFF is an OME-TIFF, as ImageJ has no 32-bit integers.
    Fiji shows labels in colours: up to 255 labels each has its own, up to 500 two share
    one, and those above have the last one.

    Parameters are those of `write_probabilities`, without the axis c; 0 is background.

    Raises
    ------
    ValueError
        The suffix is another, the axes do not fit the array, there are channels, or
        values that are negative or no integers.
    OSError
        The file cannot be written; nothing half-written stays.
    """
    deque(label_blocks(path, labels, axes, spacing_um, made), maxlen=0)


def label_blocks(
    path: str | Path,
    labels: ArrayLike,
    axes: str,
    spacing_um: Sequence[float] | None = None,
    made: Provenance | None = None,
) -> Iterator[None]:
    """As `write_labels`, with None after each block that is looked at or written.

    Closed before its end it leaves nothing.
    """
    path = Path(path)
    image = _image(path, labels, axes, spacing_um)
    if "c" in axes:
        raise ValueError(f"{path}: labels have no channels, found axes {axes!r}.")
    if labels.dtype.kind not in "bui":
        raise ValueError(f"{path}: labels must be integers, found {labels.dtype}.")
    # Python's integers, as no numpy type holds both -1 and 2**64 - 1.
    ends = []
    for part in _parts(image):
        ends += [int(part.min()), int(part.max())]
        yield None
    least, most = min(ends), max(ends)
    if least < 0 or most > HIGHEST_ID:
        raise ValueError(
            f"{path}: labels must be from 0 to {HIGHEST_ID}, found {least} to {most}."
        )
    shown = (0.0, min(max(most, 255), _MOST_SHOWN))
    yield from _written(image, path, np.min_scalar_type(most), shown, made)


def _image(
    path: Path, data: ArrayLike, axes: str, spacing_um: Sequence[float] | None
) -> Image:
    spacing = None if spacing_um is None else tuple(float(size) for size in spacing_um)
    return Image(data, axes, spacing, str(path))


def _parts(image: Image) -> Iterator[NDArray[Any]]:
    """Yield all pixels, in parts of planes."""
    for field in image.fields(2):
        for block in cut(field.shape, _PART, unit=CHUNK):
            yield field.read(block.core)


def _written(
    image: Image,
    path: Path,
    dtype: DTypeLike,
    shown: tuple[float, float],
    made: Provenance | None,
) -> Iterator[None]:
    suffix = path.suffix.lower()
    if suffix == ".zarr":
        yield from _write_zarr(path, image, np.dtype(dtype), made)
    elif suffix in {".tif", ".tiff"}:
        _write_tiff(path, image, np.dtype(dtype), shown, made)
    else:
        raise ValueError(
            f"{path}: images are written to .tif, .tiff and .zarr, found {suffix!r}."
        )


def _write_zarr(
    path: Path, image: Image, dtype: np.dtype[Any], made: Provenance | None
) -> Iterator[None]:
    axes, shape = _ordered(image, AXES)
    notes = None if made is None else made.attributes()
    with create_zarr(
        path, shape, axes, dtype, image.known_um, attributes=notes
    ) as stored:
        for field in image.fields(2):
            for block in cut(field.shape, _PART, unit=CHUNK):
                part = field.read(block.core).astype(dtype, copy=False)
                index = field_index(axes, field.t, field.z, block.core)
                stored[index] = part if "c" in axes else part[0]
                yield None


def _write_tiff(
    path: Path,
    image: Image,
    dtype: np.dtype[Any],
    shown: tuple[float, float],
    made: Provenance | None,
) -> None:
    import tifffile

    axes, shape = _ordered(image, _TIFF_AXES)
    nbytes = prod(shape) * dtype.itemsize
    is_ome = path.stem.lower().endswith(".ome")
    imagej = not is_ome and fits_imagej(dtype, nbytes)
    # random, as usual, it would make each file another one, of the same pixels, too
    origin = ascii(image.name) if made is None else made.text()
    uuid = uuid5(NAMESPACE_OID, f"{origin} {axes} {shape} {dtype}")
    extra: dict[str, Any] = {"metadata": {**_ome(image), "UUID": str(uuid)}}
    if imagej:
        extra = _imagej(image, shown)
        # all six axes, or tifffile takes a last one of length one for samples
        axes, shape = f"{_TIFF_AXES}s", (*(image.size(a) for a in _TIFF_AXES), 1)
        if dtype.kind == "u":
            extra["extratags"] = [_colour_map()]
    extra["metadata"]["axes"] = axes.upper()
    if made is not None:
        extra["metadata"]["Info" if imagej else "Description"] = made.text()
    in_tiles = not imagej and prod(image.field_shape(2)) > _WHOLE
    tile = (CHUNK, CHUNK) if in_tiles else None
    with atomic(path) as temporary:
        # ImageJ reads zlib; it is given no predictor, which it reads for few types.
        tifffile.imwrite(
            temporary,
            _planes(image, dtype, tile),
            shape=shape,
            dtype=dtype,
            tile=tile,
            imagej=imagej,
            ome=not imagej,
            bigtiff=nbytes > _IMAGEJ_BYTES,
            photometric="minisblack",
            compression="zlib",
            buffersize=_COLLECTED,
            **extra,
        )


def _planes(
    image: Image, dtype: np.dtype[Any], tile: tuple[int, int] | None
) -> Iterator[NDArray[Any]]:
    """Yield the planes, or their tiles, in the order of a TIFF."""
    height, width = image.field_shape(2)
    high, wide = tile or (height, width)
    turned = image.axes.index("x") < image.axes.index("y")
    for t, z, c in product(*(range(image.size(a)) for a in "tzc")):
        for y, x in product(range(0, height, high), range(0, width, wide)):
            box = slice(y, min(y + high, height)), slice(x, min(x + wide, width))
            index = field_index(image.axes, t, z, box)
            one = (c if a == "c" else i for a, i in zip(image.axes, index, strict=True))
            part = image.read(tuple(one)).astype(dtype, copy=False)
            yield part.T if turned else part


def _colour_map() -> tuple[int, str, int, tuple[int, ...], bool]:
    """Return the tag with 256 colours for labels: all reds, all greens, all blues.

    ImageJ uses it as a lookup table, others ignore it if 0 is black.
    """
    table = label_colours(range(256)).astype(int) * 257
    return 320, "H", table.size, tuple(table.T.ravel().tolist()), True


def fits_imagej(dtype: np.dtype[Any], nbytes: int) -> bool:
    """Whether ImageJ can hold pixels of this type and size in one TIFF."""
    return dtype in _IMAGEJ_TYPES and nbytes <= _IMAGEJ_BYTES


def _imagej(image: Image, shown: tuple[float, float]) -> dict[str, Any]:
    metadata = {
        "mode": "grayscale",  # else Fiji blends the classes as colours
        "min": shown[0],
        "max": shown[1],
        "Ranges": shown * image.channels,  # min and max count for one channel only
    }
    if image.known_um is None:
        return {"metadata": metadata}
    *depth, height, width = image.known_um
    metadata["unit"] = "micron"  # the header is ASCII and cannot hold µ
    if "z" in image.axes:
        # ImageJ reads a missing spacing as one micron
        metadata["spacing"] = depth[0] if depth else 0
    return {
        "metadata": metadata,
        "resolution": (1 / width, 1 / height),
        "resolutionunit": "NONE",
    }


def _ome_type(image: Image) -> np.dtype[Any]:
    """Return a type of OME's that holds the pixels: its integers have 32 bits at most.

    Integers beyond become real numbers, as a network sees them.
    """
    dtype = np.dtype(image.data.dtype)
    if dtype == np.float16:
        return np.dtype(np.float32)
    if dtype.kind not in "iu" or dtype.itemsize <= 4:
        return dtype
    ends = [int(end) for part in _parts(image) for end in (part.min(), part.max())]
    narrow = np.result_type(*map(np.min_scalar_type, (min(ends), max(ends))))
    return narrow if narrow.itemsize <= 4 else np.dtype(np.float64)


def _ome(image: Image) -> dict[str, Any]:
    # without the version of tifffile, which would make it another file
    metadata: dict[str, Any] = {"Creator": "napari-unet"}
    for axis, size in image.um_by_axis.items():
        metadata[f"PhysicalSize{axis.upper()}"] = size
        metadata[f"PhysicalSize{axis.upper()}Unit"] = "µm"
    return metadata


def _ordered(image: Image, order: str) -> tuple[str, tuple[int, ...]]:
    """Return the axes in an order, and their lengths."""
    axes = "".join(a for a in order if a in image.axes)
    return axes, tuple(image.size(a) for a in axes)
