"""Images, annotation, recipe and models of the scenes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.core.training.training_settings import PRESETS, Training
from napari_unet.io import samples

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# More than any of the sample's images has cells.
_IDS = 200


def stack(side: int = 0) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Return images of nuclei, and all their nuclei as annotation.

    Parameters
    ----------
    side : int
        0 for eight slices as they are; otherwise two square slices of this many pixels
        made by repeating an image.

    Returns
    -------
    images : ndarray of uint16, shape (z, y, x)
    annotation : ndarray of int32, shape (z, y, x)
        1 is background, 2 and up are nuclei.
    """
    pairs = [(np.asarray(i.data), np.asarray(t.data)) for i, t in samples.nuclei()]
    if side:
        pairs = [_repeated(*pair, side) for pair in pairs[:2]]
    images = np.stack([image for image, _ in pairs])
    truth = np.stack([labels for _, labels in pairs]).astype(np.int32)
    return images, truth + 1


def annotation() -> NDArray[np.int32]:
    """Return what is annotated of the eight slices: all of the first two."""
    labels = stack()[1]
    labels[2:] = 0
    return labels


def settings() -> Training:
    """Return a recipe that outlasts every scene."""
    return Training.quick().replace(minutes=0, steps=100_000, validation=0)


def save_untrained(path: Path, preset: Literal["quick", "paper"]) -> Path:
    """Write a model that was never trained and calls every pixel a cell."""
    import torch

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.model import Model, ModelCard
    from napari_unet.engine.network.network import to_arrays
    from napari_unet.engine.network.unet import UNet
    from napari_unet.io.model_file import save_model

    recipe = PRESETS[preset]()
    table = recipe.architecture(channels=1, classes=2)
    torch.manual_seed(0)
    weights = to_arrays(UNet(table).state_dict())
    weights["score.bias"] = np.array([-50.0, 50.0], np.float32)
    card = ModelCard(
        name=path.stem, architecture=table, classes=(ClassInfo(),), training=recipe
    )
    save_model(Model(card, weights), path)
    return path


def save_trained(path: Path) -> Path:
    """Train for half a minute on two of the sample's images, in another process."""
    nuclei = samples.folder("nuclei")
    names = sorted(p.name for p in (nuclei / "images").iterdir())[:2]
    parts = []
    for part in ("images", "labels"):
        folder = path.with_name(part)
        folder.mkdir(parents=True)
        for name in names:
            shutil.copy(nuclei / part / name, folder / name)
        parts.append(str(folder))
    command = [sys.executable, "-m", "napari_unet.cli.main", "train", *parts]
    command += ["--output", str(path), "--minutes", "0.5", "--labels", "instances"]
    subprocess.run(command, check=True, capture_output=True)
    return path


def _repeated(
    image: NDArray[np.uint16], truth: NDArray[np.integer], side: int
) -> tuple[NDArray[np.uint16], NDArray[np.integer]]:
    """Fill a square with copies, the nuclei of each with ids of their own."""
    rows, columns = (-(-side // n) for n in image.shape)
    wide = truth.astype(np.int32)
    copies = [
        [np.where(wide > 0, wide + _IDS * (r * columns + c), 0) for c in range(columns)]
        for r in range(rows)
    ]
    labels: NDArray[np.int32] = np.block(copies)[:side, :side]
    return np.tile(image, (rows, columns))[:side, :side], labels
