"""Example images in the package; origin and licences are in samples/CREDITS.md."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_unet.io.images import find, read_image, read_labels

if TYPE_CHECKING:
    from napari_unet.core.images.image import Image

# Pixels, attributes and type of a napari layer.
LayerData: TypeAlias = tuple[Any, dict[str, Any], str]

KINDS = ("nuclei", "histology", "smear", "phase_contrast")


def nuclei() -> list[tuple[Image, Image]]:
    """Eight fluorescence images of U2OS nuclei with a label for each nucleus (BBBC039).

    Both (520, 696), axes y, x, uint16; 0 is background. The pixel size is not known.
    Each image is from another well.
    """
    return _pairs("nuclei")


def histology() -> list[tuple[Image, Image]]:
    """One image of stained tissue with a label for each nucleus (BBBC038).

    (256, 320, 3), axes y, x, c, uint8, red, green and blue; its labels (256, 320),
    uint16, 0 is background. The pixel size is not known.
    """
    return _pairs("histology")


def smear() -> list[tuple[Image, Image]]:
    """One bright-field image of a smear with a label for each nucleus (BBBC038).

    Both (1024, 1024), axes y, x; uint8 and uint16, 0 is background. The pixel size is
    not known.
    """
    return _pairs("smear")


def phase_contrast() -> list[tuple[Image, Image]]:
    """One phase-contrast image of fibroblasts with a label for each cell (Usiigaci).

    Both (1022, 1024), axes y, x; uint16 and uint8, 0 is background. The pixel size is
    not known; some dim cells have no label.
    """
    return _pairs("phase_contrast")


def nuclei_layers() -> list[LayerData]:
    """Give napari the first image of nuclei with its labels."""
    return _layers(nuclei()[0], "nuclei")


def histology_layers() -> list[LayerData]:
    """Give napari the image of tissue with its labels."""
    return _layers(histology()[0], "histology")


def smear_layers() -> list[LayerData]:
    """Give napari the image of a smear with its labels."""
    return _layers(smear()[0], "smear")


def phase_contrast_layers() -> list[LayerData]:
    """Give napari the phase-contrast image with its labels."""
    return _layers(phase_contrast()[0], "phase contrast")


def folder(kind: str) -> Path:
    """Folder of one of the samples, with the folders images and labels in it.

    Raises
    ------
    ValueError
        There is no sample of this name.
    """
    if kind not in KINDS:
        raise ValueError(f"samples are {', '.join(KINDS)}, found {kind!r}.")
    return Path(str(files("napari_unet"))) / "samples" / kind


def _layers(pair: tuple[Image, Image], name: str) -> list[LayerData]:
    image, labels = pair
    return [
        (image.data, {"name": name}, "image"),
        (labels.data, {"name": f"{name} [truth]", "visible": False}, "labels"),
    ]


def _pairs(kind: str) -> list[tuple[Image, Image]]:
    images = find([folder(kind) / "images"])
    return [
        (read_image(path), read_labels(folder(kind) / "labels" / path.name))
        for path in images
    ]
