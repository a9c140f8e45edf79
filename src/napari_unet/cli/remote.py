"""`--on HOST`: the same training or prediction, on another computer."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_unet.cli.prediction_progress import follow_files
from napari_unet.cli.progress import ProgressLine
from napari_unet.cli.stopping import Stopped
from napari_unet.cli.training_progress import follow_events
from napari_unet.cli.training_source import source_of
from napari_unet.core.events import ModelSaved
from napari_unet.core.remote_messages import RemoteRun
from napari_unet.io.atomic import write_text
from napari_unet.io.bundle import write_bundle
from napari_unet.io.folder_lock import temporary_folder
from napari_unet.io.model_file import SUFFIX
from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.records import read_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_unet.cli.training_source import Source
    from napari_unet.core.events import Event
    from napari_unet.core.model import Model
    from napari_unet.io.prediction_basis import PredictionBasis


def run(options: argparse.Namespace) -> int:
    """Train on another computer, or follow a training that runs there."""
    from napari_unet.engine.remote_job import RemoteError, RemoteJob, remote_events

    _check_here(options, ("json", "events", "orders", "pulse"))
    line, path = ProgressLine(), _note_of(options.output)
    note = _read(path, options, line) if options.resume else None
    source = source_of(options) if note is None else None
    saved: ModelSaved | None = None
    # beside the model, where there is room for both
    where = options.output.absolute().parent
    with temporary_folder(where, ".napari-unet-far-") as between:
        bundle = None if source is None else _bundle(source, between, line)

        if note is None:
            note = RemoteRun(
                where=options.on, job=uuid4().hex, queue=options.queue or ""
            )
        job = RemoteJob(
            note,
            options.output,
            between / "preview.safetensors",
            options.device or "auto",
        )
        begun = partial(_keep, note, path)
        try:
            events = remote_events(job, bundle, lambda: "resume", line.say, begun)
            shown = follow_events(_without_none(events), line)
            with closing(shown):
                for event in shown:
                    saved = event if isinstance(event, ModelSaved) else saved
        except KeyboardInterrupt as interrupt:
            rest = "interrupted before the training was there; nothing goes on."
            if _goes_on(note, path):
                rest = f"no longer watched; {_rest(note)}"
            line.say(rest)
            raise Stopped.after(interrupt) from None
        except ConnectionError as error:
            if not _goes_on(note, path):
                raise
            raise ConnectionError(f"{error} No longer watched; {_rest(note)}") from None
        except RemoteError as error:
            raise ValueError(str(error)) from error
    path.unlink(missing_ok=True)
    if saved is None:
        line.say("the training was cancelled there.")
        return 1
    line.say(f"{options.output}: {saved.steps} steps, trained on {note.where}.")
    if saved.problem:
        line.say(saved.problem)
    return 1 if saved.problem else 0


def _rest(note: RemoteRun) -> str:
    return f"the training on {note.where} goes on: --resume shows it again."


def predict(
    options: argparse.Namespace,
    model: Model,
    basis: PredictionBasis,
    kinds: tuple[str, ...],
    files: list[Path],
) -> int:
    """Predict on another computer, into files here."""
    from napari_unet.engine.remote_job import RemoteError
    from napari_unet.engine.remote_prediction import RemotePredictor

    here = ("cluster", "cluster_options", "upload", "events", "orders", "pulse")
    _check_here(options, here)
    line, folder = ProgressLine(), PredictionFolder(options.output, kinds)
    predictor = RemotePredictor(model, basis, folder, options.on, options.queue or "")
    events = predictor.predict_files(
        files, lambda: "resume", line.say, options.axes, overwrite=options.overwrite
    )
    rest = (
        f"no longer watched; the prediction on {options.on} goes on: the same command "
        "shows it again."
    )

    def interrupted() -> str:
        return rest if predictor.is_there else ""

    try:
        return follow_files(options, kinds, _without_none(events), line, interrupted)
    except RemoteError as error:
        raise ValueError(str(error)) from error


def _without_none(
    events: Generator[Event | None, None, None],
) -> Generator[Event, None, None]:
    with closing(events):
        for event in events:
            if event is not None:
                yield event


def _check_here(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Refuse options that are for this computer."""
    for name in names:
        if getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is for this computer: leave out --on.")


def _bundle(source: Source, folder: Path, line: ProgressLine) -> Path:
    """Write the bundle to be sent; return its path."""
    for note in source.notes:
        line.say(note)
    path, settings, start = folder / "bundle.zip", source.settings, source.start
    for _ in write_bundle(path, source.pairs, settings, start, source.notes):
        pass
    return path


def _note_of(output: Path) -> Path:
    # a name may have a dot: cells_0.5 is not cells_0.7
    return output.with_name(f"{output.name.removesuffix(SUFFIX)}.far.json")


def _keep(note: RemoteRun, path: Path) -> None:
    """Write down which job there it is."""
    write_text(path, note.model_dump_json())


def _goes_on(note: RemoteRun, path: Path) -> bool:
    """Whether a job there was written down."""
    try:
        return RemoteRun.model_validate(read_json(path)).job == note.job
    except (OSError, ValueError):
        return False


def _read(path: Path, options: argparse.Namespace, line: ProgressLine) -> RemoteRun:
    """Read which job there it is; say that it learns what was sent."""
    try:
        note = RemoteRun.model_validate(read_json(path))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{options.output}: no training of it goes on elsewhere, {path} is not "
            "there."
        ) from None
    line.say(
        f"{options.output}: the training goes on with the images, labels and settings "
        "that were sent; those that are given now are not looked at."
    )
    return note.replace(where=options.on)
