"""The record of a running training, from which it can be resumed after a crash."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, ValidationError, model_validator

from napari_unet.core.remote_messages import RemoteRun
from napari_unet.core.settings import Settings, explain
from napari_unet.core.training.training_settings import Training
from napari_unet.io.atomic import write_text
from napari_unet.io.model_file import (
    CHECKPOINT_SUFFIX,
    SUFFIX,
    checkpoint_of,
    models_in,
    remove_members,
)
from napari_unet.io.names import file_stem
from napari_unet.io.records import FileName, inside, private_folder, read_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

_FILE, _ASIDE = "run.json", ".run.json"
_SMALLEST_PATCH = 4
# In characters of up to four bytes, so that with all suffixes it is a valid name.
_LONGEST_TITLE = 40

_Index = Annotated[int, Field(ge=0, le=2**31 - 1)]

_log = logging.getLogger(__name__)


class RunRecord(Settings):
    """What is needed to resume a run.

    Files are named without their folder: a project may be moved.
    """

    name: FileName = Field(description="Of the model, without suffix.")
    settings: Training
    start: str | None = Field(
        None, description="Model file it started from: its name, if it is a run's."
    )
    images: tuple[str, ...] = Field(description="Ids in the project.")
    places: tuple[tuple[tuple[_Index, _Index | None], ...], ...] = Field(
        description="Planes or volumes of each image that it began with."
    )
    classes: int = Field(1, ge=1, le=253, description="Foreground classes.")
    far: RemoteRun | None = Field(None, description="Where it goes on, if not here.")

    @model_validator(mode="after")
    def _places_of_each_image(self) -> Self:
        if len(self.places) != len(self.images) or not self.images:
            raise ValueError(
                f"each image has its places, found {len(self.places)} lists of places "
                f"for {len(self.images)} images"
            )
        return self

    @classmethod
    def read(
        cls, folder: Path, report: Callable[[str], None] = _log.warning
    ) -> RunRecord | None:
        """Read the interrupted run; None if there is none that can be resumed.

        The last one, if several were. `report` is called with a sentence for each
        record that cannot be read.
        """
        aside = [path for path in folder.glob(f"*{_ASIDE}") if path.is_file()]
        aside.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        found = (cls._read(path, folder, report) for path in (folder / _FILE, *aside))
        return next((record for record in found if record is not None), None)

    @classmethod
    def _read(
        cls, path: Path, folder: Path, report: Callable[[str], None]
    ) -> RunRecord | None:
        try:
            record = cls.model_validate(read_json(path))
            inside(folder, record.checkpoint(folder).name)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            report(f"{path}: the interrupted training cannot go on: {explain(error)}")
            return None
        except (OSError, ValueError) as error:
            report(f"The interrupted training cannot go on: {error}")
            return None
        there = record.far is not None or record.checkpoint(folder).is_file()
        return record if there else None

    def write(self, folder: Path) -> None:
        """Write the record into the folder of the runs.

        The record of another interrupted run is renamed, not lost.
        """
        private_folder(folder)
        other = self._read(folder / _FILE, folder, _log.warning)
        if other is not None and other.name != self.name:
            (folder / _FILE).replace(folder / f"{other.name}{_ASIDE}")
        write_text(folder / _FILE, self.model_dump_json(indent=1), private=True)

    def start_file(self, folder: Path) -> Path | None:
        """Return the model that it started from, in the folder of the runs or not."""
        return None if self.start is None else folder / self.start

    def remove(self, folder: Path) -> None:
        """Delete the record: the run has ended, or is not to be resumed."""
        other = self._read(folder / _FILE, folder, _log.warning)
        if other is None or other.name == self.name:
            (folder / _FILE).unlink(missing_ok=True)
        (folder / f"{self.name}{_ASIDE}").unlink(missing_ok=True)
        self.checkpoint(folder).unlink(missing_ok=True)
        remove_members(self.checkpoint(folder))

    def output(self, folder: Path) -> Path:
        """Model file that the run writes at its end."""
        return folder / f"{self.name}{SUFFIX}"

    def checkpoint(self, folder: Path) -> Path:
        """The checkpoint, a model file with the state of the training."""
        return checkpoint_of(self.output(folder))

    def smaller(self) -> RunRecord:
        """Return the record with patches of half the size, to save memory."""
        patch = max(self.settings.patch // 2, _SMALLEST_PATCH)
        return self.replace(settings=self.settings.chosen(patch=patch))


def latest_model(folder: Path) -> Path | None:
    """Return the model that was written last in the folder of the runs."""
    models = models_in(folder)
    return max(models, key=lambda path: (path.stat().st_mtime, path), default=None)


def name_for_run(title: str, now: datetime, folder: Path) -> str:
    """Return a readable name without suffix that no file of the folder has.

    Such as "nuclei 2026-11-21 14.03"; of the title, what was trained on, all is left
    out that file names cannot hold.
    """
    words = file_stem(title, "model", fill=" ", longest=_LONGEST_TITLE).split()
    stem = f"{' '.join(words)} {now:%Y-%m-%d %H.%M}"
    suffixes = (SUFFIX, CHECKPOINT_SUFFIX)
    for name in (stem, *(f"{stem} ({n})" for n in range(2, 1000))):
        if not any((folder / f"{name}{suffix}").exists() for suffix in suffixes):
            return name
    return f"{stem}.{now:%S%f}"
