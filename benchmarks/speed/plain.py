"""The paper's network as torch modules written plainly, against the list of layers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.networks import noise, untrained
from benchmarks.speed.row import Row, interleaved, middle, ratio
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.device import dtype
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare, to_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.network.geometry import Layered
    from napari_unet.engine.network.network import Network


class PlainUNet(nn.Module):
    """Fig. 1 of Ronneberger et al. 2015, with the names of our weights.

    Parameters
    ----------
    table : Layered
        Of the paper's network; only its sizes are asked for, by those who plan tiles.
    width, depth : int
        Channels at full resolution, and number of poolings.
    """

    def __init__(self, table: Layered, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.architecture = table
        widths = [width * 2**d for d in range(depth + 1)]
        self.down = nn.ModuleList(
            _double(before, w)
            for before, w in zip((table.channels, *widths), widths, strict=False)
        )
        self.up_conv = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(2 * w, w, 2, 2)) for w in widths[:-1]
        )
        self.up = nn.ModuleList(_double(2 * w, w) for w in widths[:-1])
        self.score = nn.Conv2d(width, table.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Score each class at each pixel."""
        x = torch.empty_like(image, memory_format=torch.channels_last).copy_(image)
        skips = []
        for depth, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if depth else x)
            skips.append(x)
        skips.pop()
        for depth in reversed(range(len(skips))):
            x = self.up_conv[depth](x)
            skip = skips.pop()
            y, x_ = (
                (s - n) // 2 for s, n in zip(skip.shape[2:], x.shape[2:], strict=True)
            )
            skip = skip[:, :, y : y + x.shape[2], x_ : x_ + x.shape[3]]
            x = self.up[depth](torch.cat((x, skip), dim=1))
        scores: Tensor = self.score(x.to(self.score.weight.dtype))
        return scores


def _double(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3),
        nn.ReLU(inplace=True),
    )


def against_plain_modules(side: int = 2048, repeats: int = 4) -> list[Row]:
    """Compare a prediction through the list of layers with one through modules."""
    model = untrained(Training.paper())
    network = prepare(model, "cpu")
    with torch.device("meta"):
        module = PlainUNet(network.module.architecture)
    module.load_state_dict(to_tensors(model.weights), assign=True)
    module.eval().to(dtype(network.precision), memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.score.float()
    plain = replace(network, module=module)  # type: ignore[arg-type]
    image = noise(side)
    seconds = interleaved(
        {
            "layers": partial(_predict, network, image),
            "modules": partial(_predict, plain, image),
        },
        repeats,
    )
    differs = _predict(network, image) != _predict(plain, image)
    what = f"predict {side} × {side}, the paper's network, as a list of layers"
    against = "the same as torch modules written plainly"
    return [
        Row(
            what,
            against,
            ratio(seconds, "layers", "modules"),
            "≤",
            1.02,
            " ×",
            f"{middle(seconds['layers'])} and {middle(seconds['modules'])}",
        ),
        Row(
            f"{what}: probabilities that differ",
            against,
            float(np.count_nonzero(differs)),
            "≤",
            0,
        ),
    ]


def _predict(network: Network, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    *_, last = predict(network, image)
    found: NDArray[np.float32] = np.asarray(last.probabilities)  # type: ignore[attr-defined]
    return found
