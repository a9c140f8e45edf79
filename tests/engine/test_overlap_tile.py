from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

from example_models import cropping_model, random_model
from napari_unet.core.events import PredictionFinished, TileDone, TileHalved
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.settings import Prediction
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.inference.tile_run import TileRun
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import prepare
from napari_unet.engine.network.unet import UNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import Model

FP32 = Prediction(precision="fp32", device="cpu")


def run(model: Model, image: Any, **options: Any) -> PredictionFinished:
    options.setdefault("settings", FP32)
    *_, last = predict(model, image, **options)
    assert isinstance(last, PredictionFinished)
    return last


def tiled(model: Model, image: Any, tile: int, **options: Any) -> NDArray[np.float32]:
    settings = FP32.replace(tile=tile)
    return run(model, image, settings=settings, **options).probabilities


def whole(model: Model, data: NDArray[np.float32]) -> NDArray[np.float32]:
    """One run of the network on numpy's mirrored image, no code of ours but UNet."""
    table = model.card.architecture
    ndim = table.ndim
    shape = data.shape[-ndim:]
    output = table.output_covering(shape)
    pad = [(h, o - n + h) for h, o, n in zip(table.halo, output, shape, strict=True)]
    grey = measure(Image(data, "zyx"[3 - ndim :])).apply(data[None])
    module = UNet(table)
    module.load_state_dict({n: torch.from_numpy(w) for n, w in model.weights.items()})
    with torch.no_grad():
        scores = module.eval()(
            torch.from_numpy(np.pad(grey, [(0, 0), *pad], mode="reflect"))[None]
        )
    inside = tuple(slice(0, n) for n in shape)
    result = torch.softmax(scores, dim=1)[0].numpy()[(slice(None), *inside)]
    return np.moveaxis(result, 0, 1) if ndim == 3 else result


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (203, 77)])
@pytest.mark.parametrize("tile", [4, 24])
def test_a_cropping_network_returns_the_image(
    shape: tuple[int, int], tile: int, rng: np.random.Generator
) -> None:
    data = rng.random((2, *shape), np.float32)
    model = cropping_model()
    image = Image(data, "cyx")
    grey = measure(image).apply(data)
    expected = np.exp(grey) / np.exp(grey).sum(axis=0)
    result = tiled(model, image, tile)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("rule", ["structure", "frame"])
def test_a_model_predicts_by_the_rule_of_its_card(
    rule: Normalisation, rng: np.random.Generator
) -> None:
    data = rng.normal(100, 5, (2, 90, 90)).astype(np.float32)
    data[:, 40:50, 40:50] += 200
    image, model = Image(data, "cyx"), cropping_model()
    one, other = (measure(image, 0, which) for which in ("structure", "frame"))
    assert one.sd[0] > 2 * other.sd[0]
    grey = (one if rule == "structure" else other).apply(data)
    model = replace(model, card=model.card.replace(normalisation=rule))
    expected = np.exp(grey) / np.exp(grey).sum(axis=0)
    np.testing.assert_allclose(tiled(model, image, 24), expected, atol=1e-5)


def test_a_cropping_network_returns_the_volume(rng: np.random.Generator) -> None:
    data = rng.random((2, 9, 21, 14), np.float32)
    image = Image(data, "czyx")
    grey = measure(image).apply(data)
    expected = np.exp(grey) / np.exp(grey).sum(axis=0)
    result = tiled(cropping_model(ndim=3, depth=1), image, 6)
    np.testing.assert_allclose(result, np.moveaxis(expected, 0, 1), atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (7, 203), (203, 64)])
def test_tiled_equals_whole_in_2d(
    depth: int, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=3, width=3, depth=depth))
    data = rng.random(shape, np.float32)
    expected = whole(model, data)
    assert expected.std() > 1e-3 or data.size == 1
    for tile in (2**depth, 5 * 2**depth, 999):
        np.testing.assert_allclose(tiled(model, data, tile), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("depth", "flat", "shape"),
    [
        (1, (0, 0, 0), (7, 1, 30)),
        (2, (0, 0, 0), (9, 20, 11)),
        (2, (1, 0, 0), (14, 33, 20)),
        (3, (3, 0, 0), (3, 30, 41)),
    ],
)
def test_tiled_equals_whole_in_3d(
    depth: int,
    flat: tuple[int, ...],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=2, depth=depth, flat=flat)
    model = random_model(table)
    data = rng.random(shape, np.float32)
    expected = whole(model, data)
    for tile in (2**depth, 3 * 2**depth):
        np.testing.assert_allclose(tiled(model, data, tile), expected, atol=1e-5)


def test_a_batch_norm_uses_what_it_learnt_and_not_the_window(
    rng: np.random.Generator,
) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=3, depth=2, norm="batch")
    model = random_model(table)
    data = rng.random((50, 71), np.float32)
    expected = whole(model, data)
    for tile in (4, 28, 100):
        np.testing.assert_allclose(tiled(model, data, tile), expected, atol=1e-5)


@pytest.mark.parametrize("averaging", ["none", "dihedral"])
def test_the_tile_size_does_not_matter_with_averaging(
    averaging: str, rng: np.random.Generator
) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=3, depth=3))
    data = rng.random((90, 61), np.float32)
    settings = FP32.replace(averaging=averaging)
    results = [
        run(model, data, settings=settings.replace(tile=tile)).probabilities
        for tile in (8, 40, 200)
    ]
    for a, b in pairwise(results):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_averaging_is_symmetric_under_a_quarter_turn(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=3, depth=1))
    # one tile that just covers the image, so that its grid turns with it
    size = model.card.architecture.output_covering((20, 20))
    data = rng.random(size, np.float32)
    settings = FP32.replace(averaging="dihedral", tile=20)
    upright = run(model, data, settings=settings).probabilities
    turned = run(model, np.rot90(data).copy(), settings=settings).probabilities
    np.testing.assert_allclose(np.rot90(upright, axes=(1, 2)), turned, atol=1e-5)
    plain = run(model, data, settings=FP32.replace(tile=20)).probabilities
    assert np.abs(plain - upright).max() > 1e-3


def test_a_region_equals_the_same_pixels_of_the_whole(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=3, depth=3))
    data = rng.random((120, 101), np.float32)
    expected = tiled(model, data, 40)
    region = (slice(13, 77), slice(50, 99))
    out = np.full_like(expected, np.nan)
    result = tiled(model, data, 24, region=region, out=out)
    np.testing.assert_allclose(
        result[(slice(None), *region)], expected[(slice(None), *region)], atol=1e-5
    )
    outside = np.isnan(result)
    outside[(slice(None), *region)] = True
    assert outside.all()


def test_an_origin_off_the_grid_by_one_pixel_differs_by_more_than_a_thousandth(
    rng: np.random.Generator,
) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=4, depth=3))
    data = np.tile(rng.random((40, 40), np.float32), (5, 5))
    expected = tiled(model, data, 40)[0, 60:140, 60:140]
    by_step = tiled(model, np.roll(data, 8, axis=0), 40)[0, 68:148, 60:140]
    by_one = tiled(model, np.roll(data, 1, axis=0), 40)[0, 61:141, 60:140]
    assert np.abs(by_step - expected).max() < 1e-5
    assert np.abs(by_one - expected).max() > 1e-3


def test_running_out_of_memory_halves_the_tile_and_keeps_the_result(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=3, depth=2))
    data = rng.random((70, 90), np.float32)
    expected = whole(model, data)
    forward = UNet.forward

    def limited(self: UNet, image: torch.Tensor) -> torch.Tensor:
        if image.shape[-1] > 70:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, image)

    monkeypatch.setattr(LayeredNetwork, "forward", limited)
    events = list(predict(model, data, settings=FP32))
    halved = [e for e in events if isinstance(e, TileHalved)]
    assert halved
    assert events[-1].output == halved[-1].output  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        events[-1].probabilities,  # type: ignore[attr-defined]
        expected,
        atol=1e-5,
    )
    covered = np.zeros(data.shape, int)
    for event in events:
        if isinstance(event, TileDone):
            covered[event.box] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("full_at", [None, 1, 4])
def test_a_tile_ahead_changes_nothing(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, full_at: int | None
) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=3, depth=2))
    data = rng.random((70, 90), np.float32)
    expected = tiled(model, data, 24)
    image = Image(data, "yx")
    network = prepare(model, "cpu", "fp32")
    runs, forward = [0], UNet.forward

    def limited(self: UNet, window: torch.Tensor) -> torch.Tensor:
        runs[0] += 1
        if runs[0] == full_at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, window)

    monkeypatch.setattr(LayeredNetwork, "forward", limited)
    tiles = TileRun(network, next(image.fields(2)), measure(image), output=(24, 24))
    tiles.ahead = 1
    found = np.full(expected.shape, np.nan, np.float32)
    for tile, probabilities in tiles:
        assert np.isnan(found[(slice(None), *tile.target)]).all()
        found[(slice(None), *tile.target)] = probabilities
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (tiles.output == (24, 24)) == (full_at is None)


def test_memory_that_no_tile_fits_into_is_told(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: UNet, image: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(LayeredNetwork, "forward", full)
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    with pytest.raises(MemoryError, match="smallest tile does not fit"):
        run(model, rng.random((30, 30), np.float32))


def test_other_errors_of_torch_are_not_taken_for_full_memory(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: UNet, image: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(LayeredNetwork, "forward", broken)
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    with pytest.raises(RuntimeError, match="mat1"):
        run(model, rng.random((30, 30), np.float32))


def test_tiles_come_from_the_focus_outwards(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    data = rng.random((40, 40), np.float32)
    settings = FP32.replace(tile=10)
    events = list(predict(model, data, settings=settings, focus=(35, 5)))
    tiles = [e for e in events if isinstance(e, TileDone)]
    assert tiles[0].box == (slice(30, 40), slice(0, 10))
    assert [t.field_done for t in tiles] == [False] * 15 + [True]
    assert tiles[-1].progress == 1.0
    assert all(a.progress < b.progress for a, b in pairwise(tiles))


def test_planes_are_predicted_in_the_order_asked_for(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    data = rng.random((2, 3, 12, 12), np.float32)
    image = Image(data, "tzyx")
    events = predict(model, image, settings=FP32, planes=[(1, 2), (0, 0)])
    *tiles, last = events
    assert [(e.t, e.z) for e in tiles] == [(1, 2), (0, 0)]  # type: ignore[attr-defined]
    done = last.probabilities.any(axis=(2, 3, 4))  # type: ignore[attr-defined]
    assert done.tolist() == [[True, False, False], [False, False, True]]


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_arrays_of_all_kinds_give_the_same(kind: str, rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=2, classes=2, width=2, depth=2))
    data = rng.integers(0, 4000, (2, 3, 2, 30, 41)).astype(np.uint16)
    expected = tiled(model, Image(data, "tzcyx"), 12)
    arrays: dict[str, Any] = {"numpy": data, "dask": da.from_array(data, chunks=17)}
    if kind == "zarr":
        arrays["zarr"] = zarr.create_array({}, data=data, chunks=(1, 1, 1, 16, 16))
    out: Any = np.zeros(expected.shape, np.float32)
    if kind == "zarr":
        out = zarr.create_array(
            {}, shape=expected.shape, dtype="f4", chunks=(1, 1, 2, 16, 16)
        )
    result = run(model, Image(arrays[kind], "tzcyx"), out=out)
    assert result.probabilities is out
    assert result.axes == "tzcyx"
    np.testing.assert_allclose(out[...], expected, atol=1e-5)


def test_the_output_may_have_another_order_of_axes(rng: np.random.Generator) -> None:
    data = rng.random((4, 9, 10), np.float32)
    for ndim in (2, 3):
        model = random_model(
            u_shape(ndim=ndim, channels=1, classes=3, width=2, depth=1)
        )
        own = run(model, data).probabilities
        out = np.zeros((3, 4, 9, 10), np.float32)
        run(model, data, out=out, axes="czyx")
        np.testing.assert_array_equal(np.moveaxis(own, 1, 0), out)


def test_a_3d_network_takes_a_single_plane(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=3, channels=1, classes=2, width=2, depth=1))
    result = run(model, rng.random((20, 21), np.float32))
    assert result.probabilities.shape == (2, 20, 21)
    assert result.axes == "cyx"


def test_probabilities_sum_to_one(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=4, width=2, depth=2))
    result = run(model, rng.random((33, 20), np.float32)).probabilities
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.sum(axis=0), 1, atol=1e-5)


def test_bf16_agrees_with_fp32(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=8, depth=2))
    data = rng.random((60, 60), np.float32)
    low = run(model, data, settings=FP32.replace(precision="bf16"))
    assert low.precision == "bf16"
    assert np.abs(low.probabilities - run(model, data).probabilities).mean() < 0.01


def test_tiles_keep_to_the_memory_they_may_take(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    image = rng.normal(size=(300, 300)).astype(np.float32)
    free = run(model, image, settings=FP32)
    tight = run(model, image, settings=FP32.replace(memory_gb=1e-3))
    assert min(free.output) >= 300
    peak = 4 * model.card.architecture.peak_values(tight.output)
    assert peak <= 1e6
    np.testing.assert_allclose(tight.probabilities, free.probabilities, atol=1e-5)


def test_events_are_frozen_and_can_be_pickled(rng: np.random.Generator) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    first = next(predict(model, rng.random((20, 20), np.float32), settings=FP32))
    assert pickle.loads(pickle.dumps(first)) == first
    with pytest.raises(AttributeError):
        first.progress = 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((2, 8, 8)), {"axes_": "cyx"}, "trained on 1 channel.*has 2"),
        (np.full((8, 8), np.nan), {}, "NaN or infinite"),
        (np.full((8, 8), np.inf), {}, "NaN or infinite"),
        (np.zeros((8, 8)), {"out": np.zeros((2, 8, 9))}, r"shape \(2, 8, 8\)"),
        (np.zeros((8, 8)), {"axes": "zcyx"}, "the axes cyx in any order"),
        (np.zeros((0, 8)), {}, "is empty"),
        (np.zeros(8), {}, "2 to 5 axes"),
        (np.zeros((8, 8)), {"planes": [(0, 3)]}, r"no plane \(t, z\) = \(0, 3\)"),
    ],
)
def test_input_that_does_not_fit_is_refused(
    data: NDArray[Any], options: dict[str, Any], message: str
) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    named = options.pop("axes_", None)
    with pytest.raises(ValueError, match=message):
        run(model, Image(data, named) if named else data, **options)


def sized(model: Model, spacing_um: tuple[float, ...]) -> Model:
    return replace(model, card=model.card.replace(spacing_um=spacing_um))


def waves(height: int, width: int) -> NDArray[np.float32]:
    """Two smooth channels."""
    y, x = np.mgrid[:height, :width] / 40
    return np.stack([np.sin(y + x), np.cos(y - 2 * x)]).astype(np.float32)


@pytest.mark.parametrize("spacing", [0.25, 0.8, 2.0])
def test_an_image_of_another_pixel_size_comes_back_on_its_own_grid(
    spacing: float,
) -> None:
    image = Image(waves(150, 131), "cyx", (spacing, spacing))
    plain = run(cropping_model(), image).probabilities
    model = sized(cropping_model(), (0.5, 0.5))
    found = run(model, image).probabilities
    assert found.shape == plain.shape
    # half a pixel off would be 0.02
    inside = (slice(None), slice(10, -10), slice(10, -10))
    np.testing.assert_allclose(found[inside], plain[inside], atol=0.004)
    np.testing.assert_array_equal(
        run(model, image, settings=FP32.replace(rescale=False)).probabilities, plain
    )


@pytest.mark.parametrize("spacing", [0.2, 0.77])
def test_the_result_does_not_depend_on_the_tiles_at_another_pixel_size(
    spacing: float, rng: np.random.Generator
) -> None:
    table = u_shape(ndim=2, channels=1, classes=3, width=4, depth=2)
    model = sized(random_model(table), (0.5, 0.5))
    image = Image(rng.random((77, 120), np.float32), "yx", (spacing, spacing))
    whole = tiled(model, image, 400)
    for tile in (12, 40):
        np.testing.assert_allclose(tiled(model, image, tile), whole, atol=1e-5)
    region = (slice(20, 50), slice(33, 90))
    part = run(model, image, region=region).probabilities
    at = (slice(None), *region)
    np.testing.assert_allclose(part[at], whole[at], atol=1e-5)


def test_a_volume_of_another_slice_distance_comes_back_on_its_own_grid(
    rng: np.random.Generator,
) -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=2, depth=1)
    model = sized(random_model(table), (0.5, 0.5, 0.5))
    image = Image(rng.random((6, 30, 28), np.float32), "zyx", (1.0, 0.5, 0.5))
    whole = tiled(model, image, 60)
    assert whole.shape == (6, 2, 30, 28)
    np.testing.assert_allclose(tiled(model, image, 10), whole, atol=1e-5)


def test_a_pixel_size_that_cannot_be_right_is_refused() -> None:
    image = Image(waves(20, 20), "cyx", (300.0, 300.0))
    with pytest.raises(ValueError, match="more than 16 times larger or smaller"):
        run(sized(cropping_model(), (0.5, 0.5)), image)
