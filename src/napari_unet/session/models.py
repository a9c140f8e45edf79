"""The list of model files, and the chosen one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.images.rescaling import written
from napari_unet.core.model import Score
from napari_unet.core.network.blended import note_of_window
from napari_unet.core.text import listed
from napari_unet.io.model_file import models_in, read_card
from napari_unet.io.pretrained import starter_in, starter_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.model import ModelCard
    from napari_unet.session.preferences import Preferences
    from napari_unet.session.project.store import ProjectStore

_REMEMBERED = 20
# Folders within that of the runs, so that "the latest model" to start from is never
# one of these: trained denoisers, and models converted from other programs.
DENOISERS, CONVERTED = "denoise", "converted"
# End of the name of a plane of an image.
_PLANE = re.compile(r"( t=\d+)?( z=\d+)?$")


@dataclass(frozen=True, slots=True, eq=False)
class ModelEntry:
    """A model file, and when it was written, in seconds since 1970."""

    path: Path
    card: ModelCard
    written: float


class ModelList:
    """Models used in this project, of its runs, and in the folder of the preferences.

    Checkpoints are not listed, but can be added by hand. Models that make images, not
    masks, are listed apart, as `makers`.

    `pretrained` are models that come with the package, listed last.
    """

    changed = Signal()
    """The list changed."""
    selected_changed = Signal()
    """Another model was chosen, or the chosen one was written anew."""

    def __init__(
        self,
        store: ProjectStore,
        preferences: Preferences,
        pretrained: Sequence[Path] = (),
    ) -> None:
        self._store = store
        self._pretrained = tuple(pretrained)
        self.preferences = preferences
        self._read: dict[Path, ModelEntry] = {}
        # the most recently used first, then the newest, then those of the package
        self.entries: tuple[ModelEntry, ...] = ()
        self.makers: tuple[ModelEntry, ...] = ()
        self.entry: ModelEntry | None = None  # the chosen model
        # why files of the folders are not listed, a sentence each
        self.problems: dict[Path, str] = {}
        self.refresh()
        # whether a model of the package is chosen by the image
        self.automatic = False
        known = {*self._used(), *(e.path for e in self.own)}
        if self.entries and self.entries[0].path in known:
            self.entry = self.entries[0]
        else:
            self.automatic = bool(self.starters)

    @property
    def starters(self) -> tuple[ModelEntry, ...]:
        """The models that come with the package."""
        return tuple(e for e in self.entries if e.path in self._pretrained)

    @property
    def own(self) -> tuple[ModelEntry, ...]:
        """All models but those that come with the package."""
        return tuple(e for e in self.entries if e.path not in self._pretrained)

    @property
    def selected(self) -> Path | None:
        """File of the chosen model."""
        return self.entry.path if self.entry else None

    @property
    def card(self) -> ModelCard | None:
        """Card of the chosen model."""
        return self.entry.card if self.entry else None

    @property
    def used_last(self) -> Path | None:
        """File of the model of cells that was used last; it may have been deleted."""
        makers = {entry.path for entry in self.makers}
        return next((path for path in self._used() if path not in makers), None)

    def refresh(self) -> None:
        """Read the folders again; unchanged files are cached."""
        used, last = self._used(), self._pretrained
        found: dict[Path, ModelEntry] = {}
        self.problems = {}
        for path in dict.fromkeys([*used, *self._in_folders(), *last]):
            if path.is_file():
                try:
                    found[path] = self._read_entry(path)
                except (ValueError, OSError) as error:
                    self.problems[path] = str(error)
        others = [p for p in found if p not in used and p not in last]
        others.sort(key=lambda p: found[p].written, reverse=True)
        listed = dict.fromkeys([*used, *others, *last])
        before = self.entries, self.makers
        every = [found[p] for p in listed if p in found]
        self.entries = tuple(e for e in every if e.card.outputs is None)
        self.makers = tuple(e for e in every if e.card.outputs is not None)
        paths = [[e.path for e in one] for one in (self.entries, self.makers)]
        if paths != [[e.path for e in one] for one in before]:
            self.changed.emit()
        # the chosen file may have been written anew or deleted
        now = found.get(self.entry.path) if self.entry is not None else None
        if now is not self.entry:
            self.entry = now
            self.selected_changed.emit()

    def add(self, path: str | Path) -> ModelEntry:
        """Put a model file, or a checkpoint, at the top of the list.

        ValueError if it is none, is damaged, or is not there.
        """
        path = Path(path).absolute()
        try:
            entry = self._read_entry(path)
        except OSError as error:
            raise ValueError(str(error)) from error
        self._remember(path)
        self.refresh()
        return entry

    def select(self, path: str | Path | None) -> None:
        """Choose a model; one that is not in the list is added.

        ValueError as in `add`, or if it makes images.
        """
        path = Path(path).absolute() if path is not None else None
        if path == self.selected and not self.automatic:
            return
        listed = {e.path: e for e in self.entries}
        entry = None
        if path is not None:
            entry = listed[path] if path in listed else self.add(path)
            if entry.card.outputs is not None:
                raise ValueError(
                    f"{entry.card.name} finds no cells: it makes an image; choose it "
                    "under Denoise."
                )
        self.automatic = False
        self._choose(entry)

    def select_automatic(self) -> None:
        """Leave the choice to the image: until it is made, no model is chosen."""
        if not self.automatic:
            self.automatic = True
            self._choose(None)

    def propose(self, name: str | None) -> None:
        """Choose a model of the package, or none, if the choice is automatic."""
        if self.automatic:
            starters = {e.path.stem: e for e in self.starters}
            entry = starters[name] if name is not None else None
            if entry is not self.entry:
                self._choose(entry)

    def _choose(self, entry: ModelEntry | None) -> None:
        self.entry = entry
        self.selected_changed.emit()

    def note_use(self) -> None:
        """Put the chosen model at the top: it is offered first next time.

        Unless it was chosen automatically: that holds for one image only.
        """
        if self.entry is not None and not self.automatic:
            self._remember(self.entry.path)
            self.refresh()

    def _used(self) -> list[Path]:
        # relative in a project that was saved as a folder
        return [self._store.folder / p for p in self._store.project.models]

    def _in_folders(self) -> list[Path]:
        runs = self._store.run_folder
        folders = [runs, runs / DENOISERS, runs / CONVERTED]
        if self.preferences.model_folder:
            folders.append(Path(self.preferences.model_folder).expanduser())
        return [path.absolute() for folder in folders for path in models_in(folder)]

    def _read_entry(self, path: Path) -> ModelEntry:
        """Read a card, unless the file is unchanged since it was read."""
        time = path.stat().st_mtime if path.exists() else 0.0
        known = self._read.get(path)
        if known is None or known.written != time:
            self._read[path] = ModelEntry(path, read_card(path), time)
        return self._read[path]

    def _remember(self, path: Path) -> None:
        project = self._store.project
        others = [p for p in self._used() if p != path]
        models = tuple(str(p) for p in [path, *others][:_REMEMBERED])
        if models != project.models:
            self._store.update(project.replace(models=models))


def purpose_of(entry: ModelEntry) -> str:
    """Return the purpose of a model in a few words."""
    starter = starter_of(entry.path)
    if starter is not None:
        return starter.words
    card = entry.card
    if (found := starter_in(card)) is not None:
        # it has learnt corrections: what it was made for is still what it is for
        starter, others = found
        corrected = f" on {listed(_files(others), 1)}" if others else ""
        return f"{starter.words}, corrected{corrected}"
    names = ", ".join(c.name for c in card.classes)
    images = listed(_files([i.name for i in card.images]), 1)
    return f"{names} in images like {images}" if images else names


def _files(names: Sequence[str]) -> list[str]:
    """Return the names of images, each once, from those of their planes."""
    return list(dict.fromkeys(_PLANE.sub("", name) for name in names))


def describe(card: ModelCard) -> list[tuple[str, str]]:
    """Return a description of a model as pairs of a title and a text."""
    names = ", ".join(c.name for c in card.classes)
    network = f"{card.architecture.ndim}-D {card.network_title}"
    rows = [("Finds", names), ("Network", network)]
    if note := note_of_window(card.architecture):
        rows.append(("Window", note))
    if card.architecture.channels != 1:
        rows.append(("Channels", str(card.architecture.channels)))
    if card.spacing_um:
        rows.append(("Pixel size", written(card.spacing_um)))
    if card.training.scale != 1:
        rows.append(("Image size", f"{card.training.scale:g} of its own"))
    if card.images:
        rows.append(("Trained on", listed([i.name for i in card.images])))
    if isinstance(card.score, Score):
        rows.append(("Held-out IoU", f"{card.score.iou:.2f}"))
    if card.steps:
        rows.append(("Steps", str(card.steps)))
    if card.parent:
        rows.append(("Started from", card.parent))
    return rows
