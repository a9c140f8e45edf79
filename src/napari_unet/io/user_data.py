"""The folder for data of the user that belong to no project."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path


def data_folder() -> Path:
    """Return the user's data folder, which the variable NAPARI_UNET_HOME may name."""
    home = os.environ.get("NAPARI_UNET_HOME")
    return Path(home) if home else user_data_path("napari-unet")
