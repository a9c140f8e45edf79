"""How fast this machine multiplies at most, in the precision that is measured."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from benchmarks.speed.row import timed

if TYPE_CHECKING:
    from collections.abc import Callable

_SIDE, _CHANNELS, _PIXELS = 4096, 256, 256


class Limit:
    """The best of a large matrix product and of 1 × 1 and 3 × 3 convolutions.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self.best = 0.0
        matrix = self._random(_SIDE, _SIDE)
        image = self._last(self._random(1, _CHANNELS, _PIXELS, _PIXELS))
        self._works: list[tuple[Callable[[], object], float]] = [
            (partial(torch.matmul, matrix, matrix), 2.0 * _SIDE**3)
        ]
        for size in (1, 3):
            kernel = self._last(self._random(_CHANNELS, _CHANNELS, size, size))
            out = (_PIXELS - size + 1) ** 2
            self._works.append(
                (
                    partial(torch.conv2d, image, kernel),
                    2.0 * out * (size * _CHANNELS) ** 2,
                )
            )

    @torch.inference_mode()
    def measure(self) -> float:
        """Run all once; return the most operations a second that were ever seen."""
        for work, operations in self._works:
            seconds = timed(partial(self._run, work))
            self.best = max(self.best, operations / seconds)
        return self.best

    def _random(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=self._device).to(self._dtype)

    def _run(self, work: Callable[[], object]) -> None:
        finished(work(), self._device)

    @staticmethod
    def _last(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.contiguous(memory_format=torch.channels_last)


def finished(result: object, device: torch.device) -> object:
    """Wait until the device has computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result
