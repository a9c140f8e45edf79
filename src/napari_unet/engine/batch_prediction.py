"""Prediction of many files; a failure of one does not stop the others."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import replace
from time import sleep
from typing import TYPE_CHECKING

from napari_unet.core.events import FileBegun, FilePredicted, FileWaits
from napari_unet.engine.file_problem import problem_of
from napari_unet.io.folder_lock import BusyError
from napari_unet.io.names import split_number
from napari_unet.io.prediction_folder import TABLE, distinct_files
from napari_unet.io.remote import is_in_folder
from napari_unet.io.summary import check_summary, write_summary

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.engine.cluster.files import Outcome
    from napari_unet.engine.cluster.jobs import FilesJob
    from napari_unet.engine.cluster.pool import Pool
    from napari_unet.engine.file_prediction import FilePredictor
    from napari_unet.io.prediction_basis import PredictionBasis
    from napari_unet.io.prediction_folder import PredictionFolder

_SECONDS = 0.2


def predict_files(
    predictor: FilePredictor,
    files: Sequence[Path],
    axes: str | None = None,
    *,
    overwrite: bool = False,
) -> Generator[Event, None, None]:
    """Predict files into the predictor's folder; arguments as for its `events`.

    Files on which another run with the same settings works come last, if they are not
    done by then. Tables of cells are summarised, with a row for each image that
    did not fail.

    Yields
    ------
    Event
        `FileBegun`, the events of `FilePredictor.events`, and one `FilePredicted` for
        each file, also if it could not be predicted; `FileWaits` now and then while
        only files are left on which others work.

    Raises
    ------
    ValueError
        If two files have one name, or an output would replace an input.
    OSError
        If the folder cannot be written to, or another run works in it with another
        model or other settings.
    """
    files = distinct_files(files)
    predictor.folder.check_targets(files)
    if TABLE in predictor.folder.kinds:
        check_summary(predictor.folder)
    with predictor.folder.claimed(predictor.basis.makes(axes)) as claim:
        left = deque(enumerate(files, start=1))
        failed: set[Path] = set()
        put_off = done = 0
        if (pool := predictor.pool) is not None:
            job = predictor.files_job(pool, axes, claim, overwrite=overwrite)
            outcome = yield from _on_workers(pool, job, left)
            done, failed, left = outcome.done, outcome.failed, deque(outcome.large)
        while left:
            number, file = left.popleft()
            yield FileBegun(str(file), number, len(files))
            problem = None
            try:
                with closing(
                    predictor.events(file, axes, overwrite=overwrite)
                ) as events:
                    for event in events:
                        if isinstance(event, FilePredicted):
                            event = replace(event, progress=(done + 1) / len(files))
                        yield event
            except BusyError:
                left.append((number, file))
                put_off += 1
                if put_off >= len(left):
                    yield FileWaits(str(file))
                    sleep(_SECONDS)
                continue
            except (ValueError, OSError, MemoryError) as error:
                problem = problem_of(file, error)
            put_off, done = 0, done + 1
            if problem is not None:
                failed.add(file.absolute())
                yield FilePredicted(str(file), 0, done / len(files), problem)
        conclude(predictor.folder, predictor.basis, files, axes, failed)


def conclude(
    folder: PredictionFolder,
    basis: PredictionBasis,
    files: Sequence[Path],
    axes: str | None,
    failed: Collection[Path],
) -> None:
    """Summarise the tables; after success, record what the results were made from.

    A table of an image that `failed` (absolute paths) may be of an earlier image.
    """
    if TABLE in folder.kinds:
        sound = [file for file in files if file.absolute() not in failed]
        write_summary(folder, sound, axes)
    if not failed:
        basis.note(folder)
        basis.note_in_run(folder, files, axes)


def _on_workers(
    pool: Pool, job: FilesJob, files: Sequence[tuple[int, Path]]
) -> Generator[Event, None, Outcome]:
    """Predict files on workers, one worker each; large ones are left for steps."""
    from napari_unet.engine.cluster.files import predict_on_workers

    cut = [row for row in files if is_in_folder(split_number(row[1])[0])]
    others = [(n, file.absolute()) for n, file in files if (n, file) not in cut]
    outcome = yield from predict_on_workers(pool.client, job, others, len(files))
    outcome.large = sorted([*cut, *outcome.large])
    return outcome
