"""Images that are predicted in blocks, and what came of them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.engine.inference.block_sizes import BlockSizes
from napari_unet.io.export import write_weights
from napari_unet.io.images import read_image
from napari_unet.io.prediction_folder import KINDS

CPU = Prediction(device="cpu", precision="fp32", tile=32)
ALL = Segmentation(min_size=0)
SIZES = BlockSizes(
    predicted_plane=(64, 64),
    predicted_volume=(8, 32, 32),
    whole=0,
    plane=(48, 48),
    volume=(8, 16, 16),
    plane_margin=40,
    volume_margin=16,
)


def write_image(file, shape, axes, spacing=None, seed=0):
    """Write blobs in the second of two channels, that of cells; the first is even."""
    sigma = [2, 2, 2] if axes == "zyx" else [0] * (len(shape) - 2) + [3, 3]
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    # so few that they do not all touch each other, in planes and in volumes
    blobs = np.maximum(rough / rough.std() - (axes == "zyx"), 0).astype(np.float32)
    at = axes.index("y")
    both = np.stack([0 * blobs, blobs], at)
    write_weights(file, both, axes[:at] + "c" + axes[at:], spacing)


def told(running, kind):
    return [event for event in running if isinstance(event, kind)]


def outputs(folder, suffix, kinds=KINDS):
    """Read the outputs, axes in one order."""
    found = {}
    for kind in kinds:
        (file,) = (folder / kind).glob(f"*{suffix}")
        image = read_image(file)
        axes = [image.axes.index(a) for a in "tczyx" if a in image.axes]
        found[kind] = np.asarray(image.data[...]).transpose(axes)
    return found
