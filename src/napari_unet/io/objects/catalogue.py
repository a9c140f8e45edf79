"""The formats of objects that are written and read, by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.core.text import lacking
from napari_unet.io.names import split_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_unet.core.cells.objects import Objects
    from napari_unet.core.images.image import Image


@dataclass(frozen=True, slots=True)
class ObjectFormat:
    """A format of objects. Its module is imported when it is written or read."""

    title: str  # shown to people
    # its purpose and what it omits, in a sentence
    tip: str
    # ends of names of files or folders, the first is that of what is written
    suffixes: tuple[str, ...]
    module: str  # in this package
    package: str | None = None  # that it needs, of the extra `formats`
    table: bool = False  # whether it has the measurements of the objects
    sized: bool = True  # whether it has the size of the image
    several: bool = False  # whether it may have several images, by name

    def check_installed(self) -> None:
        """ModuleNotFoundError, in a sentence, if the package is missing."""
        if self.package is not None and find_spec(self.package) is None:
            raise lacking(f"{self.title} need", self.package, "formats")

    def write(self, path: str | Path, objects: Objects) -> None:
        """Write objects; a file that exists is replaced.

        Raises
        ------
        ModuleNotFoundError
            A package is missing.
        ValueError
            The format cannot hold them.
        OSError
            They cannot be written. No error leaves anything half-written.
        """
        self.check_installed()
        self._module.write(Path(path), objects)

    def read(self, path: str | Path, like: Image | None = None) -> Objects:
        """Read objects as labels.

        Parameters
        ----------
        path : str or Path
            File or folder; ``FILE#2`` is the second image in a file of several.
        like : Image, optional
            The image that they are of. Formats of outlines do not have its size:
            without it the smallest that holds them is used.

        Returns
        -------
        Objects
            The notes of its labels say what was chosen or left out.

        Raises
        ------
        ModuleNotFoundError
            A package is missing.
        FileNotFoundError, OSError
            There is no such file, or it cannot be read.
        ValueError
            It is damaged, of another format, or does not fit the image.
        """
        self.check_installed()
        found: Objects = self._module.read(Path(path), like)
        return found

    def images(self, path: str | Path) -> tuple[str, ...]:
        """Return the names of the images in a file that may have several.

        Errors are as of `read`.
        """
        if not self.several:
            return ()
        names: tuple[str, ...] = self._module.images(Path(path))
        return names

    @property
    def _module(self) -> Any:
        return import_module(f"napari_unet.io.objects.{self.module}")


FORMATS: dict[str, ObjectFormat] = {
    "rois": ObjectFormat(
        "ImageJ ROIs",
        "Outlines with classes as groups, for the ROI Manager of ImageJ and Fiji.",
        ("_RoiSet.zip", ".roi", ".zip"),
        "imagej_roi",
        package="roifile",
        sized=False,
    ),
    "geojson": ObjectFormat(
        "QuPath objects (GeoJSON)",
        "Detections with classes, colours and measurements, for QuPath.",
        (".geojson",),
        "geojson",
        table=True,
        sized=False,
    ),
    "coco": ObjectFormat(
        "COCO instances",
        "Polygons, and run lengths of objects with holes, for training elsewhere; a "
        "picture for each plane.",
        ("_coco.json", ".json"),
        "coco",
        several=True,
    ),
    "ome-zarr": ObjectFormat(
        "OME-Zarr labels",
        "A label image with smaller levels, colours and properties, for web viewers.",
        ("_labels.ome.zarr", ".zarr"),
        "ngff_labels",
        table=True,
    ),
    "ctc": ObjectFormat(
        "Cell Tracking Challenge results",
        "A mask for each time point and the tracks; without classes and measurements.",
        ("_RES", "_GT/SEG", "_GT/TRA", "_GT", "_ST/SEG", "_ST"),
        "ctc",
    ),
    "cellpose": ObjectFormat(
        "Cellpose masks",
        "Masks that Cellpose trains on; without classes and measurements.",
        ("_cp_masks.tif", "_cp_masks.png", "_seg.npy"),
        "cellpose",
    ),
    "ilastik": ObjectFormat(
        "ilastik object identities (HDF5)",
        "Ids in HDF5, for ilastik; without classes and measurements.",
        ("_Object Identities.h5", ".h5"),
        "ilastik",
        package="h5py",
    ),
}


def format_of(path: str | Path) -> ObjectFormat | None:
    """Return the format of a file by the end of its name, or None."""
    # some endings include the folder
    name = split_number(path)[0].as_posix().lower()
    fits = [
        (len(suffix), number)
        for number, one in enumerate(FORMATS.values())
        for suffix in one.suffixes
        if name.endswith(suffix.lower())
    ]
    return list(FORMATS.values())[max(fits)[1]] if fits else None


def check_installed(kinds: Iterable[str]) -> None:
    """ModuleNotFoundError if a format among kinds of output lacks its package."""
    for kind in kinds:
        if kind in FORMATS:
            FORMATS[kind].check_installed()
