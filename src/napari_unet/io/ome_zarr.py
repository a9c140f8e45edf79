"""Reading and writing OME-Zarr (writes NGFF 0.5 on zarr 3, reads 0.1 to 0.5).

Specification: https://ngff.openmicroscopy.org/0.5. Images are read at full resolution
and block by block; what is written has one resolution level.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice, product
from math import prod
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.images.image import AXES, Image
from napari_unet.core.text import counted, printable, reason
from napari_unet.io.atomic import atomic, flush_file
from napari_unet.io.pixels import Pixels, SeveralImagesError
from napari_unet.io.remote import is_remote, zarr_store
from napari_unet.io.system_files import is_of_system
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

_MARKERS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")

# About a megabyte of float32: a plane opens fast, and a volume has not too many files.
CHUNK = 512

# Number of files of an image, about, that are checked for size and time.
_SAMPLED = 1000

# Most chunks that are looked for one by one: a second or two.
_COUNTED = 10**6

_NAMED = 4  # images of a folder that a sentence lists

_TYPES = {"time": "t", "channel": "c"}


def is_zarr(path: Path) -> bool:
    """Whether a folder is one zarr image rather than a folder of images."""
    return path.is_dir() and (path.suffix == ".zarr" or is_marked(path))


def is_marked(path: Path) -> bool:
    """Whether a folder has the metadata of a zarr, whatever its name."""
    return any((path / marker).exists() for marker in _MARKERS)


def read(path: Path, number: int | None = None) -> Pixels:
    """Open an OME-Zarr image, or a bare zarr array, without reading its pixels.

    The number, from 1, is needed where there are several images in the folder.

    Raises
    ------
    ValueError
        The folder holds no image, no image of the number, or several and none is named.
    """
    import zarr

    try:
        store = zarr_store(path) if is_remote(path) else str(path)
        node = zarr.open(store=store, mode="r")
    except FileNotFoundError as error:  # zarr's own message is about stores
        raise ValueError("it holds no OME-Zarr image") from error
    if isinstance(node, zarr.Array):
        if number not in {None, 1}:
            raise SeveralImagesError(f"there is no image #{number}, it is one array")
        return Pixels(node, _bare_axes(node))
    group, scales = _chosen(path, node, number)
    if not scales.get("datasets"):
        raise ValueError("its description names no array of pixels")
    try:
        level = scales["datasets"][0]
        array = _member(group, level["path"])
        if not isinstance(array, zarr.Array):
            which = printable(level["path"])
            raise ValueError(f"it tells of {which}, which is no array")
        # NGFF 0.1 and 0.2 had no axes: they were always these five.
        described = scales.get("axes") or list("tczyx"[-array.ndim :])
        axes = [_letter(axis) for axis in described]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"its description is damaged ({reason(error)})") from error
    return Pixels(array, "".join(axes), _sizes(axes, described, level, scales))


def several(path: Path) -> list[str]:
    """Name the images of a folder that holds several; empty for one image.

    The names are what follows the folder's own: ``/A/1/0`` for a field of a plate,
    ``#2`` where images share a folder.
    """
    import zarr

    node = zarr.open(store=str(path), mode="r")
    if isinstance(node, zarr.Array):
        return []
    names = list(_inside(node))
    return names if len(names) > 1 or "" not in names else []


@contextmanager
def create_zarr(
    path: str | Path,
    shape: Sequence[int],
    axes: str,
    dtype: DTypeLike,
    spacing_um: Sequence[float] | None = None,
    chunk: int = CHUNK,
    attributes: Mapping[str, Any] | None = None,
    shard: Sequence[int] | None = None,
) -> Iterator[Any]:
    """Yield an empty OME-Zarr image to be filled block by block.

    The image appears under its name when the block ends, complete; it does not if the
    block raises. An OME-Zarr image of that name is replaced.

    Parameters
    ----------
    path : str or Path
        Folder to create, usually ending in .zarr.
    shape : sequence of int
        Length of each axis in pixels.
    axes : str
        Letters out of t, c, z, y, x in this order, as NGFF wants them.
    spacing_um : sequence of float, optional
        Pixel size along the spatial axes ([z,] y, x) in micrometres.
    chunk : int
        Side of a stored block, a part of a plane, in pixels.
    attributes : mapping of str to JSON values, optional
        Written beside those of OME-Zarr.
    shard : sequence of int, optional
        Pixels along each axis that share a file; made as large as whole blocks. It
        should be written at once: writing a part of it rewrites all of it.

    Yields
    ------
    zarr.Array
        Filled with zeros.

    Raises
    ------
    ValueError
        The axes are not in NGFF's order or do not fit the shape or the pixel size.
    FileExistsError
        `path` is there and is no zarr image.
    OSError
        It cannot be written.
    """
    import zarr

    path = Path(path)
    spacing = None if spacing_um is None else tuple(spacing_um)
    # Checks axes, shape and pixel size without allocating pixels.
    Image(np.broadcast_to(np.uint8(0), tuple(shape)), axes, spacing, path.name)
    if axes != "".join(a for a in AXES if a in axes):
        raise ValueError(
            f"{path}: OME-Zarr has its axes in the order tczyx, not {axes}."
        )
    check_replaceable(path)
    with atomic(path) as temporary:
        image = describe(axes, spacing, path.name.split(".")[0])
        described = {"version": "0.5", "multiscales": [image]}
        group = zarr.create_group(
            str(temporary),
            zarr_format=3,
            attributes={"ome": described, **(attributes or {})},
        )
        chunks = tuple(
            min(n, chunk if a in "yx" else 1) for n, a in zip(shape, axes, strict=True)
        )
        shards = shard and tuple(
            -(-n // c) * c for n, c in zip(shard, chunks, strict=True)
        )
        yield group.create_array(
            "0",
            shape=tuple(shape),
            dtype=np.dtype(dtype),
            chunks=chunks,
            shards=shards,
            dimension_names=list(axes),  # NGFF 0.5: the same names as its axes
            fill_value=0,
        )


def check_replaceable(path: Path) -> None:
    """Refuse to replace anything but a zarr image.

    Raises
    ------
    FileExistsError
        `path` is there and is no zarr image, but perhaps named like one by chance.
    """
    if path.exists() and not any((path / marker).exists() for marker in _MARKERS):
        raise FileExistsError(
            f"{path}: exists and is no OME-Zarr image, so it is not replaced."
        )


def open_written(path: Path, *, zeros: bool = False) -> Any:
    """Open the array of an image that `create_zarr` made, to write more.

    With `zeros` blocks of zeros are stored too: then one that is missing was not
    written.
    """
    import zarr

    with zarr.config.set({"array.write_empty_chunks": zeros}):
        return zarr.open_array(str(path / "0"), mode="r+")


def flush_box(path: Path, array: Any, index: Sequence[int | slice]) -> None:
    """Flush what was written to a box of such an array to the disk.

    Each slice of the box has both ends or neither.
    """
    for file in files_of_box(path, array, index):
        if file.exists():  # chunks of zeros may not be stored
            flush_file(file)


def files_of_box(
    path: Path, array: Any, index: Sequence[int | slice]
) -> Iterator[Path]:
    """Yield the files in which a box of such an array is stored, or would be."""
    ranges = []
    stored = array.shards or array.chunks
    for i, n, chunk in zip(index, array.shape, stored, strict=True):
        start, stop, _ = (slice(i, i + 1) if isinstance(i, int) else i).indices(n)
        ranges.append(range(start // chunk, -(-stop // chunk)))
    for number in product(*ranges):
        yield path / "0" / array.metadata.encode_chunk_key(number)


def note_of_missing(path: Path, number: int | None = None) -> str:
    """Say how many chunks of an image are not stored; empty if all are.

    Zarr reads them as if all of their pixels had one value, whether that was left out
    or lost. No pixel is read, and where there are too many to look for, nothing is
    said. Arguments and errors are those of `read`.
    """
    import zarr

    array = read(path, number).data
    if not isinstance(array, zarr.Array):
        return ""
    stored = array.shards or array.chunks
    counts = [-(-n // side) for n, side in zip(array.shape, stored, strict=True)]
    if (total := prod(counts)) > _COUNTED:
        return ""
    folder = path / array.path
    there = {
        f"{inside.relative_to(folder).as_posix()}/{name}".removeprefix("./")
        for inside, names in _listed(folder)
        for name in names
    }
    keys = map(array.metadata.encode_chunk_key, product(*map(range, counts)))
    missing = sum(key not in there for key in keys)
    if not missing:
        return ""
    what = counted(total, "shard" if array.shards else "chunk")
    is_not = "is not" if missing == 1 else "are not"
    return (
        f"{missing} of its {what} {is_not} stored and read as {array.fill_value or 0}, "
        "by the rule of Zarr; if the image is not empty there, it is not complete."
    )


def stamp(path: Path) -> str:
    """Return a short text that changes whenever a file of an image does.

    Reading the pixels of a large image takes minutes, and on a network disk even
    reading the size of each file does. So it is made of the content of the metadata, of
    each folder's number of files and time, which changes whenever a file is added,
    removed or replaced, and of name, size and time of some files. Overwriting a file in
    place, as no library does, is only noticed for these.

    The time of a folder without chunks says nothing: metadata are read, and where
    people look, systems leave files of their own.
    """
    digest, files = sha256(), []
    for folder, names in _listed(path):
        inside = folder.relative_to(path).as_posix()
        has_chunks = not set(names).issubset(_MARKERS)
        changed = folder.stat().st_mtime_ns if has_chunks else 0
        digest.update(f"{inside} {len(names)} {changed}\n".encode())
        for name in names:
            if name in _MARKERS:
                digest.update((folder / name).read_bytes())
        step = max(len(names) // _SAMPLED, 1)
        files += [folder / name for name in (*names[::step], *names[-1:])]
    for file in files[:: max(len(files) // _SAMPLED, 1)]:
        stat = file.stat()
        name = file.relative_to(path).as_posix()
        digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _listed(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and those in it, each with the names of its files in order.

    Those that a system left are none of its files.
    """
    with os.scandir(folder) as entries:
        both = sorted((e.name, e.is_dir()) for e in entries if not is_of_system(e.name))
    yield folder, [name for name, is_folder in both if not is_folder]
    for name, is_folder in both:
        if is_folder:
            yield from _listed(folder / name)


def metadata_of(group: Any) -> dict[str, Any]:
    """Return the OME metadata of a zarr group, empty if there is none."""
    attributes = dict(group.attrs)
    found = attributes.get("ome", attributes)  # NGFF 0.5 moved it into a field
    return found if isinstance(found, dict) else {}


def _member(group: Any, name: str) -> Any:
    if name not in group:
        raise ValueError(f"it tells of {printable(name)}, which is not in it")
    return group[name]


def _inside(group: Any) -> Iterator[str]:
    """Yield what to add to a group's name for each image in it; "" for itself."""
    metadata = metadata_of(group)
    if scales := _scales(metadata):
        yield from [f"#{k}" for k in range(1, len(scales) + 1)]
        return
    if "plate" in metadata:
        for well in metadata["plate"]["wells"]:
            # a missing well is reported when it is read, after the others
            inside = _inside(group[well["path"]]) if well["path"] in group else [""]
            for name in inside:
                yield f"/{well['path']}{name}"
    elif "well" in metadata:
        yield from [f"/{image['path']}" for image in metadata["well"]["images"]]
    elif "bioformats2raw.layout" in metadata:
        # A converter's folder of one or more images, numbered from 0.
        listed = metadata_of(group["OME"]).get("series") if "OME" in group else None
        numbered = sorted((n for n in group.group_keys() if n.isdecimal()), key=int)
        yield from [f"/{name}" for name in listed or numbered]
    else:
        # Any other group of arrays or images.
        members = sorted(group.members(), key=lambda one: one[0])
        images = [
            name
            for name, member in members
            if hasattr(member, "shape") or _scales(metadata_of(member))
        ]
        yield from [f"/{name}" for name in images]
        # labels may be all there is
        if not images and "labels" in dict(members):
            yield from [f"/labels{name}" for name in _inside(group["labels"])]


def _scales(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the images of a description, as far as it can be understood."""
    found = metadata.get("multiscales")
    return [s for s in found if isinstance(s, dict)] if isinstance(found, list) else []


def _chosen(
    path: Path, group: Any, number: int | None
) -> tuple[Any, Mapping[str, Any]]:
    """Return the group of the image, and its metadata."""
    metadata = metadata_of(group)
    scales = _scales(metadata)
    if len(scales) == 1 and number in {None, 1}:
        return group, scales[0]
    if number is not None and 1 <= number <= len(scales):
        return group, scales[number - 1]
    first = list(islice(_inside(group), _NAMED + 1))
    only = len(first) == 1 and "bioformats2raw.layout" in metadata and not scales
    if number is not None:
        names = list(_inside(group))
        if not scales and 1 <= number <= len(names):
            return _chosen(path, _member(group, names[number - 1].strip("/")), None)
        raise SeveralImagesError(
            f"there is no image #{number} in it, it holds {len(names)}"
        )
    if only:
        return _chosen(path, _member(group, first[0].strip("/")), None)
    if not first:
        raise ValueError("it holds no OME-Zarr image")
    what = _count(group, metadata, scales)
    around = [folder for folder in path.parents if is_zarr(folder)]
    name = printable(path.relative_to(around[-1].parent) if around else path.name)
    listed = ", ".join(name + printable(one) for one in first[:_NAMED])
    more = ", …" if len(first) > _NAMED else ""
    name_it = "name that" if len(first) == 1 else f"name one, or all with {name}#*"
    raise SeveralImagesError(f"it holds {what}: {listed}{more}; {name_it}")


def _count(group: Any, metadata: Mapping[str, Any], scales: Sequence[Any]) -> str:
    if "plate" in metadata and not scales:
        wells = len(metadata["plate"]["wells"])  # not the fields: each well is a file
        return f"a plate with {counted(wells, 'well')}"
    return counted(len(list(_inside(group))), "image")


def _sizes(
    axes: Sequence[str],
    described: Sequence[Any],
    level: Mapping[str, Any],
    scales: Mapping[str, Any],
) -> dict[str, float]:
    """Return the pixel sizes in micrometres; implausible scales are unknown."""
    try:
        scale = _scale(level, len(axes)) * _scale(scales, len(axes))
    except (TypeError, ValueError, KeyError, AttributeError):
        return {}
    sizes = {}
    for letter, axis, length in zip(axes, described, scale, strict=True):
        unit = axis.get("unit") if isinstance(axis, dict) else None
        # Without a unit a scale is a ratio or a default of one, not a length.
        size = micrometres(float(length), str(unit)) if unit else None
        if letter in "zyx" and size is not None:
            sizes[letter] = size
    return sizes


def _bare_axes(array: Any) -> str:
    names = getattr(array.metadata, "dimension_names", None)
    if names is not None and all(names):
        return "".join(_letter(name) for name in names)
    return Image.from_array(array).axes


def _letter(axis: str | Mapping[str, str]) -> str:
    """Return the axis letter of a name (NGFF 0.3) or a record (0.4 on)."""
    if isinstance(axis, str):
        first = axis[:1].lower()
        if axis.lower() in tuple(AXES):
            return first
        # of a name that is none of ours, so as to tell the axis
        return first if first in set(ascii_lowercase) - set(f"{AXES}s") else "?"
    return _TYPES.get(axis.get("type", ""), _letter(axis["name"]))


def _scale(level: Mapping[str, Any], ndim: int) -> NDArray[np.float64]:
    """Return the product of the scales of a level, or of all; 1 where missing."""
    product = np.ones(ndim)
    for step in level.get("coordinateTransformations", ()):
        if step["type"] == "scale" and "scale" in step:
            scale = np.asarray(step["scale"], float)
            if scale.shape != (ndim,):
                raise ValueError(f"a scale of {ndim} axes, found {step['scale']}")
            product = product * scale
    return product


def describe(
    axes: str, spacing_um: Sequence[float] | None, name: str, levels: int = 1
) -> dict[str, Any]:
    """Describe an image as NGFF 0.4 and 0.5 do, an entry of their `multiscales`.

    Each level, named from 0 on, has every second pixel along y and x of the one before.
    """
    types = {"t": "time", "c": "channel"}
    described = [{"name": a, "type": types.get(a, "space")} for a in axes]
    scale = [1.0] * len(axes)
    # Sizes of y and x alone leave z without a unit: then its scale of 1 is no length.
    spatial = [i for i, axis in enumerate(axes) if axis in "zyx"]
    for at, size in zip(spatial[::-1], (spacing_um or ())[::-1], strict=False):
        described[at]["unit"] = "micrometer"
        scale[at] = float(size)
    datasets = []
    for level in range(levels):
        steps = [
            size * 2.0**level if a in "yx" else size
            for a, size in zip(axes, scale, strict=True)
        ]
        transformation = {"type": "scale", "scale": steps}
        datasets.append(
            {"path": str(level), "coordinateTransformations": [transformation]}
        )
    return {"name": name, "axes": described, "datasets": datasets}
