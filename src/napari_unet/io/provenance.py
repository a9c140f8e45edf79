"""What a result was made from, written into the result itself.

So it appears with the pixels, moves with the file, and cannot be about another one. In
an ImageJ TIFF it is the entry "Info" (*Image > Show Info* in Fiji), in an OME-TIFF the
description of the image, in an OME-Zarr an attribute. Formats of other programs have no
place for it: their files have a note beside them, which is valid for exactly their
content.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from napari_unet import __version__
from napari_unet.io import ome_sets, remote
from napari_unet.io.atomic import write_text
from napari_unet.io.names import split_number
from napari_unet.io.ome_zarr import stamp
from napari_unet.io.readers import catalogue
from napari_unet.io.system_files import is_of_system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Before the JSON in a text, and the name of the attribute of a zarr group.
_MARK = "napari-unet result"
_KEY = "napari-unet"
# In a note: hash of the result's content.
_CONTENT = "content"
_IJ_METADATA = 50839  # the tag in which ImageJ keeps its Info
# Folders up to this size are hashed completely.
_READ_BYTES = 256 * 2**20
_LISTED = 3  # settings that differ
_USUAL = "as usual"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a result was made from."""

    input: str  # name of the image's file
    stamp: str  # hash of its content, see `content_stamp`
    model: str  # name of the model's file
    model_sha256: str
    settings: Mapping[str, Any]  # JSON values: all else that the result depends on
    program: str = f"napari-unet {__version__}"

    def text(self) -> str:
        """Return it as ASCII text, whatever names it contains."""
        return f"{_MARK}\n{json.dumps(asdict(self), indent=1)}"

    def attributes(self) -> dict[str, Any]:
        """Return it as attributes of a zarr group."""
        return {_KEY: asdict(self)}

    def difference(self, wanted: Provenance) -> str | None:
        """Say how a result differs from the wanted one; None if it is that one.

        The name of the image, the name of the model and the version of the program may
        differ: files are renamed, and programs are updated.
        """
        if self.stamp != wanted.stamp:
            return "of another image, or of this one before it was changed"
        if self.model_sha256 != wanted.model_sha256:
            same_name = self.model == wanted.model
            return f"of {'another model of the same name, ' * same_name}{self.model}"
        changed = [
            # settings that were added later are not written at their default
            f"{name} {self.settings.get(name, _USUAL)} "
            f"instead of {wanted.settings.get(name, _USUAL)}"
            for name in {**self.settings, **wanted.settings}
            if self.settings.get(name) != wanted.settings.get(name)
        ]
        if not changed:
            return None
        return f"of other settings: {', '.join(changed[:_LISTED])}"


def read_provenance(path: Path) -> Provenance | None:
    """Return the provenance of a result; None if it has none, or is damaged."""
    try:
        found = _in_folder(path) if path.is_dir() else _in_tiff(path)
        return None if found is None else Provenance(**found)
    # a foreign or damaged file may raise anything
    except Exception:
        return None


def write_note(note: Path, result: Path, made: Provenance) -> None:
    """Write a note with the provenance of a result whose format cannot hold it."""
    text = json.dumps({_CONTENT: content_stamp(result), **asdict(made)}, indent=1)
    write_text(note, text)


def read_note(note: Path, result: Path) -> Provenance | None:
    """Return the provenance in a note; None if unknown, or if the result changed."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        if found.pop(_CONTENT) != content_stamp(result):
            return None
        return Provenance(**found)
    # a foreign or damaged note may raise anything
    except Exception:
        return None


def check_ours(target: Path, note: Path | None = None) -> None:
    """Refuse to replace anything but a result of this program.

    `note` is the path of its note, if its format cannot hold the provenance.

    Raises
    ------
    FileExistsError
        Something without provenance is there.
    """
    if not (target.exists() or target.is_symlink()):
        return
    if (read_note(note, target) if note else read_provenance(target)) is None:
        raise FileExistsError(
            f"{target}: is there already and does not tell that napari-unet made it, "
            "so it is not replaced; move it away or write to another place."
        )


def content_stamp(path: Path) -> str:
    """Return a short text that is equal only for equal content.

    It is the SHA-256 of a file, or of all files of an OME-Zarr or of an image that has
    several, with their names. For an OME-Zarr above 256 MB reading it would take longer
    than many a prediction: there it is `io.ome_zarr.stamp`. `FILE#2` has its number in
    it.
    """
    file, number = split_number(path)
    mark = "" if number is None else f"#{number}"
    if remote.is_remote(file):
        return remote.stamp(file) + mark
    if file.is_dir():
        return _folder_stamp(file) + mark
    if others := ome_sets.beside(file) or catalogue.beside(file):
        return _files_stamp([file, *others], file.parent) + mark
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}{mark}"


def _folder_stamp(folder: Path) -> str:
    files, total = [], 0
    for file in (p for p in folder.rglob("*") if p.is_file()):
        if any(map(is_of_system, file.relative_to(folder).parts)):
            continue
        files.append(file)
        total += file.stat().st_size
        if total > _READ_BYTES:  # of a large one only so many are asked for their size
            return f"folders and sample:{stamp(folder)}"
    return _files_stamp(sorted(files), folder)


def _files_stamp(files: Sequence[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
        name = file.relative_to(folder).as_posix()
        digest.update(f"{name!r} {content}\n".encode())
    return f"sha256 of files:{digest.hexdigest()}"


def _in_folder(path: Path) -> dict[str, Any] | None:
    group = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    found: dict[str, Any] | None = group["attributes"].get(_KEY)
    return found


def _in_tiff(path: Path) -> dict[str, Any] | None:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if (tag := page.tags.get(_IJ_METADATA)) is not None:
            return _in_text(tag.value.get("Info", ""))
        if not page.is_ome:
            return None
        xml = ElementTree.fromstring(page.description)
        return _in_text(xml.findtext("{*}Image/{*}Description") or "")


def _in_text(text: str) -> dict[str, Any] | None:
    """Find it in a text that other programs may have extended."""
    _, mark, rest = text.partition(_MARK)
    if not mark:
        return None
    found: dict[str, Any] = json.JSONDecoder().raw_decode(rest.lstrip())[0]
    return found
