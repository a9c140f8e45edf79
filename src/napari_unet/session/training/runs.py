"""The runs of a project: the models trained in it, with the folders of their runs."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.core.settings import Settings
from napari_unet.core.text import counted
from napari_unet.core.training.methods import methods
from napari_unet.io.atomic import atomic, move, remove_at_once
from napari_unet.io.learnt_data import annotated_objects
from napari_unet.io.model_file import SUFFIX, models_in, read_card
from napari_unet.io.names import is_portable
from napari_unet.io.run_folder import copy_run
from napari_unet.io.trained_run import read_run, run_folder_of, write_record
from napari_unet.session.training.run_record import RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.model import ModelCard
    from napari_unet.io.trained_run import TrainedRun
    from napari_unet.session.project.store import ProjectStore

# Settings that make no difference between results.
_UNCOMPARED = {"decisions", "by_hand"}


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A model that was trained in the project.

    `folder` and `record` are None of one from before runs were kept.
    """

    path: Path  # of the model
    card: ModelCard
    folder: Path | None
    record: TrainedRun | None
    written: float  # seconds since 1970

    @property
    def name(self) -> str:
        """Of the model."""
        return self.card.name

    @property
    def when(self) -> str:
        """When it ended, in local time."""
        return f"{datetime.fromtimestamp(self.written):%Y-%m-%d %H:%M}"

    @property
    def notes(self) -> str:
        """By people."""
        return self.record.notes if self.record else ""

    @property
    def line(self) -> str:
        """A description in one line."""
        card, record = self.card, self.record
        score = card.score.words if card.score else "not judged"
        field = "slice" if card.architecture.ndim == 2 else "volume"
        parts = [score, counted(len(card.images), field)]
        if record is not None:
            parts.append(f"{record.seconds / 60:.1f} min")
        if card.parent:
            parts.append(f"from {card.parent}")
        return " · ".join(parts)


def methods_of(path: Path, card: ModelCard) -> str:
    """Return the paragraph for a paper, with what is kept of the run of a model."""
    run = kept_run(path, card)
    if run.folder is None or run.record is None:
        return methods(card)
    objects = None
    with suppress(ValueError, OSError):  # the other figures are right without it
        objects = annotated_objects(run.folder, run.record)
    return methods(card, run.record.seconds, objects)


def kept_run(path: Path, card: ModelCard) -> Run:
    """Return the run of a model file, with what is kept of it."""
    folder, record, written = run_folder_of(path), None, path.stat().st_mtime
    with suppress(ValueError, OSError):
        record = read_run(folder)
    # what was kept of another model of this name says nothing of this one
    if record is None or record.card.replace(name=card.name) != card:
        return Run(path, card, None, None, written)
    return Run(path, card, folder, record, written)


class RunList:
    """Lists the runs of a project, the latest first, and renames, exports or deletes.

    Failures are a ValueError or OSError with one sentence.
    """

    changed = Signal()

    def __init__(self, store: ProjectStore) -> None:
        self._store = store
        self._read: dict[Path, tuple[float, float, Run]] = {}
        self.entries: tuple[Run, ...] = ()

    def refresh(self) -> None:
        """Read the folder again; unchanged files are cached."""
        every = map(self._entry, models_in(self._store.run_folder))
        found = [run for run in every if run is not None]
        found.sort(key=lambda run: run.written, reverse=True)
        if found != list(self.entries):
            self.entries = tuple(found)
            self.changed.emit()

    def rename(self, run: Run, name: str) -> Path:
        """Give a run, its model and where the project names it another name.

        Returns
        -------
        Path
            The file of the model, from now on.
        """
        if not (name.strip() and is_portable(f"{name}{SUFFIX}")):
            raise ValueError(
                f"{name!r} is no name of a file on every system: leave out / \\ : * ? "
                '" < > and |, a space or dot at the beginning, and names such as con.'
            )
        path = run.path.with_name(f"{name}{SUFFIX}")
        if path.exists() or run_folder_of(path).exists():
            raise FileExistsError(f"There is a model {name} already.")
        move(run.path, path)
        if run.folder is not None and run.record is not None:
            try:
                move(run.folder, run_folder_of(path))
            except OSError:  # on Windows another program may have a file in it open
                move(path, run.path)
                raise
            write_record(run_folder_of(path), run.record.replace(model=path.name))
        self._name_instead(run.path, path)
        self.refresh()
        return path

    def delete(self, run: Run) -> None:
        """Delete the model and the folder of its run."""
        run.path.unlink(missing_ok=True)
        if run.folder is not None:
            remove_at_once(run.folder)
        self._name_instead(run.path, None)
        self.refresh()

    def export(self, run: Run, folder: Path) -> Path:
        """Copy model and run into a folder; return the copy of the model."""
        target = folder / run.path.name
        for there in (target, run_folder_of(target)):
            if there.exists():
                raise FileExistsError(f"{there}: is there already.")
        if run.folder is not None:
            copy_run(run.folder, run_folder_of(target))
        with atomic(target) as temporary:
            shutil.copyfile(run.path, temporary)
        return target

    def set_notes(self, run: Run, notes: str) -> None:
        """Keep the user's notes on a run."""
        if run.folder is None or run.record is None:
            raise ValueError(f"{run.name}: no folder of its run is there for notes.")
        write_record(run.folder, run.record.replace(notes=notes))
        self.refresh()

    def _entry(self, path: Path) -> Run | None:
        record_file = run_folder_of(path) / "run.json"
        times = (
            path.stat().st_mtime,
            record_file.stat().st_mtime if record_file.is_file() else 0.0,
        )
        known = self._read.get(path)
        if known is not None and known[:2] == times:
            return known[2]
        try:
            card = read_card(path)
        except (ValueError, OSError):
            return None  # the list of models reports it
        if not card.steps:
            return None  # another program's
        run = kept_run(path, card)
        self._read[path] = (*times, run)
        return run

    def _name_instead(self, path: Path, other: Path | None) -> None:
        """Replace a file by another one, or none, wherever the project names it."""
        store = self._store
        project = store.project

        def named(text: str) -> str | None:
            if store.folder / text != path:
                return text
            return None if other is None else str(other)

        record = RunRecord.read(store.run_folder)
        if record is not None and record.start_file(store.run_folder) == path and other:
            # an interrupted run goes on from it
            record.replace(start=other.name).write(store.run_folder)
        models = tuple(m for m in map(named, project.models) if m is not None)
        start = project.start and named(project.start)
        store.update(project.replace(models=models, start=start))


def same_parts(one: ModelCard, other: ModelCard) -> bool:
    """Whether two models have the same held-out parts, as far as is known.

    They follow from the annotation and the seed.
    """
    return (
        [(i.sha256, i.annotated) for i in one.images]
        == [(i.sha256, i.annotated) for i in other.images]
        and one.training.seed == other.training.seed
        and one.training.validation == other.training.validation
        and one.members == other.members
        and one.score is not None
        and other.score is not None
        and one.score.pixels == other.score.pixels
    )


def differences(one: Run, other: Run) -> list[tuple[str, str, str]]:
    """Return the differences of two runs: name and both values."""
    rows = zip(_properties(one).items(), _properties(other).values(), strict=True)
    return [(name, a, b) for (name, a), b in rows if a != b]


def _properties(run: Run) -> dict[str, str]:
    """Return all properties of a run in which runs may differ, by name."""
    card = run.card
    minutes = f"{run.record.seconds / 60:.1f}" if run.record else "not known"
    settings = {
        name.replace("_", " ").capitalize(): str(value)
        for name, value in _flat(card.training).items()
    }
    return {
        "Score": card.score.words if card.score else "not judged",
        "Steps done": str(card.steps),
        "Minutes taken": minutes,
        "Images": str(len(card.images)),
        "Annotated pixels": str(sum(image.annotated for image in card.images)),
        "Classes": ", ".join(c.name for c in card.classes),
        "Started from": card.parent or "scratch",
        **settings,
    }


def _flat(settings: Settings, before: str = "") -> dict[str, Any]:
    """Return all single settings by their names, those of parts with the part's."""
    found: dict[str, Any] = {}
    for name, value in settings:
        if isinstance(value, Settings):
            found |= _flat(value, f"{before}{name} ")
        elif name not in _UNCOMPARED:
            found[before + name] = value
    return found
