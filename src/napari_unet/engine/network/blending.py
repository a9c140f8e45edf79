"""A tile of a network that sees windows of one fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_unet.core.network.blended import Blended


def blend(
    geometry: Blended,
    batch: Tensor,
    run: Callable[[Tensor], Tensor],
    most: float = 1.0,
) -> Tensor:
    """Run the network on each window of a tile and add up the values of each pixel.

    Window by window, in one order for any tile: so its bits depend on no plan of tiles.

    Parameters
    ----------
    batch : Tensor, shape (1, channels, [z,] y, x)
        Of a size that `geometry` takes.
    run : callable
        Makes float32 probabilities, (1, classes, [z,] y, x), of one window.
    most : float
        Largest value there can be: 1 of probabilities.

    Returns
    -------
    Tensor of float32, shape (1, classes, [z,] y, x)
    """
    output = geometry.output_size(tuple(batch.shape[2:]))
    whole = (slice(None), slice(None))
    weights = torch.ones((), device=batch.device)
    for values in geometry.weights():
        line = torch.from_numpy(values).to(batch.device, torch.float32)
        weights = weights[..., None] * line
    blended = torch.zeros((1, geometry.classes, *output), device=batch.device)
    for read, target, part in geometry.runs(output):
        seen = run(batch[*whole, *read])[*whole, *part]
        blended[*whole, *target] += seen * weights[part]
    # weights that add up to one do so but for rounding
    return blended.clamp_(max=most)
