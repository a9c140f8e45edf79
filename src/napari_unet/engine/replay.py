"""Replay of a training run and of predictions with its model, from its folder."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.core.events import StepDone
from napari_unet.core.text import listed, printable
from napari_unet.engine.batch_prediction import predict_files
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.course import Course
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.io.learnt_data import find_file, learnt_pairs, start_of
from napari_unet.io.model_file import load_model
from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.trained_run import read_run

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.training.folds import Fold
    from napari_unet.io.trained_run import PredictedRun, TrainedRun


def replay(
    folder: Path, *, images: Path | None = None, device: str | None = None
) -> Generator[Event, None, None]:
    """Repeat the training of a run; the events are those of `train`.

    On the same machine and with the same packages, the model is the same to the last
    bit, but for GPUs, which sum in no fixed order.

    Parameters
    ----------
    folder : Path
        Of the run.
    images : Path, optional
        Folder with images that are no longer where they were.
    device : str, optional
        That of the run by default.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        Something is missing, damaged or was changed since, or the run is one that
        cannot be repeated; in a sentence.
    """
    record = _repeatable(folder)
    card = record.card
    pairs, corrections = learnt_pairs(folder, record, images)
    torch.set_num_threads(record.threads)
    start = start_of(folder, record)
    options = RunOptions(start, device=device or card.device)

    def begin(
        pairs: Any, settings: Any, options: RunOptions, **rest: Any
    ) -> TrainingRun:
        fold: Fold | None = rest.get("fold")
        table = record.timetables[0 if fold is None else fold.number]
        run = TrainingRun(pairs, settings, options, timetable=table, **rest)
        for _ in run.prepare():
            pass
        _check_unchanged(run, record)
        return run

    job: TrainingRun | Course
    if card.members == 1:
        job = begin(pairs, card.training, options)
    else:
        job = Course(
            lambda _: pairs, card.training, options, begin=begin, as_given=True
        )
        for _ in job.prepare():
            pass
    waiting = list(corrections)

    def correct(step: int) -> None:
        while waiting and waiting[0][0] <= step:
            job.correct(*waiting.pop(0)[1:])

    correct(0)
    with closing(job.events()) as events:
        for event in events:
            if isinstance(event, StepDone):
                correct(event.step)
            if event is not None:
                yield event


def predict_again(
    predicted: PredictedRun,
    model: Path,
    output: Path,
    images: Path | None = None,
    device: str | None = None,
) -> Generator[Event, None, None]:
    """Repeat the predictions with the model of a run, with its replayed model.

    The events are those of `predict_files`. Arguments are as for `replay`.
    """
    files: dict[str | None, list[Path]] = {}
    for row in predicted.files:
        files.setdefault(row.axes, []).append(find_file(row.file, images))
    settings = predicted.settings
    if device is not None:
        settings = settings.replace(device=device)
    loaded = load_model(model)
    predictor = FilePredictor(
        prepare(loaded, settings.device, settings.precision, file=model),
        loaded.card,
        settings,
        predicted.segmentation,
        PredictionFolder(output, predicted.kinds),
        model,
        channel=predicted.channel,
    )
    for axes, some in files.items():
        yield from predict_files(predictor, some, axes)


def _repeatable(folder: Path) -> TrainedRun:
    """Read a run; a ValueError says why it cannot be repeated."""
    record = read_run(folder)
    if record.problem:
        raise ValueError(f"{folder}: the run cannot be repeated: {record.problem}.")
    if len(record.timetables) != record.card.members:
        raise ValueError(
            f"{folder}: is damaged, it has {len(record.timetables)} timetables for "
            f"{record.card.members} networks."
        )
    return record


def _check_unchanged(run: TrainingRun, record: TrainedRun) -> None:
    """ValueError if images have changed since the run."""
    then = [field.sha256 for field in record.fields]
    now = list(run.log.fingerprints)
    if now == then:
        return
    if len(now) != len(then):
        raise ValueError(
            f"the run learnt from {len(then)} planes or volumes, of which {len(now)} "
            "have annotation in its folder: files in it were changed."
        )
    changed = [
        printable(record.images[field.image].name)
        for field, new in zip(record.fields, now, strict=True)
        if field.sha256 != new
    ]
    raise ValueError(
        f"{listed(list(dict.fromkeys(changed)))}: changed since the run learnt from it."
    )
