"""Networks on their device: how they lie in its memory, and whether it can be trusted.

Most compute fastest with channels last; `_learns_faster_plain` says which do not.

Some versions of macOS and torch return wrong values from the GPUs of Macs, without a
word: for convolutions of volumes (pytorch/pytorch#197114), and for layouts other than
the plain one (#180984, #192212), in which others crash (#190645). So these have the
plain one, and are compared with the CPU before they are used.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_unet.core.text import reason
from napari_unet.engine.device import is_out_of_memory
from napari_unet.engine.network.layered import LayeredNetwork

if TYPE_CHECKING:
    from napari_unet.core.network.geometry import Layered

# Largest difference of values, as a share of all; rounding makes 1e-4 of it.
_MOST = 0.02
# Maps of the first convolution from which on the plain layout is faster to learn in.
_WIDE = 32


def settle(module: LayeredNetwork, *, learns: str | None = None) -> None:
    """Lay the weights of a network out as its device computes fast and right.

    `learns` is the precision that it learns in ("fp32", "bf16" or "fp16"), None if it
    only predicts.

    Raises
    ------
    ValueError
        It is the GPU of a Mac, and computes the network, or for one that `learns` its
        gradient, not as the CPU does.
    """
    if learns == "fp32" and _learns_faster_plain(module):
        module.layout = torch.contiguous_format
    if _is_on_mac(module):
        module.layout = torch.contiguous_format
        if problem := _problem(module.architecture, learns is not None):
            raise ValueError(
                f"the GPU of this Mac cannot be used for this network: {problem}; "
                "choose the device cpu, or try another version of PyTorch or macOS."
            )
    module.to(memory_format=module.layout)  # type: ignore[call-overload]


def _learns_faster_plain(module: LayeredNetwork) -> bool:
    """Whether a network learns faster in the plain layout, in 32 bits.

    On processors with AVX2 but not AVX-512, oneDNN is slow at the gradients of wide
    maps that lie channels last. Narrow maps lose by the plain layout, and in a network
    that begins with them as much as the others gain. Without gradients all are faster
    channels last. `python -m benchmarks.speed layouts` measures what is gained.
    """
    layers = module.architecture.trace.layers
    width = next(layer.width for layer in layers if layer.op == "conv")
    return (
        next(module.parameters()).device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
        and module.architecture.ndim == 2
        and width >= _WIDE
    )


def _is_on_mac(module: LayeredNetwork) -> bool:
    return next(module.parameters()).device.type == "mps"


@cache
def _problem(architecture: Layered, learns: bool) -> str:
    """Return what is wrong with a network on the GPU of a Mac; empty if nothing is."""
    try:
        found = _computed(architecture, learns, torch.device("mps"))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return reason(error)
    wanted = _computed(architecture, learns, torch.device("cpu"))
    for one, other in zip(found, wanted, strict=True):
        off = float((one - other).norm() / other.norm())
        if not off <= _MOST:  # nor is one that is no number
            return f"what it computes is off by {off:.0%}"
    return ""


def _computed(
    architecture: Layered, learns: bool, device: torch.device
) -> tuple[Tensor, ...]:
    """Return the scores of noise by random weights, and the gradient of all weights."""
    with torch.random.fork_rng([]), torch.set_grad_enabled(learns):
        torch.manual_seed(0)
        module = LayeredNetwork(architecture).eval().to(device)
        module.layout = torch.contiguous_format
        noise = torch.randn(1, architecture.channels, *architecture.min_input)
        scores = module(noise.to(device))
        if not learns:
            return (scores.cpu(),)
        scores.square().mean().backward()
    slopes = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
    return scores.detach().cpu(), torch.cat(slopes).cpu()
