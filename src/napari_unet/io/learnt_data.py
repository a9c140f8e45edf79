"""The training data of a run, read again from its folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import FIRST_OBJECT, Annotation
from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.images.image import Field as ImageField
from napari_unet.core.images.image import Image
from napari_unet.core.text import printable
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.model_file import load_model
from napari_unet.io.names import noted_parts, split_number
from napari_unet.io.records import inside
from napari_unet.io.trained_run import (
    RECORD,
    LearntField,
    LearntImage,
    TrainedRun,
    annotation_file,
    correction_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.model import Model


def annotated_objects(folder: Path, record: TrainedRun) -> int | None:
    """Return how many objects of cells were annotated when the run began.

    In each image an id counts once. None if the run did not learn cells.
    """
    cells = set(record.card.cell_classes)
    if not cells:
        return None
    classes: dict[int, dict[int, int]] = {}
    for row in record.fields:
        classes.setdefault(row.image, {}).update(row.class_of)
    count = 0
    for image, class_of in classes.items():
        ids = distinct(
            read_labels(inside(folder, annotation_file(image))).read()
        ).tolist()
        count += sum(i >= FIRST_OBJECT and class_of.get(i, 1) in cells for i in ids)
    return count


def start_of(folder: Path, record: TrainedRun) -> Model | None:
    """Return the model that a run started from, if it did."""
    return None if record.start is None else load_model(inside(folder, record.start))


def learnt_pairs(
    folder: Path, record: TrainedRun, look_in: Path | None = None
) -> tuple[list[tuple[ImageField, Any]], list[tuple[int, ImageField, Annotation, Any]]]:
    """Return the training data of a run: fields and their annotation.

    Then the corrections: the step, the field, its whole annotation and the box that
    changed. `look_in` is a folder of images that are no longer where they were.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        Something is missing, damaged, or was changed.
    """
    images = [_open(folder, image, look_in) for image in record.images]
    targets = [_open(folder, image, look_in) for image in record.targets]
    labels = _Labels(folder, record)
    pairs: list[tuple[ImageField, Any]] = []
    for row in record.fields:
        field = _field(images, row.image, row.t, row.z)
        known: Any = None
        if row.target is not None:
            known = _field(targets, *row.target)
        elif record.card.training.task == "segment":
            known = labels.next(field, row)
        pairs.append((field, known))
    corrections = []
    for number, change in enumerate(record.corrections):
        field = _field(images, change.image, change.t, change.z)
        array = _read_labels(
            inside(folder, correction_file(number)), (1, *field.shape)
        )[0]
        known = Annotation(array, record.card.classes, change.class_of)
        box = None if change.box is None else tuple(slice(*e) for e in change.box)
        corrections.append((change.step, field, known, box))
    return pairs, corrections


def find_file(name: str, look_in: Path | None) -> Path:
    """Return where a file of a run is now: in a folder that is named, or as it was.

    In the folder it may be in folders as it was: files of one name are told apart by
    them.

    Raises
    ------
    FileNotFoundError
        It is in neither.
    """
    candidates = [Path(name)]
    if look_in is not None:
        parts = noted_parts(name)
        below = [parts[k:] for k in range(len(parts)) if ".." not in parts[k:]]
        candidates = [*(look_in.joinpath(*tail) for tail in below), *candidates]
    for candidate in candidates:
        if split_number(candidate)[0].exists():
            return candidate
    where = "" if look_in is None else f", nor is it in {look_in}"
    raise FileNotFoundError(
        f"{printable(name)}: the run learnt from it or predicted it, and it is not "
        f"there any more{where}; name the folder where it is now with --images."
    )


class _Labels:
    """Reads the annotation of a run, field by field in its order."""

    def __init__(self, folder: Path, record: TrainedRun) -> None:
        self._folder, self._classes = folder, record.card.classes
        self._counts = Counter(row.image for row in record.fields)
        self._open: dict[int, Iterator[NDArray[np.integer]]] = {}

    def next(self, field: ImageField, row: LearntField) -> Annotation:
        """Return the annotation of the next field of an image."""
        if row.image not in self._open:
            shape = (self._counts[row.image], *field.shape)
            path = inside(self._folder, annotation_file(row.image))
            self._open[row.image] = iter(_read_labels(path, shape))
        return Annotation(next(self._open[row.image]), self._classes, row.class_of)


def _open(folder: Path, image: LearntImage, look_in: Path | None) -> Image:
    if image.kept is not None:
        path = inside(folder, image.kept)
        try:
            data = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: is damaged, or no array ({error}).") from error
        return Image(data, image.axes, image.spacing_um, image.name)
    if image.file is None:
        raise ValueError(
            f"{printable(image.name)}: was in no file and is not kept in {folder}."
        )
    path = find_file(image.file, look_in)
    found = read_image(path, image.given_axes).with_channels(image.channels)
    if found.axes != image.axes:
        raise ValueError(
            f"{path}: was changed since the run learnt from it: its axes are "
            f"{found.axes}, then they were {image.axes}."
        )
    return Image(
        found.data,
        found.axes,
        image.spacing_um,
        image.name,
        file=found.file,
        grey=found.grey,
    )


def _field(images: Sequence[Image], number: int, t: int, z: int | None) -> ImageField:
    if number >= len(images):
        raise ValueError(f"{RECORD}: is damaged, it names no image {number}.")
    image = images[number]
    if t >= image.size("t") or (z or 0) >= image.size("z"):
        raise ValueError(
            f"{printable(image.name)}: was changed since the run learnt from it, it "
            f"has no plane at t={t}, z={z}."
        )
    return ImageField(image, t, z)


def _read_labels(path: Path, shape: tuple[int, ...]) -> NDArray[np.int32]:
    labels = read_labels(path)
    size = int(np.prod(labels.data.shape))
    if size != np.prod(shape):
        raise ValueError(
            f"{path}: is not the annotation of its image, which takes "
            f"{np.prod(shape)} pixels; found {size}."
        )
    return labels.read().reshape(shape).astype(np.int32)
