"""The training data of a project that was saved as a folder, read without napari."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.core.annotation.annotations import UNKNOWN, plain_classes
from napari_unet.core.images.array_reference import (
    AnnotationReference,
    FirstChannels,
    Stacked,
)
from napari_unet.core.images.image import AXES, Field, Image
from napari_unet.core.text import printable, times
from napari_unet.io.image_paths import resolved
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.model_file import load_model
from napari_unet.io.project_record import FILE_NAME, MODELS, ProjectFile, is_own
from napari_unet.io.records import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.model import Model
    from napari_unet.core.training.training_settings import Training
    from napari_unet.io.project_record import ImageSource, ProjectImage


@dataclass(frozen=True, slots=True)
class _Held:
    """An array in memory in place of a reference to one."""

    array: NDArray[np.integer]

    def open(self) -> NDArray[np.integer]:
        return self.array


class SavedProject:
    """A project in the folder that *Save project as* made.

    Raises
    ------
    FileNotFoundError, ValueError
        There is none, it is a working copy and not a saved one, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, ProjectFile.read(folder)
        if not self._file.saved:
            raise ValueError(
                f"{folder}: is being worked on in napari; save the project there, and "
                "name the folder that it was saved in."
            )

    def start(self) -> Model | None:
        """Return the model to start from, if there is one in the folder."""
        name = self._file.project.start
        if name is None:
            return None
        if not is_own(name):
            raise ValueError(f"{name}: the start model is not in {self._folder}.")
        return load_model(inside(self._folder / MODELS, Path(name).name))

    @property
    def settings(self) -> Training:
        """Settings of the training, with the network of the model to start from."""
        settings, start = self._file.project.training, self.start()
        return (
            settings if start is None else settings.with_network_of(start.card.training)
        )

    def pairs(self, ndim: Literal[2, 3]) -> Iterator[tuple[Field, Annotation]]:
        """Yield the annotated planes or volumes of the images used for training.

        A ValueError or OSError says which image cannot be read.
        """
        for row in self._file.project.images:
            path = self._file.annotation(self._folder, row.id)
            if row.use_for_training and path is not None:
                image, known = self._image(row), self._annotation(row, path)
                for field in image.fields(ndim):
                    found = known.field(field.t, field.z)
                    if (found.labels != UNKNOWN).any() or found.finished is not None:
                        yield field, found

    def _annotation(self, row: ProjectImage, path: Path) -> AnnotationReference:
        held: Any = _Held(read_annotation(path, row.sizes, printable(row.name)))
        classes = plain_classes(self._file.project.classes)
        return AnnotationReference(held, "tzyx", classes, row.class_of, row.finished)

    def _image(self, row: ProjectImage) -> Image:
        row = resolved(row, self._folder, self._file.absolute)
        parts = [self._read(row, source) for source in row.sources]
        image = parts[0]
        if len(parts) > 1:
            data = Stacked(tuple(part.data for part in parts))
            image = replace(image, data=data, axes=f"c{image.axes}")
        elif row.samples is not None and image.channels > row.samples:
            first = FirstChannels(image.data, image.axes.index("c"), row.samples)
            image = replace(image, data=first)
        known = row.spacing_um or image.known_um
        return replace(image, name=row.name, spacing_um=known, yx_um=None)

    def _read(self, row: ProjectImage, source: ImageSource) -> Image:
        name = printable(row.name)
        if source.path is None:
            raise ValueError(f"{name}: has no file; save it, and open that in napari.")
        for axes in (None, row.axes):
            image = read_image(source.path, axes)
            if all(image.size(a) == row.sizes[a] for a in "tzyx"):
                return image
        raise ValueError(
            f"{source.path}: has the shape {image.data.shape} ({image.axes}), the "
            f"image {name} of the project {row.shape} ({row.axes})."
        )


def read_annotation(
    path: Path, sizes: Mapping[str, int], name: str
) -> NDArray[np.integer]:
    """Return the annotation in a TIFF, of the image of this name, along t, z, y, x.

    ValueError if it has not these sizes.
    """
    labels = read_labels(path)
    # Axes of length one are not in the file, and t may be read as z: only their order
    # is certain.
    order = [a for a in AXES if a in labels.axes]
    stack = np.asarray(labels.data).transpose([labels.axes.index(a) for a in order])
    shape = tuple(sizes[axis] for axis in "tzyx")
    if stack.size != prod(shape) or stack.shape[-2:] != shape[-2:]:
        raise ValueError(
            f"{path}: the annotation of {name} has another size than the image, "
            f"{times(labels.data.shape)} in place of {times(shape)} (t, z, y, x)."
        )
    planes: NDArray[np.integer] = stack.reshape(shape)
    return planes


def is_saved_project(path: Path) -> bool:
    """Whether a folder has a project, a saved one or a working copy."""
    return (path / FILE_NAME).is_file()
