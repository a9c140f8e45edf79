"""The record of a training run, `run.json`, and the names of the files beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from napari_unet import __version__
from napari_unet.core.annotation.annotations import Index
from napari_unet.core.model import ModelCard
from napari_unet.core.settings import Prediction, Segmentation, Settings, validated
from napari_unet.core.text import printable
from napari_unet.core.training.run_log import Timetable
from napari_unet.io.atomic import write_text
from napari_unet.io.model_file import SUFFIX
from napari_unet.io.records import FileName, check_name, inside, read_json

if TYPE_CHECKING:
    from pathlib import Path

RUN_SUFFIX = ".run"
RECORD = "run.json"
_ClassOf = dict[Index, Annotated[int, Field(ge=1, le=254)]]
_Ends = tuple[Index, Index]


class LearntImage(Settings):
    """An image, or a target of regression."""

    name: str
    file: str | None = Field(None, description="Where it was read from.")
    axes: str = Field(description="Of the array.")
    given_axes: str | None = Field(None, description="In place of the file's own.")
    spacing_um: tuple[float, ...] | None = None
    channels: int = Field(ge=1)
    kept: FileName | None = Field(None, description="Its pixels, in the folder.")


class LearntField(Settings):
    """A plane or volume with annotation or a target."""

    image: Index
    t: Index = 0
    z: Index | None = None
    target: tuple[Index, Index, Index | None] | None = Field(
        None, description="Of regression: number of the target image, t and z."
    )
    sha256: str | None = Field(None, description="Of the pixels, as in the card.")
    class_of: _ClassOf = Field(default_factory=dict)


class LearntCorrection(LearntField):
    """A plane or volume whose annotation changed during the training."""

    step: Index
    box: tuple[_Ends, ...] | None = None


class TrainedRun(Settings):
    """The record of a finished run."""

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
    """The predictions of one call with a model."""

    output: str = Field(description="Folder of the results.")
    kinds: tuple[str, ...]
    settings: Prediction
    segmentation: Segmentation
    channel: int | None = Field(None, description="From 1; all unless given.")
    files: tuple[PredictedFile, ...]


def run_folder_of(model: Path) -> Path:
    """Return the folder of the run of a model file."""
    return model.with_name(model.name.removesuffix(SUFFIX) + RUN_SUFFIX)


def check_own(model: Path) -> None:
    """Refuse a model whose run could not be kept, or only in place of another.

    Raises
    ------
    ValueError
        Its name is none that the record of a run takes.
    FileExistsError
        The other model is beside it, as m and m.safetensors.
    """
    try:
        check_name(model.name)
    except ValueError as error:
        raise ValueError(f"{printable(model)}: its name {error}.") from None
    folder = run_folder_of(model)
    try:
        other = model.with_name(read_run(folder).model)
    except (OSError, ValueError):
        return
    if other.name == model.name or not other.exists():
        return
    # on some disks names that differ in case are one
    if not (model.exists() and other.samefile(model)):
        raise FileExistsError(
            f"{model}: {folder.name} beside it is the run of {other.name}, and would "
            "be replaced; name another file."
        )


def write_record(folder: Path, record: TrainedRun) -> None:
    """Write the record of a run into its folder."""
    write_text(folder / RECORD, record.model_dump_json(indent=1))


def read_run(folder: Path) -> TrainedRun:
    """Read the record of a run.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is damaged, or of a newer napari-unet; one sentence.
    """
    try:
        found = read_json(inside(folder, RECORD))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{folder}: is not the folder of a run, which has a {RECORD} in it."
        ) from None
    what = f"{folder / RECORD}: is damaged, or of a newer napari-unet"
    return validated(TrainedRun, found, what)


def annotation_file(image: int) -> str:
    """Return the name of the file with the annotation of an image."""
    return f"annotation-{image + 1}.tif"


def correction_file(number: int) -> str:
    """Return the name of the file with the annotation of a correction."""
    return f"correction-{number + 1}.tif"
