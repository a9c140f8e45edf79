"""Compare a network with an independent implementation that has the same weights.

The reference pads and sees a whole image; ours sees a window of it, and has to give the
same scores inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_unet.engine.network.layered import LayeredNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from torch import Tensor

    from napari_unet.core.network.geometry import Layered

NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def randomised(reference: nn.Module, seed: int = 0) -> nn.Module:
    """Give all norms and slopes random values, so that none passes for another.

    The network comes back in eval mode.
    """
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in reference.modules():
            if isinstance(module, NORMS):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.1)
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(0.1, 0.5)
    return reference.eval()


def with_weights_of(
    reference: nn.Module,
    table: Layered,
    names: Mapping[str, str],
    spare: Collection[str] = (),
) -> LayeredNetwork:
    """Build a network with the weights of a reference, in eval mode.

    `names` has the reference's name of each of our layers with weights; both sides have
    to be complete. `spare` are beginnings of names of what the reference never uses, or
    lists twice.
    """
    network = LayeredNetwork(table)
    theirs = reference.state_dict()
    left = {name for name in theirs if not name.startswith(tuple(spare))}
    weights = {}
    for name in network.state_dict():
        layer, _, leaf = name.rpartition(".")
        source = f"{names[layer]}.{leaf}"
        weights[name] = theirs[source]
        left.remove(source)
    assert not left
    network.load_state_dict(weights)
    return network.eval()


@torch.no_grad()
def assert_same_inside(
    network: LayeredNetwork,
    reference: Callable[[Tensor], Tensor],
    *,
    grid: int = 0,
    tolerance: float = 1e-4,
) -> float:
    """Assert that a window gives what the padded reference gives there.

    So does the window one step further. `grid` is where the reference's coarsest map
    begins, in pixels of the image modulo the step. Tolerances are in sd of the scores;
    the largest difference comes back.
    """
    table = network.architecture
    # of another size along each axis, and more than a step, so that two windows overlap
    output = table.output_covering(
        tuple((1 + axis % 2) * s + 1 for axis, s in enumerate(table.step))
    )
    size = table.input_size(output)
    start = tuple((grid - origin) % s for origin, s in _coarsest(table))
    image = torch.randn(1, table.channels, *_room(table, start, size))
    expected = reference(image)
    boxes = [start, tuple(map(sum, zip(start, table.step, strict=True)))]
    found = [network(_cut(image, box, size)) for box in boxes]
    worst = 0.0
    for box, scores in zip(boxes, found, strict=True):
        inner = tuple(o + h for o, h in zip(box, table.halo, strict=True))
        there = _cut(expected, inner, output)
        worst = max(worst, float((scores - there).abs().max() / there.std()))
    assert worst <= tolerance
    common = tuple(o - s for o, s in zip(output, table.step, strict=True))
    first, second = (
        _cut(scores, offset, common)
        for scores, offset in zip(found, (table.step, (0,) * table.ndim), strict=True)
    )
    assert float((first - second).abs().max() / first.std()) <= 1e-5
    return worst


@torch.no_grad()
def assert_same_padded(
    network: LayeredNetwork,
    reference: Callable[[Tensor], Tensor],
    size: tuple[int, ...],
    *,
    tolerance: float = 1e-4,
) -> float:
    """Assert that a network that pads gives what the reference gives, borders and all.

    `size` is the image's; the tolerance is in sd of the scores, and the largest
    difference comes back.
    """
    image = torch.randn(1, network.architecture.channels, *size)
    expected = reference(image)
    worst = float((network(image) - expected).abs().max() / expected.std())
    assert worst <= tolerance
    return worst


@torch.no_grad()
def assert_traced(network: LayeredNetwork) -> None:
    """Assert that each map has the size that the trace gives it."""
    table = network.architecture
    found = {}

    def compute(number: int, *maps: Tensor) -> Tensor:
        found[number] = LayeredNetwork._compute(network, number, *maps)
        return found[number]

    network._compute = compute  # type: ignore[method-assign]
    several = tuple(s * (2 + a) for a, s in enumerate(table.step))
    output = table.output_covering(table.window or several)
    network.supervised(torch.randn(1, table.channels, *table.input_size(output)))
    del network._compute
    layers = list(enumerate(table.trace.layers))
    assert list(found) == [number for number, _ in layers[1:]]
    for number, layer in layers[1:]:
        shape = (1, layer.width, *table.trace.size(number, output))
        assert found[number].shape == shape, layer


def _coarsest(table: Layered) -> list[tuple[int, int]]:
    """Return along each axis the origin of the coarsest map, and the step."""
    found = []
    for axis, step in enumerate(table.step):
        extents = [table.trace.extents(n)[axis] for n in range(len(table.trace.layers))]
        found.append((max(extents, key=lambda e: e.scale).origin, step))
    return found


def _room(
    table: Layered, start: tuple[int, ...], size: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the size of an image of whole steps that both windows lie in."""
    return tuple(
        -(-(o + n + s) // s) * s
        for o, n, s in zip(start, size, table.step, strict=True)
    )


def _cut(x: Tensor, start: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    return x[(..., *(slice(o, o + n) for o, n in zip(start, size, strict=True)))]
