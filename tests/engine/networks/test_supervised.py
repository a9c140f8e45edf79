from __future__ import annotations

from weakref import WeakSet

import pytest
import torch
from pydantic import ValidationError

from napari_unet.core.network.architecture import Architecture, u_shape
from napari_unet.engine.network.layered import LayeredNetwork

PLAIN = u_shape(ndim=2, channels=1, classes=3, width=2, depth=3)


@pytest.mark.parametrize("supervised", [1, 2])
def test_coarser_scores_are_where_the_trace_says(supervised: int) -> None:
    table = PLAIN.replace(supervised=supervised)
    torch.manual_seed(0)
    network = LayeredNetwork(table)
    output = (12, 20)
    image = torch.randn(1, 1, *table.input_size(output))
    scores, *coarser = network.supervised(image)
    assert torch.equal(scores, network(image))
    numbers = table.drawing.supervised
    assert len(coarser) == len(numbers) == supervised
    for depth, (found, number) in enumerate(zip(coarser, numbers, strict=True), 1):
        assert found.shape == (1, 3, *table.trace.size(number, output))
        assert {e.scale for e in table.trace.extents(number)} == {2**depth}


def test_coarser_scores_change_nothing_else() -> None:
    table = PLAIN.replace(supervised=2)
    with torch.device("meta"):
        plain, weights = (LayeredNetwork(t).state_dict() for t in (PLAIN, table))
    more = {f"coarser.{d}.{w}" for d in (1, 2) for w in ("weight", "bias")}
    assert list(weights)[: len(plain)] == list(plain)
    assert set(weights) - set(plain) == more
    assert table.peak_values((4, 4)) == PLAIN.peak_values((4, 4))
    assert table.flops((4, 4)) == PLAIN.flops((4, 4))


def test_a_prediction_holds_no_map_for_the_training() -> None:
    network = LayeredNetwork(PLAIN.replace(supervised=2)).eval()
    maps, held = WeakSet(), []
    for name, module in network.named_modules():
        if name.startswith("up."):
            module.register_forward_hook(lambda _m, _x, found: maps.add(found))
    network.score.register_forward_hook(lambda *_: held.append(len(maps)))
    image = torch.zeros(1, 1, *PLAIN.input_size((4, 4)))
    with torch.no_grad():
        network(image)
        network.supervised(image)
    assert held == [1, 3]


@pytest.mark.parametrize(("depth", "most"), [(0, 0), (1, 0), (3, 2)])
def test_too_many_coarser_scores_are_refused(depth: int, most: int) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=1, depth=depth)
    assert table.replace(supervised=most).supervised == most
    with pytest.raises(ValidationError, match=f"at most {most} coarser"):
        Architecture(levels=table.levels, supervised=most + 1)
