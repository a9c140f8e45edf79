"""Models with known behaviour, made without training."""

from __future__ import annotations

import torch

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.architecture import Architecture, u_shape
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.network.network import to_arrays
from napari_unet.engine.network.unet import UNet


def random_model(table: Architecture, seed: int = 0) -> Model:
    """A model with random weights and biases: nothing about it is symmetric."""
    torch.manual_seed(seed)
    module = UNet(table)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.3)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    classes = tuple(ClassInfo(name=f"class {k}") for k in range(1, table.classes))
    card = ModelCard(
        architecture=table,
        classes=classes,
        training=Training(ndim=table.ndim),  # type: ignore[arg-type]
    )
    return Model(card, to_arrays(module.state_dict()))


def cropping_model(
    channels: int = 2, ndim: int = 2, depth: int = 2, *, image: bool = False
) -> Model:
    """A network without activation that gives its input back, cropped by the halo.

    As classes, or as the `image` that it is.
    """
    table = u_shape(
        ndim=ndim, channels=channels, classes=channels, width=channels, depth=depth
    ).replace(activation="none")
    module = UNet(table)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        centre = (slice(None), slice(None), *(1,) * ndim)
        for conv in (module.down[0][0], module.down[0][1]):
            conv.weight[centre] = torch.eye(channels)
        first, second = module.up[0][0], module.up[0][1]
        first.weight[(slice(None), slice(channels, None), *(1,) * ndim)] = torch.eye(
            channels
        )
        second.weight[centre] = torch.eye(channels)
        module.score.weight[(slice(None), slice(None), *(0,) * ndim)] = torch.eye(
            channels
        )
    training = Training(ndim=ndim)  # type: ignore[arg-type]
    outputs = ImageOutputs() if image else None
    if image:
        training = training.with_task("denoise")
    classes = tuple(ClassInfo(name=f"class {k}") for k in range(1, channels))
    card = ModelCard(
        architecture=table,
        classes=() if image else classes,
        outputs=outputs,
        training=training,
    )
    return Model(card, to_arrays(module.state_dict()))
