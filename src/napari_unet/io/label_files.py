"""Reading labels: label images, and objects in the formats of other programs."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from glob import glob, has_magic
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from napari_unet.core.annotation.pairing import check_sharp
from napari_unet.core.cells.objects import Objects
from napari_unet.core.images.image import Image
from napari_unet.core.text import counted, listed
from napari_unet.io.images import SUFFIXES, TIFF, find, natural, read_labels
from napari_unet.io.names import glob_pattern, split_number
from napari_unet.io.objects.catalogue import FORMATS, ObjectFormat
from napari_unet.io.objects.catalogue import format_of as format_by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

# In a folder with other files only the endings that we write mean objects.
_WRITTEN = [one.suffixes[0] for one in FORMATS.values()]
_OWN = tuple(suffix.lower() for suffix in _WRITTEN)
# with a word for the format before the suffix
_WORDED = tuple(
    suffix.lower()
    for one in FORMATS.values()
    for suffix in one.suffixes
    if suffix.startswith("_") and "." in suffix
)
# only files: the masks in a folder of the Cell Tracking Challenge are images
_SHOWN = ", ".join(s for s in _WRITTEN if "." in s and not s.endswith(SUFFIXES))
# Suffixes of image names in other programs' files, also of formats that are not read.
_PICTURES = (".ome.tif", ".ome.tiff", ".ome.zarr", *SUFFIXES, ".webp")


def format_of(path: str | Path) -> ObjectFormat | None:
    """Return the format of objects in a file or folder, None if it has none.

    It is told by the name, but for a TIFF that has an image and ROIs of ImageJ: these
    are how the U-Net plugin of Fiji keeps the annotation of an image.
    """
    file, number = split_number(path)
    if file.name.lower().endswith(SUFFIXES):
        is_drawn_on = number is None and _is_drawn_on(file)
        return FORMATS["rois"] if is_drawn_on else None
    found = format_by_name(file)
    return found if found is None or not file.is_dir() or _is_movie(file) else None


def is_objects(path: str | Path) -> bool:
    """Whether a file, or a folder of masks, has objects."""
    return format_of(path) is not None


def needs_image(path: str | Path) -> bool:
    """Whether it has outlines, which do not tell the size of the image they are of."""
    found = format_of(path)
    return found is not None and not (found.sized or _is_tiff(Path(path)))


def name_within(path: str | Path) -> str | None:
    """Return the name of the image of objects, if it differs from the file's.

    In a file of several images it is told; the folder of a movie has more in its name.
    """
    file, number = split_number(path)
    found = format_of(file)
    if found is None:
        return None
    if number is not None and len(names := found.images(file)) >= number > 0:
        # on whichever system the file was written
        last = PureWindowsPath(names[number - 1]).name
        ends = [s for s in _PICTURES if last.lower().endswith(s)]
        return last[: len(last) - max(map(len, ends), default=0)]
    if file.is_dir():
        whole = file.as_posix()  # some endings include the folder
        ends = [s for s in found.suffixes if whole.lower().endswith(s.lower())]
        return Path(whole[: -max(map(len, ends))]).name
    return None


def stem_of_format(path: str | Path) -> str | None:
    """Return the name of a file without the words that its format adds to an image's.

    So "a" of a_RoiSet.zip; None if it has none.
    """
    name = split_number(path)[0].name
    ends = [end for end in _WORDED if name.lower().endswith(end)]
    return name[: -max(map(len, ends))] or None if ends else None


def find_labels(paths: Sequence[str | Path], *, movies: bool = False) -> list[Path]:
    """Expand files, folders and patterns as `images.find`, with files of objects.

    In folders these have the end of name that they are written with, such as .geojson
    and _RoiSet.zip; of a file of several images each is named (``FILE#2``). A folder of
    the Cell Tracking Challenge in a folder is one of labels; one that is given itself
    is, too, with `movies`, else it stands for its masks. Errors are those of
    `images.find`.
    """
    found: dict[Path, None] = {}
    for path in paths:
        objects = _objects(path, movies=movies)
        found.update(dict.fromkeys(objects))
        if objects == [Path(path)] or (objects and split_number(path)[0].is_file()):
            continue
        try:
            found.update(dict.fromkeys(find([path])))
        except FileNotFoundError as error:
            sentence = str(error)
            if objects:
                continue
            if Path(path).is_dir() and is_objects(path):
                found[Path(path)] = None
                continue
            if not sentence.endswith(")."):
                raise
            # it lists the formats of images
            sentence = f"{sentence.removesuffix(').')}; {_SHOWN})."
            raise FileNotFoundError(sentence) from error
    return list(found)


def without_classes(objects: Objects) -> Image:
    """Return the labels of objects; their notes say what is not used."""
    if objects.unknown is not None:
        note = "where nothing is known is taken for background here."
        labels = replace(objects.labels, notes=(*objects.labels.notes, note))
        objects = replace(objects, labels=labels)
    if len(objects.classes) < 2:
        return objects.labels
    names = listed([kind.name for kind in objects.classes])
    note = f"its classes ({names}) are not used: all objects are of one."
    return replace(objects.labels, notes=(*objects.labels.notes, note))


def read_label_objects(
    path: str | Path, axes: str | None = None, like: Image | None = None
) -> Objects:
    """Read labels: a label image, or the objects of a file with their classes.

    An OME-Zarr may have classes, too. `like` is the image that they are of: outlines do
    not tell its size. `axes` are of label images without classes; other arguments, and
    errors, are as of `images.read_labels` and of `objects.catalogue.ObjectFormat.read`.
    """
    from napari_unet.io.objects.ngff_labels import has_classes

    found = FORMATS["ome-zarr"] if has_classes(Path(path)) else format_of(path)
    if found is not None and not _is_tiff(Path(path)):
        return found.read(path, like)
    objects = found.read(path) if found else Objects(_pixels(path, axes))
    if axes or like is None:
        return objects
    return replace(objects, labels=_as_of(objects.labels, like))


def _pixels(path: str | Path, axes: str | None) -> Image:
    """Read a label image; a note says that it has ROIs, too."""
    from napari_unet.io import tiff  # slow to import

    labels, file = read_labels(path, axes), split_number(path)[0]
    count = len(tiff.rois(file)) if _is_tiff(file) else 0
    if not count:
        return labels
    rois = counted(
        count, "ROI that ImageJ keeps in it is", "ROIs that ImageJ keeps in it are"
    )
    note = f"its pixels are the labels; {rois} not used."
    return replace(labels, notes=(*labels.notes, note))


def _is_tiff(file: Path) -> bool:
    return file.name.lower().endswith(TIFF) and file.is_file()


def _is_drawn_on(file: Path) -> bool:
    """Whether a file is a TIFF with ROIs on an image, and not on labels."""
    if not _is_tiff(file):
        return False
    state = file.stat()
    return _has_image_below(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _has_image_below(file: Path, size: int, changed: int) -> bool:
    """Whether a TIFF has ROIs, and pixels that cannot be labels."""
    from napari_unet.io import tiff  # slow to import

    if not tiff.rois(file):
        return False
    try:
        check_sharp(read_labels(file))
    except ValueError:
        return True
    return False


def _as_of(labels: Image, like: Image) -> Image:
    """Take slices for time points, or the reverse, if the image has the others.

    Many files do not say whether a stack is of slices or of times; one that has both
    does.
    """
    sizes, wanted = ([one.size(axis) for axis in "tz"] for one in (labels, like))
    if sizes == wanted or sizes[::-1] != wanted or min(sizes) > 1:
        return labels
    axes = labels.axes.translate(str.maketrans("tz", "zt"))
    was, now = ("slices", "times") if "z" in labels.axes else ("times", "slices")
    notes = (*labels.notes, f"its {was} are taken for {now}, as its image has them.")
    return Image(labels.data, axes, labels.yx_um, labels.name, notes)


def _is_movie(folder: Path) -> bool:
    """Whether a folder, or a folder in it, has masks of time points."""
    from napari_unet.io.objects.ctc import has_masks

    return has_masks(folder)


def _objects(given: str | Path, *, movies: bool) -> list[Path]:
    """Return the files of objects that a path, folder or pattern stands for."""
    path = Path(given)
    if split_number(path)[0].is_file():
        return _each_image(path) if is_objects(path) else []
    if path.is_dir():
        if movies and is_objects(path):
            return [path]
        named = (p for p in path.iterdir() if p.name.lower().endswith(_OWN))
    elif has_magic(str(given)):
        named = (Path(p) for p in glob(glob_pattern(given), recursive=True))
    else:
        return []
    found = sorted(
        (p for p in named if is_objects(p) and not p.name.startswith(".")), key=natural
    )
    return [image for file in found for image in _each_image(file)]


def _each_image(path: Path) -> list[Path]:
    """Name the images in a file of objects, if it is of several and none is named."""
    file, number = split_number(path)
    found = format_of(file)
    if found is None or number is not None:
        return [path]
    try:
        names = found.images(file)
    except (ValueError, OSError):
        return [path]  # its problem is reported when it is read
    if len(names) < 2:
        return [path]
    return [path.with_name(f"{path.name}#{k}") for k in range(1, len(names) + 1)]
