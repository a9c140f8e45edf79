"""What the results of a prediction depend on, wherever it is computed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_unet.core.text import encodable, unreadable
from napari_unet.io.names import split_number
from napari_unet.io.provenance import Provenance, content_stamp
from napari_unet.io.remote import absolute
from napari_unet.io.run_folder import has_run, note_prediction
from napari_unet.io.trained_run import PredictedFile, PredictedRun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.io.prediction_folder import PredictionFolder


@dataclass(frozen=True, slots=True)
class PredictionBasis:
    """A model and settings; `settings` has the precision that was used."""

    model: Path
    sha256: str  # a hash of what the model is
    settings: Prediction
    segmentation: Segmentation
    channel: int | None = None  # channel that the network sees, from 1; None: all
    finds_cells: bool = True  # else the network makes images

    def makes(self, axes: str | None = None) -> dict[str, Any]:
        """Return what all results depend on besides the image, as JSON can hold it.

        Also the settings for cells where no cells are requested: all results in a
        folder are made in the same way.
        """
        settings = self.settings.model_dump(
            include={"averaging", "rescale", "precision"}
        )
        settings |= {"axes": axes}
        if self.channel is not None:
            settings |= {"channel": self.channel}
        if self.finds_cells:
            settings |= self.segmentation.model_dump()
        return {"model_sha256": self.sha256, "settings": settings}

    def provenance(self, file: Path, axes: str | None) -> Provenance:
        """Return what the results of an image are made from.

        An OSError, in a sentence, if the file cannot be read.
        """
        try:
            stamp = content_stamp(file)
        except OSError as error:
            raise unreadable(file, error) from error
        name = split_number(file)[0].name
        return Provenance(name, stamp, model=self.model.name, **self.makes(axes))

    def note(self, folder: PredictionFolder) -> None:
        """Note in the folder what a completed run used."""
        folder.note(
            {
                "model": self.model.name,
                "sha256": self.sha256,
                "prediction": self.settings.model_dump(
                    exclude={"device", "tile", "memory_gb"}
                ),
                "segmentation": self.segmentation.model_dump(),
            }
        )

    def note_in_run(
        self, folder: PredictionFolder, files: Sequence[Path], axes: str | None = None
    ) -> None:
        """Note the results in the folder of the model's training run, if it exists."""
        if not has_run(self.model, self.sha256):
            return
        rows = [
            PredictedFile(
                file=encodable(absolute(file)),
                axes=axes,
                results={
                    encodable(f"{path.parent.name}/{path.name}"): content_stamp(path)
                    for path in folder.results(file)
                },
            )
            for file in files
        ]
        predicted = PredictedRun(
            output=encodable(folder.folder.absolute()),
            kinds=folder.kinds,
            settings=self.settings,
            segmentation=self.segmentation,
            channel=self.channel,
            files=tuple(rows),
        )
        # the results exist: the folder of the run may be read-only
        with suppress(OSError):
            note_prediction(self.model, predicted)
