"""What is written down of a training run, so that it can go on after a crash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from napari_unet.core.recipe import Training
from napari_unet.core.settings import Settings
from napari_unet.io.atomic import atomic
from napari_unet.io.model_file import SUFFIX

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_FILE = "run.json"
_CHECKPOINT_SUFFIX = f".checkpoint{SUFFIX}"
_SMALLEST_PATCH = 4


class RunRecord(Settings):
    """The essentials of a run that has not come to its end.

    Files are named without their folder: a project may be moved.
    """

    name: str = Field(description="Of the model, without suffix.")
    settings: Training
    start: str | None = Field(None, description="Model file it started from.")
    images: tuple[str, ...] = Field(description="Ids in the project.")
    places: tuple[tuple[tuple[int, int | None], ...], ...] = Field(
        description="Planes or volumes of each image that it began with."
    )
    classes: int = Field(1, ge=1, description="Foreground classes.")

    @classmethod
    def read(cls, folder: Path) -> RunRecord | None:
        """Read the run that was interrupted; None if none was, or it cannot go on."""
        try:
            text = (folder / _FILE).read_text(encoding="utf-8")
            record = cls.model_validate_json(text)
        except (OSError, ValidationError):
            return None
        return record if record.checkpoint(folder).exists() else None

    def write(self, folder: Path) -> None:
        """Write it down in the folder of the runs."""
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / _FILE) as temporary:
            temporary.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    def remove(self, folder: Path) -> None:
        """Forget it: the run came to its end, or is not to go on."""
        (folder / _FILE).unlink(missing_ok=True)
        self.checkpoint(folder).unlink(missing_ok=True)

    def output(self, folder: Path) -> Path:
        """Model file that the run writes at its end."""
        return folder / f"{self.name}{SUFFIX}"

    def checkpoint(self, folder: Path) -> Path:
        """File with all that is needed to go on."""
        return folder / f"{self.name}{_CHECKPOINT_SUFFIX}"

    def smaller(self) -> RunRecord:
        """Return it with patches of half the size, for which memory may suffice."""
        patch = max(self.settings.patch // 2, _SMALLEST_PATCH)
        return self.replace(settings=self.settings.replace(patch=patch))


def latest_model(folder: Path) -> Path | None:
    """Return the model that was written last in the folder of the runs."""
    models = [
        (path.stat().st_mtime, path)
        for path in folder.glob(f"*{SUFFIX}")
        if not path.name.endswith(_CHECKPOINT_SUFFIX)
    ]
    return max(models)[1] if models else None


def name_for_run(title: str, now: datetime, folder: Path) -> str:
    """Return a readable name that no file of the folder has.

    Parameters
    ----------
    title : str
        What was trained on; what file names cannot hold is left out.
    now : datetime
    folder : Path

    Returns
    -------
    str
        Such as "nuclei 2026-11-21 14.03", without suffix.
    """
    words = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', " ", title)
    words = " ".join(words.split()).strip(" .")[:60] or "model"
    stem = f"{words} {now:%Y-%m-%d %H.%M}"
    names = [stem, *(f"{stem} ({n})" for n in range(2, 1000))]
    suffixes = (SUFFIX, _CHECKPOINT_SUFFIX)
    for name in names:
        if not any((folder / f"{name}{s}").exists() for s in suffixes):
            return name
    return f"{stem}.{now:%S%f}"
