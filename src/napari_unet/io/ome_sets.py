"""OME-TIFF images whose planes are spread over several files.

Every file of a set describes all of them, so each would be read as the whole image.
Some hold only a reference to the file that does:
https://docs.openmicroscopy.org/ome-model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_unet.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.tf2", ".ome.tf8", ".ome.btf")


def first_of_each_set(paths: Sequence[Path]) -> list[Path]:
    """Keep only the first file of each set, in the order of its description.

    If that is not among the paths, the first that is.
    """
    chosen: dict[object, Path] = {}
    sets: dict[Path, tuple[str, ...]] = {}  # each file of a large set names them all
    for path in paths:
        names = sets[path] if path in sets else _names(path)
        sets |= {path.with_name(Path(name).name or "-"): names for name in names}
        key = (path.parent, names) if len(names) > 1 else path
        if key not in chosen or (names and path.name == names[0]):
            chosen[key] = path
    return list(chosen.values())


def file_names(root: ElementTree.Element) -> tuple[str, ...]:
    """Return the names of the files in a description, in its order."""
    if (elsewhere := root.find("{*}BinaryOnly")) is not None:
        return (elsewhere.get("MetadataFile", ""),)
    uuids = root.iterfind(".//{*}TiffData/{*}UUID")
    return tuple(dict.fromkeys(u.get("FileName", "") for u in uuids))


def check_whole(path: Path, xml: str) -> tuple[str, ...]:
    """Refuse a set of which a file is missing: its planes would be read as black.

    `xml` is the description in one of its files. Returns a note on the set, a sentence;
    empty for a single file.

    Raises
    ------
    xml.etree.ElementTree.ParseError
        The description is not XML.
    ValueError
        A file is not beside this one, or what this one refers to cannot be read.
    """
    root = ElementTree.fromstring(xml)
    names = file_names(root)
    if root.find("{*}BinaryOnly") is not None:
        raise ValueError(
            f"it is a part of the image that {printable(names[0])} describes; "
            + (
                "name that file"
                if names[0].lower().endswith(_SUFFIXES)
                else "descriptions in files of their own are not read, save it as one "
                "OME-TIFF"
            )
        )
    if len(names) < 2:
        return ()
    # The file itself may have been renamed.
    own = [u for u in root.iterfind(".//{*}UUID") if u.text == root.get("UUID")]
    there = {path.name, *(u.get("FileName") for u in own)}
    # No path from the inside of a file is followed.
    there |= {n for n in names if _is_name(n) and (path.parent / n).is_file()}
    notes = []
    absent = 0
    images = [file_names(image) for image in root.iterfind("{*}Image")]
    for files in images:
        missing = [name for name in files if name not in there]
        if missing == list(files) and all(map(_is_name, files)):
            absent += len(files) > 0  # such as another position, left elsewhere
        elif missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ValueError(
                f"it is one of {len(files)} files of an image, and "
                f"{printable(missing[0])}{more} {'are' if more else 'is'} not beside it"
            )
        elif len(files) > 1:
            note = f"it is one of {len(files)} files of one image: all are read."
            notes += [note] if note not in notes else []
    if absent:
        notes.append(
            f"it tells of {len(images)} images, of which {absent} "
            f"{'are in files that are' if absent > 1 else 'is in a file that is'} not "
            "beside it, and left out."
        )
    return tuple(notes)


def beside(path: Path) -> list[Path]:
    """Return the other files of a set, as far as they are there."""
    found = (path.with_name(name) for name in _names(path) if _is_name(name))
    return [other for other in found if other != path and other.is_file()]


def _is_name(name: str) -> bool:
    return bool(name) and Path(name).name == name


def _names(path: Path) -> tuple[str, ...]:
    if not path.name.lower().endswith(_SUFFIXES):
        return ()
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            xml = file.pages.first.description
        root = ElementTree.fromstring(xml)
        if (elsewhere := root.find("{*}BinaryOnly")) is not None:
            # A reference: the set is that of the file that it names.
            master = path.with_name(Path(elsewhere.get("MetadataFile", "")).name)
            return _names(master) if master != path else ()
        return file_names(root)
    # A problem of the file is reported when it is read.
    except Exception:
        return ()
