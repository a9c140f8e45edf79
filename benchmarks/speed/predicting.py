"""Prediction with the paper's network: against MONAI, the limit, and itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.speed.apart import Apart
from benchmarks.speed.limit import Limit, finished
from benchmarks.speed.networks import (
    noise,
    operations,
    operations_without_halo,
    untrained,
)
from benchmarks.speed.row import Row, interleaved, middle, ratio
from napari_unet.core.geometry.tiles import plan, read_window
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.device import dtype
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.inference.tile_run import choose_tile
from napari_unet.engine.network.network import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_unet.core.geometry.tiles import Tile
    from napari_unet.engine.network.network import Network

_WIDTHS = (64, 128, 256, 512, 1024, 64)


def against_monai(side: int = 2048) -> list[Row]:
    """Compare with MONAI's sliding window over its padded U-Net."""
    with (
        Apart(_ours, "auto", side) as auto,
        Apart(_ours, "fp32", side) as fp32,
        Apart(_monai, side) as monai,
    ):
        seconds = interleaved({"auto": auto, "fp32": fp32, "monai": monai}, repeats=2)
    what = f"predict {side} × {side}, the paper's network"
    against = "MONAI: sliding window 512, overlap 0.25, BasicUNet of the same widths"
    return [
        Row(
            f"{what}{', both fp32' if name == 'fp32' else ''}",
            against,
            ratio(seconds, "monai", name),
            "≥",
            target,
            " ×",
            f"{middle(seconds[name])} and {middle(seconds['monai'])}",
        )
        for name, target in (("auto", 7.0), ("fp32", 3.0))
    ]


def against_the_limit(
    device: str, side: int, share: float, repeats: int = 10
) -> list[Row]:
    """Compare with how fast the machine multiplies at all, and count the halo."""
    network = prepare(untrained(Training.paper()), device)
    table = network.module.architecture
    image = noise(side)
    output = choose_tile(network, image.shape)
    done = len(_tiles(network, image)) * operations(table, output)
    limit = Limit(network.device, dtype(network.precision))
    seconds = interleaved(
        {"limit": limit.measure, "predict": partial(_predict, network, image)}, repeats
    )
    fastest = done / min(seconds["predict"])
    return [
        Row(
            f"operations a second, predict {side} × {side}, the paper's network",
            "the machine's limit: matrix product, 1 × 1 and 3 × 3 convolutions",
            fastest / limit.best,
            "≥",
            share,
            "",
            f"{network.precision}: {fastest / 1e9:.0f} of {limit.best / 1e9:.0f} "
            f"GFLOP/s, the most of {repeats} each",
        ),
        Row(
            f"operations at the chosen tile ({output[0]} × {output[1]})",
            "operations without halo",
            done / (side**2 * operations_without_halo(table)),
            "≤",
            1.14,
            "",
            f"{done / side**2 / 1e6:.2f} of "
            f"{operations_without_halo(table) / 1e6:.2f} MFLOP for each pixel",
        ),
    ]


def against_its_network(device: str, side: int = 2048, repeats: int = 4) -> Row:
    """Compare the whole of a prediction with the network alone."""
    network = prepare(untrained(Training.paper()), device)
    image = noise(side)
    tiles = _windows(network, image)
    seconds = interleaved(
        {
            "predict": partial(_predict, network, image),
            "network": partial(_alone, network, tiles),
        },
        repeats,
    )
    return Row(
        f"predict {side} × {side}, the paper's network",
        "the network alone, on the same tiles in memory",
        ratio(seconds, "predict", "network"),
        "≤",
        1.05,
        " ×",
        f"{middle(seconds['predict'])} and {middle(seconds['network'])}",
    )


def small_image(device: str, side: int = 512) -> Row:
    """Time one small image from array to array."""
    network = prepare(untrained(Training.paper()), device)
    image = noise(side)
    _predict(network, image)
    seconds = interleaved({"predict": partial(_predict, network, image)}, 20)
    return Row(
        f"predict {side} × {side}, the paper's network, array to array",
        "–",
        1000 * float(np.median(seconds["predict"])),
        "≤",
        10.0,
        " ms",
    )


def _ours(precision: str, side: int) -> Callable[[], None]:
    network = prepare(untrained(Training.paper()), "cpu", precision)
    return partial(_predict, network, noise(side))


def _monai(side: int) -> Callable[[], None]:
    from monai.inferers import sliding_window_inference
    from monai.networks.nets import BasicUNet

    network = BasicUNet(spatial_dims=2, features=_WIDTHS).eval()
    pixels = torch.from_numpy((noise(side) / 128 - 1).astype(np.float32))[None, None]

    @torch.inference_mode()
    def slide() -> None:
        sliding_window_inference(pixels, 512, 1, network, overlap=0.25)

    return slide


def _predict(network: Network, image: NDArray[np.uint8]) -> None:
    for _ in predict(network, image):
        pass


@torch.inference_mode()
def _alone(network: Network, windows: list[torch.Tensor]) -> None:
    for window in windows:
        finished(network.module(window), network.device)


def _tiles(network: Network, image: NDArray[np.uint8]) -> list[Tile]:
    table = network.module.architecture
    output = choose_tile(network, image.shape)
    return plan(image.shape, output, step=table.step, halo=table.halo)


def _windows(network: Network, image: NDArray[np.uint8]) -> list[torch.Tensor]:
    field = next(Image.from_array(image).fields(2))
    scale = measure(Image.from_array(image), 0, network.normalisation)
    windows = (
        scale.apply(read_window(field, tile.start, tile.size))
        for tile in _tiles(network, image)
    )
    return [
        torch.from_numpy(window)[None].to(network.device, dtype(network.precision))
        for window in windows
    ]
