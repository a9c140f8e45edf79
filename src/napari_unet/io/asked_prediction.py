"""A prediction requested of another computer: its images and settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from napari_unet.core.annotation.annotations import Index
from napari_unet.core.settings import Prediction, Segmentation, Settings
from napari_unet.io.names import image_name, split_number
from napari_unet.io.prediction_folder import IMAGE, KINDS, OF_CELLS
from napari_unet.io.provenance import Provenance
from napari_unet.io.records import FileName
from napari_unet.io.remote import is_in_folder

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.images.image import Image


@dataclass(frozen=True, slots=True)
class SentImage:
    """Pixels that came from another computer, and their origin there."""

    image: Image
    made: Provenance  # its settings are those of the computer that predicts


class AskedFile(Settings):
    """An image, as it is on the computer that gets the results."""

    name: FileName = Field(description="As of `io.names.image_name`.")
    file: str = Field("", description="Name of its file.")
    stamp: str = Field("", description="Of its content.")
    in_folder: bool = Field(default=False, description="Whether it is an OME-Zarr.")
    grey: bool = False
    notes: tuple[str, ...] = Field((), description="What was chosen in reading it.")

    @classmethod
    def of(cls, path: Path, image: Image, stamp: str) -> AskedFile:
        """Describe an image that was read from a file."""
        file = split_number(path)[0]
        return cls(
            name=image_name(path),
            file=file.name,
            stamp=stamp,
            in_folder=is_in_folder(file),
            grey=image.grey,
            notes=image.notes,
        )

    def stand_in(self, folder: Path) -> Path:
        """Make an empty file or folder that gives results the name of the image's."""
        if self.in_folder:
            path = folder / f"{self.name}.ome.zarr"
            path.mkdir()
        else:
            path = folder / f"{self.name}.ome.tif"
            path.touch()
        return path

    def sent(self, image: Image, asked: AskedPrediction) -> SentImage:
        """Join it with its pixels."""
        made = Provenance(self.file, self.stamp, asked.model, asked.sha256, {})
        whole = replace(image, grey=self.grey, notes=self.notes, file=None)
        return SentImage(whole, made)


def _check_kind(kind: str) -> str:
    """Refuse an unknown kind of result: it would become the name of a folder."""
    if kind not in (*KINDS, IMAGE, *OF_CELLS):
        raise ValueError("should be a kind of result")
    return kind


Kind = Annotated[str, AfterValidator(_check_kind)]


class AskedPrediction(Settings):
    """How images are predicted, and which results are written."""

    model: FileName = Field(description="Name of its file.")
    sha256: str = Field(description="Of what the model is.")
    settings: Prediction
    segmentation: Segmentation
    kinds: tuple[Kind, ...] = Field(min_length=1)
    channel: Index | None = None
    axes: str | None = Field(None, description="Given for all images.")
    files: tuple[AskedFile, ...] = Field(min_length=1)
