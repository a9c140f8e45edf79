"""What holds for all projects of a person: device, memory, how often to save."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_unet.core.settings import NonNegative, Settings


class Preferences(Settings):
    """Shown in napari's preferences; the manifest repeats defaults and bounds."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where networks compute: auto takes a GPU if there is one."
    )
    memory_gb: NonNegative = Field(
        0.0, description="Memory that networks may use, in GB; 0 for what is free."
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
