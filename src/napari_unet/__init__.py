"""U-Net segmentation of microscopy images from a few annotated slices.

Importing this package is cheap: names are loaded on first use, and torch only when
a name needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unet.core import metrics
    from napari_unet.core.cells.instances import segment_instances
    from napari_unet.core.cells.tracking import track_cells
    from napari_unet.core.training.loss_weights import border_weights
    from napari_unet.core.training.methods import methods
    from napari_unet.engine.inference.overlap_tile import predict
    from napari_unet.engine.model_formats.catalogue import read_model
    from napari_unet.engine.network.unet import UNet
    from napari_unet.engine.replay import replay
    from napari_unet.engine.training.train import train
    from napari_unet.io.model_file import load_model, save_model
    from napari_unet.io.run_folder import save_run

# The name on PyPI, where `napari-unet` is a package by others. It stands in
# pyproject.toml, the manifest and the documentation, too: `make rename` changes all.
DISTRIBUTION = "napari-interactive-unet"
__version__ = "0.1.0"

__all__ = [
    "DISTRIBUTION",
    "UNet",
    "__version__",
    "border_weights",
    "load_model",
    "methods",
    "metrics",
    "predict",
    "read_model",
    "replay",
    "save_model",
    "save_run",
    "segment_instances",
    "track_cells",
    "train",
]

_HOME = {
    "UNet": "engine.network.unet",
    "border_weights": "core.training.loss_weights",
    "load_model": "io.model_file",
    "methods": "core.training.methods",
    "predict": "engine.inference.overlap_tile",
    "read_model": "engine.model_formats.catalogue",
    "replay": "engine.replay",
    "save_model": "io.model_file",
    "save_run": "io.run_folder",
    "segment_instances": "core.cells.instances",
    "track_cells": "core.cells.tracking",
    "train": "engine.training.train",
}


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module("napari_unet.core.metrics")
    if name in _HOME:
        return getattr(import_module(f"napari_unet.{_HOME[name]}"), name)
    raise AttributeError(f"module 'napari_unet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
