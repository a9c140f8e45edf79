"""What a running job reports: frozen records, picklable, the last with the result.

Each record is also a tick of progress and a point where the job can be cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.annotation.data_check import CheckReport
    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.cells.tracking import Tracks
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.model import AnyScore, Model, ModelCard
    from napari_unet.core.starters import Choice
    from napari_unet.core.suggestions.reasons import Suggestion
    from napari_unet.core.training.decision import Decision
    from napari_unet.core.training.run_log import RunLog
    from napari_unet.core.training.training_settings import Training


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """A message for people about a running job."""

    sentence: str
    lasting: bool = False  # of use when the job is over, too


@dataclass(frozen=True, slots=True)
class Waits(Event):
    """Nothing happened; a point where the job can be cancelled while others compute."""


@dataclass(frozen=True, slots=True)
class TrainingStarted(Event):
    """Training is about to take its first step."""

    step: int  # steps already done, above 0 when resumed
    # where and how the network computes
    device: str
    precision: str
    validation: str  # what is held out for validation, or why nothing is, in words
    notes: tuple[str, ...] = ()  # assumptions about the images, each a sentence
    decisions: tuple[Decision, ...] = ()  # settings that a planner chose, and why
    ndim: Literal[2, 3] = 2  # of the network


@dataclass(frozen=True, slots=True)
class StepDone(Event):
    """One step of the optimiser."""

    step: int  # steps done so far
    loss: float  # of the batch
    progress: float  # share of the budget used, 0 to 1
    seconds_left: float  # estimate of the time to the end of the budget


class ValidationTile(Event):
    """One tile of the held-out pixels was predicted."""


@dataclass(frozen=True, slots=True)
class ValidationDone(Event):
    """The held-out pixels were predicted with the current weights."""

    step: int
    score: AnyScore
    best: bool


@dataclass(frozen=True, slots=True)
class Judging(Event):
    """The last step is done; the model is validated and saved next."""

    step: int


@dataclass(frozen=True, slots=True)
class CheckpointWritten(Event):
    """The state of the training is on disk, to be resumed from."""

    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class TrainingFinished(Event):
    """Training ended."""

    # the best weights on the held-out pixels, or the last without validation
    model: Model
    steps: int  # steps done in all
    seconds: float  # time spent in training, without what went before a resume
    # why training stopped early, or learnt nothing, and what to try; None when the
    # budget was used up and the model predicts more than one class
    problem: str | None = None
    log: RunLog | None = None  # what a replay needs beside the model


@dataclass(frozen=True, slots=True)
class TileDone(Event):
    """Probabilities of one tile were written into the output array."""

    # plane, or volume where z is None
    t: int
    z: int | None
    box: Box  # pixels of the plane or volume that are now final
    progress: float  # share of the requested pixels that are done, 0 to 1
    field_done: bool  # whether the plane or volume is complete with this tile


@dataclass(frozen=True, slots=True)
class BlockDone(Event):
    """A block of a large image went through a step after the network's."""

    stage: str
    progress: float  # share of the step that is done, 0 to 1


@dataclass(frozen=True, slots=True)
class TileHalved(Event):
    """Memory ran out; smaller tiles follow, with the same result."""

    output: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PredictionFinished(Event):
    """The prediction is complete in the output array."""

    # the caller's array, or the one made for it; of a network that makes images its
    # grey values
    probabilities: Any
    axes: str  # its axes
    output: tuple[int, ...]  # output size of the tiles used last, in pixels
    # where and how the network computed
    device: str
    precision: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ModelComparison(Event):
    """The new model compared with the one it started from, on held-out parts."""

    # "first" if there was no model to start from, "unknown" with too few labels
    outcome: str
    sentence: str  # in words, with the figures
    # of the new model: IoU of the foreground; F1 of cells at an IoU of 0.5. None where
    # nothing is held out, or no cells are.
    iou: float | None = None
    cells: float | None = None
    # the same of the model it started from
    before_iou: float | None = None
    before_cells: float | None = None


@dataclass(frozen=True, slots=True)
class ModelSaved(Event):
    """Training ended and its model is on disk."""

    path: str
    card: ModelCard
    steps: int
    seconds: float
    problem: str | None = None  # as in `TrainingFinished`


@dataclass(frozen=True, slots=True)
class ModelLoaded(Event):
    """A network is ready to predict."""

    card: ModelCard
    device: str


@dataclass(frozen=True, slots=True)
class StarterChosen(Event):
    """The models of the package were tried on an image."""

    choice: Choice


@dataclass(frozen=True, slots=True)
class ModelWritten(Event):
    """A model is in a file, or in several, of ours or of another program."""

    path: str
    notes: tuple[str, ...]  # assumptions, and what the format cannot hold, in sentences


@dataclass(frozen=True, slots=True)
class WrittenFormat:
    """A format of another program, for writing models."""

    name: str  # in an `ExportModelJob`
    title: str
    tip: str  # what it is for and what it leaves out, in a sentence
    suffixes: tuple[str, ...]  # of all files that are written
    is_published: bool = False  # whether it names authors and licence
    problem: str = ""  # why it cannot be written here, in a sentence


@dataclass(frozen=True, slots=True)
class ModelFormatsFound(Event):
    """The formats in which models can be written."""

    formats: tuple[WrittenFormat, ...]


@dataclass(frozen=True, slots=True)
class NetworkSurveyed(Event):
    """A network was tried out on this machine."""

    settings: Training  # which network, and how large
    seconds: float = 0.0  # estimate for a million pixels of a prediction
    memory: int = 0  # least memory for training, in bytes
    problem: str = ""  # why it cannot be trained on these images; empty if it can


@dataclass(frozen=True, slots=True)
class TrainingPlanned(Event):
    """Settings were chosen by what is annotated."""

    settings: Training  # with the decisions


@dataclass(frozen=True, slots=True)
class CorrectionUsed(Event):
    """Changed annotation is part of the training from this step on."""

    step: int


@dataclass(frozen=True, slots=True)
class CorrectionsLearnt(Event):
    """A model learnt corrections, or they were undone; it is on disk.

    Of a model without corrections no file is written.
    """

    path: str
    count: int  # corrections that are in the model now
    steps: int  # of the optimiser; 0 where corrections were undone


@dataclass(frozen=True, slots=True)
class CellsFound(Event):
    """The cells of one plane or volume are in the output array."""

    t: int
    z: int | None
    count: int
    progress: float


@dataclass(frozen=True, slots=True)
class NeighboursFound(Event):
    """Which cells of one plane or volume touch, after they were found."""

    t: int
    z: int | None
    # see `core.cells.neighbour_colours.neighbours`
    pairs: NDArray[np.int64] = field(compare=False)


@dataclass(frozen=True, slots=True)
class MasksCompared(Event):
    """What two models find in a part of a slice, all (y, x)."""

    grey: NDArray[np.uint8] = field(compare=False)
    # ids of cells; numbers of classes where a model finds regions only
    masks: tuple[NDArray[np.integer], NDArray[np.integer]] = field(compare=False)
    # ids of the cells of each that match none of the other
    alone: tuple[NDArray[np.integer], NDArray[np.integer]] = field(compare=False)
    of_cells: bool  # in both; of regions none is alone


@dataclass(frozen=True, slots=True)
class CellsRenumbered(Event):
    """Which ids the cells of planes or volumes had before they were found anew.

    It comes before `CellsFound` or `CellsLinked`, and not where no cell was before.
    """

    # of each (t, z), by the new id, the id that was there before; 0 where none was
    was: Mapping[tuple[int, int | None], NDArray[np.int64]] = field(compare=False)


@dataclass(frozen=True, slots=True)
class CellsLinked(Event):
    """Cells have one id through all slices now, and through time if they are followed.

    All of the output array changed.
    """

    count: int
    tracks: Tracks | None = None  # of cells that are followed
    # of each plane (t, z), as of `NeighboursFound`
    neighbours: Mapping[tuple[int, int], NDArray[np.int64]] = field(
        default_factory=dict, compare=False
    )


@dataclass(frozen=True, slots=True)
class PointsFound(Event):
    """Each cell of an image as a point."""

    points: Columns  # as of `core.cells.points.cell_points`


@dataclass(frozen=True, slots=True)
class CellsMeasured(Event):
    """All cells of an image were measured."""

    table: Columns  # as of `core.cells.cell_table`


@dataclass(frozen=True, slots=True)
class WeightsComputed(Event):
    """The border weights of a plane are in the output array."""

    t: int
    z: int
    highest: float


@dataclass(frozen=True, slots=True)
class Checked(Event):
    """The annotation was checked."""

    report: CheckReport


@dataclass(frozen=True, slots=True)
class TileSeen(Event):
    """A tile was read, or predicted by a network."""

    progress: float  # share of the work that is done, 0 to 1


@dataclass(frozen=True, slots=True)
class TilesSuggested(Event):
    """Which tiles to annotate next, the best first."""

    suggestions: tuple[Suggestion, ...]
    sentence: str  # what was compared, in words


@dataclass(frozen=True, slots=True)
class FileWritten(Event):
    """A file is complete."""

    path: str
    progress: float


@dataclass(frozen=True, slots=True)
class FileBegun(Event):
    """A file of several is begun, the first with `number` 1."""

    path: str
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class FileWaits(Event):
    """Only files are left that other processes work on, such as this one."""

    path: str


@dataclass(frozen=True, slots=True)
class FilePredicted(Event):
    """A file was predicted, its results were there, or it could not be."""

    path: str
    cells: int  # 0 if its results existed
    progress: float  # share of the files that are done, 0 to 1
    problem: str | None = None  # why it could not be predicted
    there: bool = False  # whether its results existed
    notes: tuple[str, ...] = ()  # assumptions in reading the image
