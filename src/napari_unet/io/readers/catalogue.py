"""Which reader a file is for, and what to install where its library is missing.

A reader is a module beside this one, named after its format, with a function ``images``
that lists the images in a file. It and its library are imported for the first file of
its kind.
"""

from __future__ import annotations

import logging
import platform
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_unet.core.text import pip_install
from napari_unet.io.pixels import chosen
from napari_unet.io.system_files import is_of_system

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.io.pixels import Pixels
    from napari_unet.io.readers.file_image import FileImage

_SILENT = logging.NullHandler()
_INSTALL = pip_install("readers")


@dataclass(frozen=True, slots=True)
class Reader:
    """A format that needs a library."""

    name: str  # of the module beside this one, and for people
    suffixes: tuple[str, ...]
    package: str  # as pip calls it
    imported: str = ""  # as Python does, if that is another name
    # first version with the present interface, and its requirements
    year: int = 0
    python: tuple[int, int] = (3, 11)

    def problem(self) -> str:
        """Why it cannot read, and what to do; empty if it can."""
        if sys.version_info < self.python:
            return (
                f"{self.suffixes[0]} needs the package {self.package}, which needs "
                f"Python {'.'.join(map(str, self.python))} or newer, "
                f"found {platform.python_version()}; bioio with bioio-czi reads it, too"
            )
        if find_spec(self.imported or self.package) is None:
            return f"{self.suffixes[0]} needs the package {self.package}: {_INSTALL}"
        if not self.year or int(version(self.package).split(".")[0]) >= self.year:
            return ""
        return (
            f"{self.suffixes[0]} needs {self.package} of {self.year} or newer, "
            f"found {version(self.package)}: {_INSTALL}"
        )


READERS = (
    Reader("nd2", (".nd2",), "nd2"),
    Reader("czi", (".czi",), "czifile", year=2026, python=(3, 12)),
    Reader("lif", (".lif", ".lof"), "liffile"),
    Reader("oif", (".oif", ".oib"), "oiffile"),
    Reader("ims", (".ims",), "h5py"),
    Reader("mrc", (".mrc", ".mrcs", ".rec", ".map"), "mrcfile"),
    Reader("nrrd", (".nrrd", ".nhdr"), "pynrrd", imported="nrrd"),
    Reader("nifti", (".nii", ".nii.gz"), "nibabel"),
    Reader("hdf5", (".h5", ".hdf5"), "h5py"),
)

SUFFIXES = tuple(suffix for reader in READERS for suffix in reader.suffixes)


def has_bioio() -> bool:
    """Whether bioio is installed, which reads many more formats."""
    return find_spec("bioio") is not None


def count(path: Path) -> int:
    """Return the number of images in a file."""
    return len(_images(path))


def read(path: Path, number: int | None = None) -> Pixels:
    """Open an image of a file; its number, from 1, is needed where there are several.

    Raises
    ------
    ImportError
        The library that reads it is missing, or too old.
    ValueError
        There is no image of this number, there are several and none is named, or it is
        damaged.
    """
    images = _images(path)
    listed = [(image.title, image.shape, image.dtype) for image in images]
    pixels = images[chosen(listed, number, path.name)].pixels()
    if len(pixels.axes) != (ndim := len(pixels.data.shape)):
        raise ValueError(f"it tells of the axes {pixels.axes}, its pixels have {ndim}")
    return pixels


def beside(path: Path) -> list[Path]:
    """Return the other existing files with the pixels of a file.

    They are those of the folder of an OIF, and the data file of a detached NRRD.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".oif":
            folder = path.with_name(f"{path.name}.files")
            files = (file for file in folder.iterdir() if file.is_file())
            return sorted(file for file in files if not is_of_system(file.name))
        if suffix == ".nhdr":
            from napari_unet.io.readers.nrrd import data_file

            data = data_file(path)
            return [data] if data is not None and data.is_file() else []
    # A problem of the file is reported when it is read.
    except Exception:
        return []
    return []


def _images(path: Path) -> Sequence[FileImage]:
    name = path.name.lower()
    reader = next((r for r in READERS if name.endswith(r.suffixes)), None)
    problem = "" if reader is None else reader.problem()
    if reader is None or (problem and has_bioio()):
        module = "bioio"
    elif problem:
        raise ImportError(problem)
    else:
        module = reader.name
        # what it logs of a damaged file becomes a sentence, or is not for users
        logging.getLogger(reader.imported or reader.package).addHandler(_SILENT)
    found: Sequence[FileImage] = import_module(f"{__package__}.{module}").images(path)
    if not found:
        raise ValueError("it holds no image")
    return found
