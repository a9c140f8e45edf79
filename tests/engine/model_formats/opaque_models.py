"""Networks of other programs, made here: what they give is known by hand."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.opaque import FILE, Opaque
from napari_unet.core.training.training_settings import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL = np.outer([1, 2, 4, 2, 1], [1, 3, 1, 0, 0]).astype(np.float32) / 50


class Filter(nn.Module):
    """Sees two pixels in each direction; zeros beyond its window."""

    def __init__(self, *, padded: bool, only_size: int = 0) -> None:
        super().__init__()
        self.padded = padded
        self.only_size = only_size
        self.register_buffer("kernel", torch.from_numpy(KERNEL)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        if self.only_size > 0 and x.shape[2] != self.only_size:
            raise ValueError("this is not the size")
        return F.conv2d(x, self.kernel, padding=2 if self.padded else 0)


def script_of(module: nn.Module) -> bytes:
    with BytesIO() as buffer, warnings.catch_warnings():
        # which of the two depends on torch's version
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(module.eval()), buffer)
        return buffer.getvalue()


def opaque_model(content: bytes, *, image: bool = False, **fields: Any) -> Model:
    """A model that runs a file; of classes unless it makes an image."""
    fields = {"runtime": "torchscript", "lost": (0, 0), **fields}
    if not image and "classes" not in fields:
        fields |= {"classes": 2, "only_foreground": True}
    table = Opaque.in_windows(**{"classes": 1, **fields})
    count = table.classes
    training = Training(ndim=table.ndim)  # type: ignore[arg-type]
    card = ModelCard(
        architecture=table,
        classes=()
        if image
        else tuple(ClassInfo(name=f"c{k}") for k in range(1, count)),
        outputs=ImageOutputs(mean=(0,) * count, sd=(1,) * count) if image else None,
        training=training.with_task("regress") if image else training,
    )
    return Model(card, {FILE: np.frombuffer(content, np.uint8)})


def filtered(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `Filter` makes of an image that is mirrored beyond its edges."""
    padded = np.pad(image, 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    return np.einsum("yxab,ab->yx", windows, KERNEL)
