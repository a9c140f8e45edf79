"""The folder of a training run: all that is needed to repeat and to describe it.

It is beside the model file, as `cells.run` beside `cells.safetensors`. It has the
annotation that was trained on, the model that the training started from, and in
`run.json` the card of the model, the paths of the images, and decisions that depended
on time. Images without a file are kept too. Predictions with the model are noted in
`predictions`, with a stamp of each result.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.images.image import Field as ImageField
from napari_unet.core.images.image import ImageFile
from napari_unet.core.settings import validated
from napari_unet.core.text import encodable, printable
from napari_unet.core.training.run_log import PackedAnnotation
from napari_unet.io.atomic import atomic, make_folder, write_text
from napari_unet.io.images import read_image
from napari_unet.io.model_file import SUFFIX, read_card, save_model, sha256_of
from napari_unet.io.names import is_portable
from napari_unet.io.records import inside, read_json
from napari_unet.io.trained_run import (
    RECORD,
    LearntCorrection,
    LearntField,
    LearntImage,
    PredictedRun,
    TrainedRun,
    annotation_file,
    correction_file,
    read_run,
    run_folder_of,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.events import TrainingFinished
    from napari_unet.core.model import Model
    from napari_unet.core.training.run_log import RunLog

_PREDICTIONS = "predictions"
# Most bytes of images without a file that are kept.
_MOST_KEPT = 2**31


def save_run(finished: TrainingFinished, model: Path) -> Path:
    """Write the folder of a run beside its model file, and return the folder.

    The folder of an earlier model of that name is replaced.

    Raises
    ------
    FileExistsError
        Its name is taken by something else.
    OSError, ValueError
        It cannot be written, or an image cannot be read; no file is left.
    """
    folder, log = run_folder_of(model), finished.log
    if log is None:
        raise ValueError(f"{model}: it is not known how it was trained.")
    if folder.exists() and not _is_ours(folder):
        raise FileExistsError(
            f"{folder}: is there already and is no run of napari-unet, so it is not "
            "replaced and the run is not kept."
        )
    with atomic(folder) as temporary:
        temporary.mkdir()
        writer = _Writer(temporary)
        fields = writer.fields(log)
        corrections = writer.corrections(log)
        record = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": model.name,
            "model_sha256": sha256_of(model),
            "card": read_card(model),
            "seconds": finished.seconds,
            "threads": log.threads,
            "images": tuple(writer.images),
            "targets": tuple(writer.targets),
            "fields": fields,
            "corrections": corrections,
            "timetables": log.timetables,
            "start": writer.start(log.start),
            "problem": log.problem or writer.problem,
        }
        what = f"{folder}: cannot be written"
        write_record(temporary, validated(TrainedRun, record, what))
    return folder


def _is_ours(folder: Path) -> bool:
    try:
        record = read_json(inside(folder, RECORD))
    except (OSError, ValueError):
        return False
    usual = TrainedRun.model_fields["format"].default
    return isinstance(record, dict) and record.get("format") == usual


def copy_run(folder: Path, target: Path) -> None:
    """Copy the folder of a run, without links in it, which lead elsewhere.

    Raises
    ------
    OSError
        It cannot be written; no file is left.
    """
    with atomic(target) as temporary:
        for part in (temporary, temporary / _PREDICTIONS):
            part.mkdir()
        for below in ("", _PREDICTIONS):
            for file in (folder / below).glob("*"):
                if file.is_file() and not file.is_symlink():
                    shutil.copyfile(file, temporary / below / file.name)


def run_of(model: Path) -> Path | None:
    """Return the folder with the run of a model file, None if there is none."""
    folder = run_folder_of(model)
    if not (folder / RECORD).is_file():
        return None
    return folder if has_run(model, sha256_of(model)) else None


def has_run(model: Path, model_sha256: str) -> bool:
    """Whether the training run of exactly this model file is beside it."""
    try:
        return read_run(run_folder_of(model)).model_sha256 == model_sha256
    except (OSError, ValueError):
        return False


def note_prediction(model: Path, predicted: PredictedRun) -> None:
    """Note in the folder of a model's run what was predicted with it.

    A repeated prediction replaces its note.
    """
    folder = run_folder_of(model)
    files = [file.file for file in predicted.files]
    key = json.dumps([predicted.output, predicted.kinds, files])
    make_folder(folder / _PREDICTIONS)
    name = f"{sha256(key.encode()).hexdigest()[:16]}.json"
    write_text(folder / _PREDICTIONS / name, predicted.model_dump_json(indent=1))


def read_predictions(folder: Path) -> list[PredictedRun]:
    """Return the predictions with the model of a run; errors as of `read_run`."""
    return [
        validated(PredictedRun, read_json(path), f"{path}: is damaged")
        for path in sorted((folder / _PREDICTIONS).glob("*.json"))
    ]


class _Writer:
    """Writes the data of a run's log into a folder, and numbers its images."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.images: list[LearntImage] = []
        self.targets: list[LearntImage] = []
        self.problem: str | None = None
        self._numbers: dict[int, int] = {}
        self._kept = 0

    def fields(self, log: RunLog) -> tuple[LearntField, ...]:
        """Write the annotation, each image's into one file."""
        rows: list[LearntField] = []
        planes: dict[int, list[NDArray[np.integer]]] = {}
        for number, (field, known) in enumerate(log.known):
            image = self._number(field, self.images)
            target = None
            class_of: Mapping[int, int] = {}
            if isinstance(known, PackedAnnotation):
                planes.setdefault(image, []).append(known.labels)
                class_of = _class_of(known)
            elif known is not None:
                where = self._number(known, self.targets)
                target = (where, known.t, known.z)
            rows.append(
                LearntField(
                    image=image,
                    t=field.t,
                    z=field.z,
                    target=target,
                    sha256=log.fingerprints[number],
                    class_of=dict(class_of),
                )
            )
        for image, labels in planes.items():
            _write_labels(self._folder / annotation_file(image), labels)
        return tuple(rows)

    def corrections(self, log: RunLog) -> tuple[LearntCorrection, ...]:
        """Write the corrections, each into its own file."""
        rows = []
        for number, change in enumerate(log.corrections):
            field, box = change.field, change.box
            path = self._folder / correction_file(number)
            _write_labels(path, [change.annotation.labels])
            rows.append(
                LearntCorrection(
                    image=self._number(field, self.images),
                    t=field.t,
                    z=field.z,
                    class_of=dict(_class_of(change.annotation)),
                    step=change.step,
                    box=None if box is None else tuple((s.start, s.stop) for s in box),
                )
            )
        return tuple(rows)

    def start(self, model: Model | None) -> str | None:
        """Write the model that the run started from."""
        if model is None:
            return None
        name = f"{model.card.name}{SUFFIX}"
        name = name if is_portable(name) else f"start{SUFFIX}"
        save_model(model, self._folder / name)
        return name

    def _number(self, field: ImageField, among: list[LearntImage]) -> int:
        key = id(field.image)
        if key not in self._numbers:
            self._numbers[key] = len(among)
            kind = "target" if among is self.targets else "image"
            among.append(self._described(field, f"{kind}-{len(among) + 1}.npy"))
        return self._numbers[key]

    def _described(self, field: ImageField, name: str) -> LearntImage:
        """Describe the image of a field, and save its pixels if they have no file."""
        image, kept = field.image, None
        file = _file_of(field) if not image.scales else image.file
        if image.scales:
            self.problem = (
                "it learnt from a bundle, which need not hold all of an image: train "
                "the bundle once more"
            )
        if file is None:
            size = int(np.prod(image.data.shape)) * np.dtype(image.data.dtype).itemsize
            self._kept += size
            if self._kept <= _MOST_KEPT:
                np.save(self._folder / name, image.read(), allow_pickle=False)
                kept = name
            else:
                self.problem = (
                    f"{printable(image.name)} is in no file, and too large to be kept "
                    "with the run"
                )
        return LearntImage(
            name=image.name,
            file=file and encodable(file.path),
            axes=image.axes,
            given_axes=file and file.axes,
            spacing_um=image.known_um,
            channels=image.channels,
            kept=kept,
        )


def _file_of(field: ImageField) -> ImageFile | None:
    """Return the file that an image can be read from again; None if there is none.

    The pixels are compared: a viewer may show others, or the file has changed.
    """
    image = field.image
    if image.file is None:
        return None
    for axes in dict.fromkeys((image.file.axes, image.axes)):
        file = ImageFile(image.file.path, axes)
        try:
            found = read_image(file.path, axes).with_channels(image.channels)
            same = found.axes == image.axes and found.data.shape == image.data.shape
            other = replace(field, image=found)
            if same and np.array_equal(other.read(), field.read(), equal_nan=True):
                return file
        except (OSError, ValueError):
            continue
    return None


def _write_labels(path: Path, labels: Sequence[NDArray[np.integer]]) -> None:
    """Write labels of one shape as a compressed TIFF of one page for each plane."""
    import tifffile

    highest = max(int(part.max(initial=0)) for part in labels)
    pages = np.stack(labels).astype(np.min_scalar_type(highest))
    tifffile.imwrite(
        path,
        pages.reshape(-1, *pages.shape[-2:]),
        compression="zlib",
        photometric="minisblack",
        bigtiff=pages.nbytes >= 2**31,
        metadata={"axes": "ZYX"},
    )


def _class_of(annotation: PackedAnnotation) -> Mapping[int, int]:
    """Return the class numbers of objects, without those of the first class."""
    return {i: k for i, k in annotation.class_of.items() if k != 1}
