"""Shared arrays and jobs on discs in noise, for tests of the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.array_reference import (
    AnnotationReference,
    ArrayReference,
    ImageReference,
)
from napari_unet.core.jobs import PredictJob, TrainJob
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Training(
    width=4,
    depth=2,
    batch=1,
    patch=36,
    steps=12,
    minutes=0,
    validation=0,
    precision="fp32",
)
CPU = Prediction(device="cpu", precision="fp32")


def discs(seed: int = 0, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs in noise, and their annotation: 1 background, ids from 2."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.ones((size, size), np.int32)
    for number in range(2, 2 + size * size // 1000):
        cy, cx = rng.uniform(8, size - 8, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 49] = number
    image = (labels > 1) + rng.normal(0, 0.3, labels.shape)
    return image.astype(np.float32), labels


def stored(folder: Path, name: str, array: np.ndarray) -> ArrayReference:
    """An array in a raw file."""
    made = ArrayReference.create(folder / f"{name}.raw", array.shape, array.dtype.str)
    made.open(writable=True)[...] = array
    return made


def stored_image(
    folder: Path, array: np.ndarray, axes: str, name: str = "image"
) -> ImageReference:
    return ImageReference((stored(folder, name, array),), axes, None, name)


def stored_annotation(
    folder: Path, labels: np.ndarray, axes: str
) -> AnnotationReference:
    return AnnotationReference(
        stored(folder, "annotation", labels), axes, (ClassInfo(),), {}
    )


def train_job(
    folder: Path, settings: Training = SMALL, size: int = 96, **rest: Any
) -> TrainJob:
    """Train on two slices of three; all files lie in the folder."""
    folder.mkdir(exist_ok=True)
    planes = [discs(seed, size) for seed in range(3)]
    labels = np.stack([planes[0][1], planes[1][1], np.zeros((size, size), np.int32)])
    image = stored_image(folder, np.stack([p[0] for p in planes]), "zyx")
    given: dict[str, Any] = {
        "images": (image,),
        "annotations": (stored_annotation(folder, labels, "zyx"),),
        "places": (((0, 0), (0, 1)),),
        "settings": settings,
        "output": str(folder / "model.safetensors"),
        "checkpoint": str(folder / "checkpoint.safetensors"),
        "device": "cpu",
    }
    return TrainJob(**(given | rest))


def predict_job(
    folder: Path, model: str, image: ImageReference, classes: int = 2, **rest: Any
) -> PredictJob:
    """Predict into new arrays of the folder."""
    folder.mkdir(exist_ok=True)
    axes = image.axes.replace("c", "")
    opened = image.open()
    shape = tuple(opened.size(a) for a in axes)
    given: dict[str, Any] = {
        "model": model,
        "image": image,
        "probabilities": ArrayReference.create(
            folder / "p.raw", (classes, *shape), "float32"
        ),
        "classes": ArrayReference.create(folder / "c.raw", shape, "uint8"),
        "entropy": ArrayReference.create(folder / "e.raw", shape, "float32"),
        "settings": CPU,
    }
    return PredictJob(**(given | rest))
