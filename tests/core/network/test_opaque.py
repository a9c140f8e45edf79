from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from example_models import cropping_model
from napari_unet.core.network.blended import Blended, geometry_of
from napari_unet.core.network.opaque import Opaque
from napari_unet.core.network.tile_size import choose_output, output_with_stride
from napari_unet.core.settings import explain
from napari_unet.core.training.training_settings import Training

SIZES: dict[str, Any] = {
    "smallest": (104, 104),
    "growth": (8, 8),
    "lost": (0, 0),
    "border": (48, 48),
}


def opaque(**changes: Any) -> Opaque:
    return Opaque.in_windows(runtime="torchscript", **{**SIZES, **changes})


def test_a_network_of_the_same_size_has_tiles_of_what_is_right() -> None:
    table = opaque()
    assert geometry_of(table) is table
    assert (table.ndim, table.step, table.halo) == (2, (8, 8), (48, 48))
    assert (table.min_output, table.min_input) == ((8, 8), (104, 104))
    assert table.output_size((112, 104)) == (16, 8)
    with pytest.raises(ValueError, match="nearest sizes it takes are 104 × 104 and"):
        table.output_size((105, 104))


def test_what_the_network_loses_itself_is_part_of_the_border() -> None:
    table = opaque(smallest=(44, 44), growth=(4, 4), lost=(20, 20), border=(20, 20))
    assert table.min_output == (4, 4)
    assert table.input_size((64, 8)) == (104, 48)


def test_of_one_size_windows_stand_side_by_side_without_their_border() -> None:
    table = opaque(smallest=(512, 512), growth=(0, 0), border=(32, 32))
    assert table.window == (448, 448)
    geometry = geometry_of(table)
    assert isinstance(geometry, Blended)
    assert geometry.run_input == (512, 512)
    assert (geometry.step, geometry.halo) == ((448, 448), (32, 32))
    assert geometry.input_size((896, 448)) == (960, 512)
    assert geometry.flops((896, 448)) == 2 * table.flops((448, 448))


def test_an_odd_rest_of_a_window_is_halo() -> None:
    geometry = geometry_of(opaque(smallest=(67, 67), growth=(0, 0), border=(9, 9)))
    assert isinstance(geometry, Blended)
    assert (geometry.window, geometry.run_input) == ((48, 48), (67, 67))
    assert geometry.halo == (10, 10)


def test_without_a_border_windows_are_blended() -> None:
    table = opaque(smallest=(16, 16), growth=(16, 16), border=(0, 0))
    assert table.window == (256, 256)
    assert geometry_of(table).step == (128, 128)
    volumes = opaque(
        smallest=(8, 32, 32), growth=(0, 16, 16), lost=(0,) * 3, border=(0, 12, 12)
    )
    # along z all of it is seen twice, along y and x all but the border once
    assert volumes.window == (8, 72, 72)
    assert geometry_of(volumes).step == (4, 72, 72)


@pytest.mark.parametrize("output", [(24, 24), (48, 24), (24, 72)])
def test_windows_side_by_side_fill_an_output_once(output: tuple[int, int]) -> None:
    table = opaque(smallest=(32, 32), growth=(0, 0), border=(4, 4))
    geometry = geometry_of(table)
    assert isinstance(geometry, Blended)
    seen = np.zeros(output, int)
    for read, target, part in geometry.runs(output):
        seen[target] += 1
        for r, t, p in zip(read, target, part, strict=True):
            assert (r.stop - r.start, t.start - r.start + 4) == (32, 4)
            assert (p.start, p.stop) == (0, 24)
    assert (seen == 1).all()
    for weights in geometry.weights():
        np.testing.assert_array_equal(weights, np.ones(24))


def test_tiles_are_of_sizes_that_the_network_takes() -> None:
    table = opaque(smallest=(40, 40), growth=(16, 16), border=(8, 8))
    for height, width in product((3, 24, 50, 700), repeat=2):
        output = choose_output(table, (height, width), 1e9)
        assert table.output_size(table.input_size(output)) == output
    assert output_with_stride(table, (33, 1)) == (56, 24)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"border": (52, 52)}, "nothing is left"),
        ({"lost": (50, 0)}, "part of its border"),
        ({"growth": (8, 8, 8)}, "for the same axes"),
        (
            {"smallest": (60, 60), "growth": (0, 0), "border": (6, 6)},
            "than what one run",
        ),
        ({"smallest": (0, 0)}, "greater than or equal to 1"),
        ({"only_foreground": True, "classes": 3}, "has two classes, found 3"),
        ({"runtime": "python"}, "torchscript"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], said: str) -> None:
    fields = {"runtime": "torchscript", "window": None, **SIZES, **changes}
    if 0 in fields["growth"]:
        fields["window"] = fields["smallest"]
    with pytest.raises(ValidationError) as found:
        Opaque(**fields)
    assert said in explain(found.value)


def test_a_network_of_one_size_needs_its_window() -> None:
    with pytest.raises(ValidationError, match="needs a window"):
        Opaque(runtime="onnx", **{**SIZES, "growth": (0, 8)})


def test_its_layers_are_not_to_be_had() -> None:
    with pytest.raises(ValueError, match="file of ONNX that runs as it is"):
        _ = opaque().replace(runtime="onnx").trace


def test_no_training_begins_with_it() -> None:
    card = cropping_model(2).card.replace(architecture=opaque())
    said = card.refusal_as_start(Training())
    assert said.startswith("the model to start from is a network in TorchScript, which")
    assert "cannot be trained on" in said
