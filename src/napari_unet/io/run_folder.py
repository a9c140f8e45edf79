"""The folder of a training run: all that it takes to do it again, and to tell of it.

It lies beside the model file, as `cells.run` beside `cells.safetensors`. In it are what
was annotated when the training learnt from it, the model that it started from, and in
`run.json` the card of the model, where the images are, and what the clock decided.
Images that are in no file are kept too. What was predicted with the model is noted in
`predictions`, with a stamp of each result.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from napari_unet import __version__
from napari_unet.core.annotation.annotations import FIRST_OBJECT, Annotation, Index
from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.images.image import Field as ImageField
from napari_unet.core.images.image import Image, ImageFile
from napari_unet.core.model import ModelCard
from napari_unet.core.settings import Prediction, Segmentation, Settings, explain
from napari_unet.core.text import printable
from napari_unet.core.training.run_log import PackedAnnotation, Timetable
from napari_unet.io.atomic import atomic, make_folder
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.model_file import SUFFIX, load_model, read_card, save_model
from napari_unet.io.names import split_number
from napari_unet.io.records import FileName, inside, is_file_name, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.events import TrainingFinished
    from napari_unet.core.model import Model
    from napari_unet.core.training.run_log import RunLog

RUN_SUFFIX = ".run"
RECORD = "run.json"
_PREDICTIONS = "predictions"
# Pixels of images without a file that are kept, in bytes.
_MOST_KEPT = 2**31

_ClassOf = dict[Index, Annotated[int, Field(ge=1, le=254)]]
_Ends = tuple[Index, Index]


class LearntImage(Settings):
    """An image, or what one is to become."""

    name: str
    file: str | None = Field(None, description="Where it was read from.")
    axes: str = Field(description="Of the array.")
    given_axes: str | None = Field(None, description="In place of the file's own.")
    spacing_um: tuple[float, ...] | None = None
    channels: int = Field(ge=1)
    kept: FileName | None = Field(None, description="Its pixels, in the folder.")


class LearntField(Settings):
    """A plane or volume that was learnt from."""

    image: Index
    t: Index = 0
    z: Index | None = None
    target: tuple[Index, Index, Index | None] | None = Field(
        None, description="What it is to become: number of the image, t and z."
    )
    sha256: str | None = Field(None, description="Of the pixels, as in the card.")
    class_of: _ClassOf = Field(default_factory=dict)


class LearntCorrection(LearntField):
    """A plane or volume whose annotation changed meanwhile."""

    step: Index
    box: tuple[_Ends, ...] | None = None


class TrainedRun(Settings):
    """What is known of a run that came to its end."""

    format: Literal["napari-unet run"] = "napari-unet run"
    version: Literal[1] = 1
    program: str = f"napari-unet {__version__}"
    finished: str = Field(description="When, in ISO 8601.")
    model: FileName = Field(description="Name of the model file.")
    model_sha256: str
    card: ModelCard
    seconds: float = Field(ge=0, description="Time spent in training.")
    threads: int = Field(ge=1)
    images: tuple[LearntImage, ...]
    targets: tuple[LearntImage, ...] = ()
    fields: tuple[LearntField, ...]
    corrections: tuple[LearntCorrection, ...] = ()
    timetables: tuple[Timetable, ...]
    start: FileName | None = Field(None, description="Model that it started from.")
    problem: str | None = Field(None, description="Why it cannot be repeated.")
    notes: str = Field("", description="By people.")


class PredictedFile(Settings):
    """An image that was predicted."""

    file: str
    axes: str | None = None
    results: dict[str, str] = Field(
        description="Stamp of each result, by kind and name as in `instances/a.tif`."
    )


class PredictedRun(Settings):
    """What was predicted with a model at once."""

    output: str = Field(description="Folder of the results.")
    kinds: tuple[str, ...]
    settings: Prediction
    segmentation: Segmentation
    channel: int | None = Field(None, description="From 1; all unless given.")
    files: tuple[PredictedFile, ...]


def run_folder_of(model: Path) -> Path:
    """Return where the run of a model file is kept."""
    return model.with_name(model.name.removesuffix(SUFFIX) + RUN_SUFFIX)


def save_run(finished: TrainingFinished, model: Path) -> Path:
    """Keep what a replay takes beside a model file that was saved; return the folder.

    One that is there, of a model of that name before, is replaced.

    Raises
    ------
    FileExistsError
        Something else has its name.
    OSError, ValueError
        It cannot be written, or an image not be read; nothing of it is left.
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
        record = TrainedRun(
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            model=model.name,
            model_sha256=_sha256(model),
            card=read_card(model),
            seconds=finished.seconds,
            threads=log.threads,
            images=tuple(writer.images),
            targets=tuple(writer.targets),
            fields=fields,
            corrections=corrections,
            timetables=log.timetables,
            start=writer.start(log.start),
            problem=log.problem or writer.problem,
        )
        write_record(temporary, record)
    return folder


def _is_ours(folder: Path) -> bool:
    try:
        record = read_json(inside(folder, RECORD))
    except (OSError, ValueError):
        return False
    usual = TrainedRun.model_fields["format"].default
    return isinstance(record, dict) and record.get("format") == usual


def write_record(folder: Path, record: TrainedRun) -> None:
    """Write what is known of a run into its folder."""
    with atomic(folder / RECORD) as temporary:
        temporary.write_text(record.model_dump_json(indent=1), encoding="utf-8")


def copy_run(folder: Path, target: Path) -> None:
    """Copy the folder of a run; links in it are left out, they lead elsewhere.

    Raises
    ------
    OSError
        It cannot be written; nothing of it is left.
    """
    with atomic(target) as temporary:
        for part in (temporary, temporary / _PREDICTIONS):
            part.mkdir()
        for below in ("", _PREDICTIONS):
            for file in (folder / below).glob("*"):
                if file.is_file() and not file.is_symlink():
                    shutil.copyfile(file, temporary / below / file.name)


def read_run(folder: Path) -> TrainedRun:
    """Read what is known of a run.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is damaged, or of a newer napari-unet; one sentence.
    """
    try:
        return TrainedRun.model_validate(read_json(inside(folder, RECORD)))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{folder}: is not the folder of a run, which has a {RECORD} in it."
        ) from None
    except ValidationError as error:
        raise ValueError(
            f"{folder / RECORD}: is damaged, or of a newer napari-unet: "
            f"{explain(error)}"
        ) from error


def annotated_objects(folder: Path, record: TrainedRun) -> int | None:
    """Return how many objects of cells were annotated when the run began.

    In each image an id counts once. None where nothing like it is learnt.
    """
    cells = set(record.card.cell_classes)
    if not cells:
        return None
    classes: dict[int, dict[int, int]] = {}
    for row in record.fields:
        classes.setdefault(row.image, {}).update(row.class_of)
    count = 0
    for image, class_of in classes.items():
        ids = distinct(read_labels(inside(folder, _annotation(image))).read()).tolist()
        count += sum(i >= FIRST_OBJECT and class_of.get(i, 1) in cells for i in ids)
    return count


def run_of(model: Path) -> Path | None:
    """Return the folder with the run of a model file, None if there is none."""
    folder = run_folder_of(model)
    if not (folder / RECORD).is_file():
        return None
    return folder if has_run(model, _sha256(model)) else None


def start_of(folder: Path, record: TrainedRun) -> Model | None:
    """Return the model that a run started from, if it did."""
    return None if record.start is None else load_model(inside(folder, record.start))


def learnt_pairs(
    folder: Path, record: TrainedRun, look_in: Path | None = None
) -> tuple[list[tuple[ImageField, Any]], list[tuple[int, ImageField, Annotation, Any]]]:
    """Return what a run learnt from: fields and what was known of each.

    Then the corrections: after how many steps, the field, the annotation of all of it
    and the box that changed. `look_in` is a folder where images are that are no longer
    where they were.

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
        array = _read_labels(inside(folder, _correction(number)), (1, *field.shape))[0]
        known = Annotation(array, record.card.classes, change.class_of)
        box = None if change.box is None else tuple(slice(*e) for e in change.box)
        corrections.append((change.step, field, known, box))
    return pairs, corrections


def has_run(model: Path, model_sha256: str) -> bool:
    """Whether there is, beside a model file of this content, how it was trained."""
    try:
        return read_run(run_folder_of(model)).model_sha256 == model_sha256
    except (OSError, ValueError):
        return False


def note_prediction(model: Path, predicted: PredictedRun) -> None:
    """Note in the folder of a model's run what was predicted with it.

    It is the same note if the same is predicted again.
    """
    folder = run_folder_of(model)
    files = [file.file for file in predicted.files]
    key = json.dumps([predicted.output, predicted.kinds, files])
    make_folder(folder / _PREDICTIONS)
    name = f"{sha256(key.encode()).hexdigest()[:16]}.json"
    with atomic(folder / _PREDICTIONS / name) as temporary:
        temporary.write_text(predicted.model_dump_json(indent=1), encoding="utf-8")


def read_predictions(folder: Path) -> list[PredictedRun]:
    """Return what was predicted with the model of a run; errors as of `read_run`."""
    found = []
    for path in sorted((folder / _PREDICTIONS).glob("*.json")):
        try:
            found.append(PredictedRun.model_validate(read_json(path)))
        except ValidationError as error:
            raise ValueError(f"{path}: is damaged: {explain(error)}") from error
    return found


def find_file(name: str, look_in: Path | None) -> Path:
    """Return where a file of a run is now: in a folder that is named, or as it was.

    Raises
    ------
    FileNotFoundError
        It is in neither.
    """
    path = Path(name)
    for candidate in (path,) if look_in is None else (look_in / path.name, path):
        if split_number(candidate)[0].exists():
            return candidate
    raise FileNotFoundError(
        f"{printable(name)}: the run learnt from it or predicted it, and it is not "
        "there any more; name the folder where it is now with --images."
    )


class _Writer:
    """Writes what a log holds into a folder, and numbers the images."""

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
                class_of = _told(known)
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
            _write_labels(self._folder / _annotation(image), labels)
        return tuple(rows)

    def corrections(self, log: RunLog) -> tuple[LearntCorrection, ...]:
        """Write what was corrected, each into a file of its own."""
        rows = []
        for number, change in enumerate(log.corrections):
            field, box = change.field, change.box
            path = self._folder / _correction(number)
            _write_labels(path, [change.annotation.labels])
            rows.append(
                LearntCorrection(
                    image=self._number(field, self.images),
                    t=field.t,
                    z=field.z,
                    class_of=dict(_told(change.annotation)),
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
        name = name if is_file_name(name) else f"start{SUFFIX}"
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
        """Describe an image, of which this is a field; keep what is in no file."""
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
            file=file and file.path,
            axes=image.axes,
            given_axes=file and file.axes,
            spacing_um=image.known_um,
            channels=image.channels,
            kept=kept,
        )


class _Labels:
    """Reads the annotation of a run, field by field in its order."""

    def __init__(self, folder: Path, record: TrainedRun) -> None:
        self._folder, self._classes = folder, record.card.classes
        self._counts: dict[int, int] = {}
        for row in record.fields:
            self._counts[row.image] = self._counts.get(row.image, 0) + 1
        self._open: dict[int, Iterator[NDArray[np.integer]]] = {}

    def next(self, field: ImageField, row: LearntField) -> Annotation:
        """Return the annotation of the next field of an image."""
        if row.image not in self._open:
            shape = (self._counts[row.image], *field.shape)
            path = inside(self._folder, _annotation(row.image))
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


def _file_of(field: ImageField) -> ImageFile | None:
    """Return the file that an image can be read from again; None if there is none.

    What a viewer shows of a file, and what it holds now, may be something else.
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


def _read_labels(path: Path, shape: tuple[int, ...]) -> NDArray[np.int32]:
    labels = read_labels(path)
    size = int(np.prod(labels.data.shape))
    if size != np.prod(shape):
        raise ValueError(
            f"{path}: is not the annotation of its image, which takes "
            f"{np.prod(shape)} pixels; found {size}."
        )
    return labels.read().reshape(shape).astype(np.int32)


def _told(annotation: PackedAnnotation) -> Mapping[int, int]:
    """Return the classes of objects as far as they are not the first."""
    return {i: k for i, k in annotation.class_of.items() if k != 1}


def _sha256(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _annotation(image: int) -> str:
    return f"annotation-{image + 1}.tif"


def _correction(number: int) -> str:
    return f"correction-{number + 1}.tif"
