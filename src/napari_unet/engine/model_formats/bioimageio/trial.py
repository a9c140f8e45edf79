"""Whether a package's own test comes out here as the package says.

So it is found out if a step before or after the network is done otherwise than by those
who made it.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.network.opaque import Opaque
from napari_unet.core.text import shown, times

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.model import Model
    from napari_unet.engine.model_formats.bioimageio.description import (
        Package,
        TestTensor,
    )
    from napari_unet.engine.model_formats.bioimageio.files import PackageFiles

# Pixels that a network of usual size sees in a second or two.
_MOST = 2**20
# As the field's own library allows it.
_ALLOWED = 1e-3


def note_of_trial(files: PackageFiles, package: Package, model: Model) -> str:
    """Run a network on the test of its package, and report the result.

    A ValueError says that the test is damaged or the network cannot be run with it.
    """
    names = package.inputs[0].test_tensor, package.outputs[0].test_tensor
    if not all(one is not None and files.has(one.source) for one in names):
        return "It was not tried: the package has no test of it."
    given, expected = (_read(files, one) for one in names if one is not None)
    channels = len(package.inputs[0].channels)
    if given.shape[1] != channels:
        raise ValueError(
            f"{files.path}: the test in the package has {given.shape[1]} channels, its "
            f"description {channels}."
        )
    network = model.card.architecture
    if not isinstance(network, Opaque) or given[0, 0].size > _MOST:
        return "It was not tried: the test in the package is a large image."
    inner = tuple(
        slice(b - lost, lost - b or None)
        for b, lost in zip(network.border, network.lost, strict=True)
    )
    wanted, found = expected[0][:, *inner], _run(model, given[0])
    if network.only_foreground:
        found = found[1:]
    if found.shape != wanted.shape:
        raise ValueError(
            f"{files.path}: gives {times(found.shape)} values for the test of the "
            f"package, which says {times(wanted.shape)}."
        )
    difference = float(np.abs(found - wanted).max())
    if difference <= _ALLOWED * max(1.0, float(np.abs(wanted).max())):
        return f"The test in the package comes out to within {difference:.2g}."
    return (
        "Take care: the test in the package does not come out here; values differ by "
        f"up to {difference:.2g}, and are up to {float(np.abs(wanted).max()):.2g}."
    )


def _run(model: Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the network gives for an image (channels, [z,] y, x)."""
    from napari_unet.engine.network.network import prepare

    axes = "c" + "zyx"[4 - image.ndim :]
    scale = measure(Image(image, axes), 0, model.card.normalisation)
    made = prepare(model, "cpu").of_patch(scale.apply(image))
    outputs = model.card.outputs
    return made if outputs is None else outputs.restore(made, scale)


def _read(files: PackageFiles, test: TestTensor) -> NDArray[np.float32]:
    """Return a tensor, (1, channels, [z,] y, x)."""
    content = files.read(test.source, test.sha256)
    try:
        found = np.load(BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise ValueError(f"{files.path}: {shown(test.source)} is damaged.") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "uifb":
        raise ValueError(f"{files.path}: {shown(test.source)} holds no numbers.")
    if found.ndim not in (4, 5) or len(found) < 1:
        raise ValueError(
            f"{files.path}: {shown(test.source)} has the shape {times(found.shape)}, "
            "not that of images with channels."
        )
    return found.astype(np.float32)
