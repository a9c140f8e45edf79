"""Preferences of a person for all projects: device, memory, how often to save."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from napari_unet.core.settings import Prediction, Settings

# A list, because napari's preferences check no other rule of a text.
# fmt: off
Device = Literal[
    "auto", "cpu", "cuda", "cuda:1", "cuda:2", "cuda:3", "cuda:4", "cuda:5", "cuda:6",
    "cuda:7", "mps",
]
# fmt: on


class Preferences(Settings):
    """Shown in napari's preferences; the manifest repeats defaults and bounds."""

    device: Device = Field(
        "auto",
        description=(
            "Where networks compute: auto takes a GPU if there is one, cuda:1 is the "
            "second GPU."
        ),
    )
    memory_gb: float = Field(
        0.0,
        ge=0,
        le=100_000,
        description="Memory that a prediction may take, in GB; 0 takes what is free.",
    )
    autosave_seconds: float = Field(
        2.0,
        ge=0.5,
        le=60,
        description="Longest time until strokes are on disk, in seconds.",
    )
    model_folder: str = Field(
        "", description="Folder whose model files are offered; empty for none."
    )

    ask_before_closing: bool = Field(
        True,
        description=(
            "Ask before napari closes with predictions that are in no file, or with "
            "work that is not done."
        ),
    )
    show_guide: bool = Field(
        True,
        description="Show the next of five steps at the top of the docks.",
    )

    learn_corrections: bool = Field(
        False,
        description=(
            "Show what is painted over predicted cells at once, and have a copy of the "
            "model in use learn it."
        ),
    )

    def prediction(self, **settings: Any) -> Prediction:
        """Return settings of a prediction with the device and memory of this person.

        `settings` are the other fields of `Prediction`.
        """
        return Prediction(device=self.device, memory_gb=self.memory_gb, **settings)
