"""A folder of predictions: where each goes, what is there, and what made it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from napari_unet.io.atomic import atomic, remove
from napari_unet.io.names import image_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.core.settings import Prediction, Segmentation

KINDS = ("probabilities", "classes", "instances")
RECORD = "prediction.json"
UNFINISHED = "unfinished"


class PredictionFolder:
    """A folder with a subfolder for each kind of output, and one for unfinished ones.

    Parameters
    ----------
    folder : Path
    kinds : tuple of str
        Out of `KINDS`.
    """

    def __init__(self, folder: Path, kinds: tuple[str, ...] = KINDS) -> None:
        self.folder = folder
        self.kinds = kinds

    def missing(self, file: Path) -> tuple[str, ...]:
        """Return the kinds of output that are not there yet; a file is complete."""
        return tuple(k for k in self.kinds if not self.target(file, k).exists())

    def target(self, file: Path, kind: str) -> Path:
        """Return where an output of an image is written."""
        suffix = ".zarr" if file.is_dir() else ".tif"
        return self.folder / kind / (image_name(file) + suffix)

    def place(self, file: Path, kind: str) -> Path:
        """Return where to write an output, in a folder that is there."""
        target = self.target(file, kind)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def unfinished(self, file: Path) -> Path:
        """Return where outputs of an image are that take long, until all are done."""
        return self.folder / UNFINISHED / image_name(file)

    def maker(self) -> dict[str, Any]:
        """Return what makes its predictions, as `claim` noted it."""
        record = self.folder / RECORD
        if not record.exists():
            return {}
        noted: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        return noted

    def claim(
        self,
        model: Path,
        settings: Prediction,
        segmentation: Segmentation,
        *,
        overwrite: bool = False,
    ) -> None:
        """Note in the folder what makes its predictions; refuse to mix two makers.

        What is unfinished is begun anew if predictions are to be overwritten.

        Raises
        ------
        ValueError
            If it holds predictions of another model or of other settings, and they are
            not to be overwritten.
        """
        maker = {
            "model": model.name,
            "sha256": sha256(model.read_bytes()).hexdigest(),
            "prediction": settings.model_dump(exclude={"device", "tile", "memory_gb"}),
            "segmentation": segmentation.model_dump(),
        }
        before = self.maker()
        if overwrite:
            remove(self.folder / UNFINISHED)
        elif before and before != maker:
            raise ValueError(
                f"{self.folder} holds predictions of {before.get('model')} with "
                "other weights or settings; use another folder or --overwrite."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic(self.folder / RECORD) as temporary:
            temporary.write_text(json.dumps(maker, indent=2), encoding="utf-8")


def check_names(files: Sequence[Path]) -> None:
    """Refuse images whose outputs would overwrite each other.

    Raises
    ------
    ValueError
        If two have one name.
    """
    names = [image_name(file) for file in files]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(
            f"several images are named {twice[0]!r} and would overwrite each other; "
            "predict them into different folders."
        )
