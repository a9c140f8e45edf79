"""`--on HOST`: the same training or prediction, on another computer."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_unet.cli.prediction_progress import follow_files
from napari_unet.cli.progress import ProgressLine
from napari_unet.cli.stopping import Stopped
from napari_unet.cli.training_progress import follow_events
from napari_unet.cli.training_source import source_of
from napari_unet.core.events import ModelSaved
from napari_unet.core.far_messages import FarRun
from napari_unet.io.atomic import atomic
from napari_unet.io.bundle import write_bundle
from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.records import read_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_unet.cli.training_source import Source
    from napari_unet.core.events import Event
    from napari_unet.core.far_messages import Order
    from napari_unet.core.model import Model
    from napari_unet.io.prediction_basis import PredictionBasis


def run(options: argparse.Namespace) -> int:
    """Train on another computer, or follow a training that runs there."""
    from napari_unet.engine.far_job import Far, FarError, far_events

    line, path = ProgressLine(), _note_of(options.output)
    note = _read(path, options) if options.resume else None
    bundle: Path | None = None
    if note is None:
        note = FarRun(where=options.on, job=uuid4().hex, queue=options.queue or "")
        bundle = _bundle(options, source_of(options), line)
    preview = options.output.with_suffix(".preview.safetensors")
    far = Far(
        note.where,
        note.job,
        options.output,
        preview,
        note.queue,
        options.device or "auto",
    )
    wanted: Order = "resume"
    saved: ModelSaved | None = None
    try:
        events = far_events(far, bundle, lambda: wanted, line.say)
        shown = follow_events(_noted(events, path, note), line)
        with closing(shown):
            for event in shown:
                saved = event if isinstance(event, ModelSaved) else saved
    except KeyboardInterrupt as interrupt:
        line.say(
            f"no longer watched; the training on {note.where} goes on: --resume shows "
            "it again."
        )
        raise Stopped.after(interrupt) from None
    except FarError as error:
        raise ValueError(str(error)) from error
    finally:
        if bundle is not None:
            bundle.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    preview.unlink(missing_ok=True)
    if saved is None:
        line.say("the training was cancelled there.")
        return 1
    line.say(f"{options.output}: {saved.steps} steps, trained on {note.where}.")
    if saved.problem:
        line.say(saved.problem)
    return 1 if saved.problem else 0


def predict(
    options: argparse.Namespace,
    model: Model,
    basis: PredictionBasis,
    kinds: tuple[str, ...],
    files: list[Path],
) -> int:
    """Predict on another computer, into files here."""
    from napari_unet.engine.far_job import FarError
    from napari_unet.engine.far_prediction import FarPredictor

    for name in ("cluster", "cluster_options", "upload", "events", "orders"):
        if getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is for this computer: leave out --on.")
    line, folder = ProgressLine(), PredictionFolder(options.output, kinds)
    predictor = FarPredictor(model, basis, folder, options.on, options.queue or "")
    events = predictor.predict_files(
        files, lambda: "resume", line.say, options.axes, overwrite=options.overwrite
    )
    rest = (
        f"no longer watched; the prediction on {options.on} goes on: the same command "
        "shows it again."
    )
    try:
        return follow_files(options, kinds, _without_none(events), line, rest)
    except FarError as error:
        raise ValueError(str(error)) from error


def _without_none(
    events: Generator[Event | None, None, None],
) -> Generator[Event, None, None]:
    with closing(events):
        for event in events:
            if event is not None:
                yield event


def _noted(events: Iterator[Event | None], path: Path, note: FarRun) -> Iterator[Event]:
    """Pass events on; the record of the job is written before the first."""
    try:
        for event in events:
            if not path.exists():
                with atomic(path) as temporary:
                    temporary.write_text(note.model_dump_json(), encoding="utf-8")
            if event is not None:
                yield event
    finally:
        events.close()  # type: ignore[attr-defined]


def _bundle(options: argparse.Namespace, source: Source, line: ProgressLine) -> Path:
    """Write the bundle to be sent; return its path."""
    for note in source.notes:
        line.say(note)
    path: Path = options.output.with_suffix(".bundle.zip")
    settings, start = source.settings, source.start
    for _ in write_bundle(path, source.pairs, settings, start, source.notes):
        pass
    return path


def _note_of(output: Path) -> Path:
    return output.with_suffix(".far.json")


def _read(path: Path, options: argparse.Namespace) -> FarRun:
    try:
        note = FarRun.model_validate(read_json(path))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{options.output}: no training of it goes on elsewhere, {path} is not "
            "there."
        ) from None
    return note.replace(where=options.on)
