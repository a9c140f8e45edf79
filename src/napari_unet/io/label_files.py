"""Labels in: label images, and objects in the formats of other programs."""

from __future__ import annotations

from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.text import listed
from napari_unet.io.images import SUFFIXES, find, natural, read_labels
from napari_unet.io.names import glob_pattern, split_number
from napari_unet.io.objects.catalogue import FORMATS, format_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.images.image import Image

# In a folder with other files only what is written under is a sign of objects.
_WRITTEN = [one.suffixes[0] for one in FORMATS.values()]
_OWN = tuple(suffix.lower() for suffix in _WRITTEN)
# files: the masks in a folder of the Cell Tracking Challenge are images
_SHOWN = ", ".join(s for s in _WRITTEN if "." in s and not s.endswith(SUFFIXES))


def is_objects(path: str | Path) -> bool:
    """Whether a file is one of objects, by its name, and no image."""
    file = split_number(path)[0]
    found = format_of(file)
    is_image = file.name.lower().endswith(SUFFIXES)
    return found is not None and not is_image and not file.is_dir()


def find_labels(paths: Sequence[str | Path]) -> list[Path]:
    """Expand files, folders and patterns as `images.find`, with files of objects.

    In folders these have the end of name that they are written with, such as .geojson
    and _RoiSet.zip. Errors are those of `images.find`.
    """
    found: dict[Path, None] = {}
    for path in paths:
        objects = _objects(path)
        found.update(dict.fromkeys(objects))
        if objects == [Path(path)]:
            continue
        try:
            found.update(dict.fromkeys(find([path])))
        except FileNotFoundError as error:
            sentence = str(error)
            if objects:
                continue
            if not sentence.endswith(")."):
                raise
            # it lists the formats of images
            sentence = f"{sentence.removesuffix(').')}; {_SHOWN})."
            raise FileNotFoundError(sentence) from error
    return list(found)


def read_label_file(
    path: str | Path, axes: str | None = None, like: Image | None = None
) -> Image:
    """Read labels: a label image, or the objects of a file as one.

    `like` is the image that they are of: outlines do not tell its size. `axes` are of
    label images; other arguments, and errors, are as of `images.read_labels` and of
    `objects.catalogue.ObjectFormat.read`.
    """
    found = format_of(path) if is_objects(path) else None
    if found is None:
        return read_labels(path, axes)
    objects = found.read(path, like)
    if objects.unknown is not None:
        note = "where nothing is known is taken for background here."
        labels = replace(objects.labels, notes=(*objects.labels.notes, note))
        objects = replace(objects, labels=labels)
    if len(objects.classes) < 2:
        return objects.labels
    names = listed([kind.name for kind in objects.classes])
    note = f"its classes ({names}) are not used: all objects are of one."
    return replace(objects.labels, notes=(*objects.labels.notes, note))


def _objects(given: str | Path) -> list[Path]:
    """Return the files of objects that a path, folder or pattern stands for."""
    path = Path(given)
    if split_number(path)[0].is_file():
        return [path] if is_objects(path) else []
    if path.is_dir():
        named = (p for p in path.iterdir() if p.name.lower().endswith(_OWN))
    elif has_magic(str(given)):
        named = (Path(p) for p in glob(glob_pattern(given), recursive=True))
    else:
        return []
    return sorted(
        (p for p in named if is_objects(p) and not p.name.startswith(".")), key=natural
    )
