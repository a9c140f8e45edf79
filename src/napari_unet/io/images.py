"""Images and label images in: TIFF, PNG, JPEG, OME-Zarr, folders and globs.

Pixels of large uncompressed TIFFs and of OME-Zarr stay on disk until they are asked
for. Whatever cannot be read gives one sentence that names the file and the reason.
"""

from __future__ import annotations

import re
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.blocks import cut
from napari_unet.core.image import Image
from napari_unet.io import ome_zarr
from napari_unet.io.names import glob_pattern, image_name
from napari_unet.io.pixels import Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

TIFF = (".tif", ".tiff")
JPEG = (".jpg", ".jpeg")
SUFFIXES = (*TIFF, ".png", *JPEG, ".zarr")

# Part of a plane that is checked at a time.
_CHECKED = (1024, 4096)


def find(paths: Sequence[str | Path]) -> list[Path]:
    """Expand files, folders and globs to the images they name, each once.

    A folder stands for the images directly in it, in natural order (2 before 10); an
    OME-Zarr folder is one image. Hidden files are left out of folders.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, folders, or patterns with ``*``, ``?``, ``[...]`` or ``**``.

    Raises
    ------
    FileNotFoundError
        A path is not there, or a folder or pattern yields no image.
    ValueError
        A file is of a format that cannot be read.
    """
    found: dict[Path, None] = {}
    for path in paths:
        found.update(dict.fromkeys(_expand(path)))
    if not found:
        raise FileNotFoundError("no image is named: the list of paths is empty.")
    return list(found)


def read_image(path: str | Path, axes: str | None = None) -> Image:
    """Read an image with its axes and pixel size.

    Colours become channels without alpha, booleans uint8; an axis of length one that
    is neither y nor x is dropped; an axis that the file does not explain is z.

    Parameters
    ----------
    path : str or Path
        A TIFF, PNG or JPEG file, or an OME-Zarr folder.
    axes : str, optional
        Letters out of t, c, z, y, x that overrule the file's.

    Returns
    -------
    Image
        `spacing_um` is None where the file tells no pixel size for one of its spatial
        axes.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The system does not let it be read.
    ValueError
        It is no image, is damaged or empty, or its axes cannot be told.
    """
    path = Path(path)
    return _decode(path).image(image_name(path), axes)


def read_labels(path: str | Path, axes: str | None = None) -> Image:
    """Read a label image: one channel of integers, 0 and up.

    Files of real numbers are accepted where all of them are integers, files of several
    channels where all of them are equal (a mask saved as RGB).

    Parameters
    ----------
    path : str or Path
        A TIFF or PNG file, or an OME-Zarr folder.
    axes : str, optional
        Letters out of t, c, z, y, x that overrule the file's.

    Raises
    ------
    FileNotFoundError, OSError
        As `read_image`.
    ValueError
        As `read_image`; also for a JPEG, whose compression alters labels, for
        channels that differ, and for values that are negative or no integers.
    """
    path = Path(path)
    if path.suffix.lower() in JPEG:
        raise ValueError(
            f"{path}: JPEG compression alters labels; they are read from TIFF, PNG "
            "and OME-Zarr."
        )
    image = read_image(path, axes)
    if image.data.dtype.kind == "u" and "c" not in image.axes:
        return image  # nothing can be wrong, so it may stay on disk
    labels = np.asarray(image.data[...])
    if "c" in image.axes:
        labels = _one_channel(labels, image)
    named = image.axes.replace("c", "")
    return Image(_integers(labels, image.name), named, image.spacing_um, image.name)


def check_finite(image: Image) -> None:
    """Read the whole image, in blocks, and refuse values that no network can take.

    Raises
    ------
    ValueError
        A value is NaN, infinite, or beyond the range of float32; the place of the
        first one that is met is told.
    """
    if image.data.dtype.kind != "f":
        return
    most = np.finfo(np.float32).max
    for axes, start, block in _blocks(image):
        bad = ~(np.abs(block) <= most)  # a comparison with NaN is False
        if bad.any():
            place = np.argwhere(bad)[0]
            value = block[tuple(place)]
            where = ", ".join(
                f"{a}={i + start.get(a, 0)}" for a, i in zip(axes, place, strict=True)
            )
            raise ValueError(
                f"{image.name}: pixels must be finite numbers, "
                f"found {value} at {where}."
            )


def _expand(given: str | Path) -> list[Path]:
    path = Path(given)
    # A file whose own name has brackets wins over the pattern it would be.
    if not path.exists() and has_magic(str(given)):
        matches = [Path(match) for match in glob(glob_pattern(given), recursive=True)]
        images = sorted(filter(_is_image, matches), key=_natural)
        if not images:
            raise FileNotFoundError(f"{given}: no image matches ({_formats()}).")
        return images
    if path.is_dir() and not ome_zarr.is_zarr(path):
        images = sorted(filter(_is_image, path.iterdir()), key=_natural)
        if not images:
            raise FileNotFoundError(
                f"{path}: no image is in the folder ({_formats()})."
            )
        return images
    _check_readable(path)
    return [path]


def _is_image(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return ome_zarr.is_zarr(path) or (
        path.is_file() and path.suffix.lower() in SUFFIXES
    )


def _natural(path: Path) -> list[str | int]:
    # The split alternates text and digits, so equal positions have equal types.
    parts = re.split(r"(\d+)", str(path).lower())
    return [int(p) if i % 2 else p for i, p in enumerate(parts)]


def _formats() -> str:
    return ", ".join(SUFFIXES)


def _check_readable(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if path.is_dir() and not ome_zarr.is_zarr(path):
        raise ValueError(f"{path}: is a folder and no OME-Zarr image.")
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path}: images are read from {_formats()}, found {path.suffix!r}."
        )


def _decode(path: Path) -> Pixels:
    _check_readable(path)
    try:
        if path.is_dir():
            return ome_zarr.read(path)
        if path.suffix.lower() in TIFF:
            from napari_unet.io import tiff

            return tiff.read(path)
        return _picture(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be read, {error.strerror or error}.") from error
    # A damaged file raises whatever its decoder stumbles over.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(f"{path}: cannot be read as an image: {reason}.") from error


def _picture(path: Path) -> Pixels:
    """Decode PNG or JPEG; imagecodecs keeps the 16 bits of a colour PNG."""
    import imagecodecs

    is_jpeg = path.suffix.lower() in JPEG
    decode = imagecodecs.jpeg_decode if is_jpeg else imagecodecs.png_decode
    data = decode(path.read_bytes())
    if data.ndim == 2:
        return Pixels(data, "yx")
    # Two samples are grey and alpha, four are RGB and alpha.
    samples = data.shape[-1] - (1 - data.shape[-1] % 2)
    return Pixels(data[..., :samples], "yxs")


def _one_channel(labels: NDArray[Any], image: Image) -> NDArray[Any]:
    channels = np.moveaxis(labels, image.axes.index("c"), 0)
    if not all(np.array_equal(channels[0], other) for other in channels[1:]):
        raise ValueError(
            f"{image.name}: labels have one channel, found {len(channels)} that differ."
        )
    return np.ascontiguousarray(channels[0])


def _integers(labels: NDArray[Any], name: str) -> NDArray[Any]:
    wrong = labels < 0
    if labels.dtype.kind == "f":
        wrong = ~((labels >= 0) & (labels == np.floor(labels)) & (labels < 2**32))
    if wrong.any():
        value = labels[tuple(np.argwhere(wrong)[0])]
        raise ValueError(f"{name}: labels must be integers from 0 on, found {value}.")
    return labels.astype(np.uint32) if labels.dtype.kind == "f" else labels


def _blocks(image: Image) -> Iterator[tuple[str, dict[str, int], NDArray[Any]]]:
    """Yield parts of planes with their axes and where they start."""
    for field in image.fields(2):
        for block in cut(field.shape, _CHECKED, unit=512):
            part = field.read(block.core)
            y, x = (side.start for side in block.core)
            start = {"t": field.t, "z": field.z or 0, "y": y, "x": x}
            # t and z are one long in the block, so that their place can be told.
            axes = "".join(a for a in "tz" if a in image.axes) + "cyx"
            yield axes, start, part.reshape((1,) * (len(axes) - 3) + part.shape)
