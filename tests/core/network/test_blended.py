from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest

from example_architectures import ODD
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.blended import (
    Blended,
    geometry_of,
    in_windows,
    smallest_window,
    usual_window,
)
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.nnunet import resenc
from napari_unet.core.network.tile_size import choose_output, output_with_stride
from napari_unet.core.network.unetr import Unetr

if TYPE_CHECKING:
    from napari_unet.core.network.geometry import Layered

PLAIN = u_shape(ndim=2, channels=3, classes=2, width=2, depth=1)


def blended(network: Layered) -> Blended:
    found = geometry_of(network)
    assert isinstance(found, Blended)
    return found


def test_a_network_of_any_window_is_its_own_geometry() -> None:
    assert geometry_of(PLAIN) is PLAIN
    assert geometry_of(PLAIN.replace(norm="batch")).halo == PLAIN.halo


def test_fixed_windows_are_a_network_of_half_a_window_as_step() -> None:
    table = blended(PLAIN.replace(padded=True, window=(32, 32)))
    assert (table.channels, table.classes, table.ndim) == (3, 2, 2)
    assert (table.step, table.halo, table.min_output) == ((16, 16),) * 3
    assert table.input_size((48, 16)) == (80, 48)
    with pytest.raises(ValueError, match="nearest sizes it takes are 48 × 48 and 64"):
        table.output_size((50, 48))


def test_an_unpadded_network_loses_its_own_halo_on_top() -> None:
    table = blended(PLAIN.replace(window=(20, 20)))
    assert PLAIN.halo == (8, 8)
    assert (table.halo, table.run_input) == ((18, 18), (36, 36))


def test_what_a_run_gives_beyond_an_even_window_is_halo() -> None:
    assert [ODD.output_covering((n, n))[0] % 2 for n in (9, 10, 11)] == [1, 1, 1]
    table = blended(ODD.replace(window=(12, 12)))
    run = ODD.output_covering((12, 12))[0]
    assert table.halo[0] == 6 + ODD.halo[0] + run - 12
    assert run > 12


@pytest.mark.parametrize("output", [(6, 6), (18, 12)])
def test_each_run_reads_its_own_window_and_stays_inside(
    output: tuple[int, int],
) -> None:
    network = ODD.replace(window=(12, 12))
    table = blended(network)
    size = table.input_size(output)
    for read, target, part in table.runs(output):
        assert all(
            r.start >= 0 and r.stop <= n for r, n in zip(read, size, strict=True)
        )
        # pixel `i` of a run's output is `i + halo` of what it reads
        for r, t, p, h in zip(read, target, part, network.halo, strict=True):
            assert r.start + h + p.start == t.start + table.halo[0]
            assert p.stop - p.start == t.stop - t.start
            assert 0 <= p.start < p.stop <= 12


@pytest.mark.parametrize("window", [(8, 8), (10, 26, 26)])
def test_weights_fall_off_as_a_gaussian_and_add_up_to_one(
    window: tuple[int, ...],
) -> None:
    network = u_shape(ndim=len(window), channels=1, classes=2, width=1, depth=1)
    table = blended(network.replace(padded=True, window=window))
    for line, n in zip(table.weights(), window, strict=True):
        assert len(line) == n
        np.testing.assert_allclose(line[: n // 2] + line[n // 2 :], 1, rtol=1e-12)
        bell = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2)
        ratio = line[: n // 2] / line[n // 2 :]
        np.testing.assert_allclose(ratio, bell[: n // 2] / bell[n // 2 :], rtol=1e-9)
    output = tuple(3 * s for s in table.step)
    total = np.zeros(output)
    weights = table.weights()
    for _, target, part in table.runs(output):
        whole = weights[0]
        for line in weights[1:]:
            whole = whole[..., None] * line
        total[target] += whole[part]
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_of_scores_the_middle_is_a_pixel_as_in_nnunet() -> None:
    network = PLAIN.replace(padded=True, window=(16, 16), mean_of="scores")
    line = blended(network).weights()[0]
    bell = np.exp(-0.5 * ((np.arange(16) - 8) / 2) ** 2)
    np.testing.assert_allclose(line[:8] / line[8:], bell[:8] / bell[8:], rtol=1e-9)
    np.testing.assert_allclose(line[:8] + line[8:], 1, rtol=1e-12)


def test_every_pixel_is_seen_twice_along_each_axis_in_one_order() -> None:
    table = blended(PLAIN.replace(padded=True, window=(8, 8)))
    seen: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for _, target, part in table.runs((12, 8)):
        for y in range(target[0].start, target[0].stop):
            for x in range(target[1].start, target[1].stop):
                place = (
                    y - target[0].start + part[0].start,
                    x - target[1].start + part[1].start,
                )
                seen.setdefault((y, x), []).append(place)
    assert len(seen) == 12 * 8
    assert seen[5, 6] == [(5, 6), (5, 2), (1, 6), (1, 2)]
    assert seen[1, 2] == [(5, 6), (5, 2), (1, 6), (1, 2)]


def test_memory_is_that_of_one_run_and_work_that_of_all() -> None:
    network = PLAIN.replace(padded=True, window=(16, 16))
    table = blended(network)
    assert table.peak_values((32, 8)) == (
        network.peak_values((16, 16)) + 2 * 32 * 8 + 3 * 48 * 24
    )
    assert table.flops((32, 8)) == 5 * 2 * network.flops((16, 16))


def test_tiles_have_several_windows_whatever_the_memory() -> None:
    volume = u_shape(ndim=3, channels=1, classes=2, width=1, depth=1)
    table = blended(volume.replace(padded=True, window=(32, 96, 96)))
    large = choose_output(table, (400, 2000, 2000), 1e12)
    assert all(n >= 3 * w for n, w in zip(large, table.window, strict=True))
    # with no memory at all about one step is left
    assert max(choose_output(table, (400, 2000, 2000), 0)) == 48
    assert output_with_stride(table, (1, 1, 1)) == table.step


@pytest.mark.parametrize(("ndim", "side"), [(2, 256), (3, 64)])
def test_statistics_over_the_window_have_a_usual_one(ndim: int, side: int) -> None:
    table = u_shape(ndim=ndim, channels=1, classes=2, width=1, depth=2, norm="instance")
    assert table.sees_window
    assert blended(table).window == table.output_covering((side,) * ndim)
    assert usual_window(ODD, (20, 20)) == (ODD.output_covering((20, 20))[0] - 1,) * 2


def test_a_deep_network_is_had_padded_in_windows() -> None:
    deep = u_shape(ndim=3, channels=1, classes=2, width=2, depth=5, flat=(5, 0, 0))
    assert smallest_window(geometry_of(deep)) == deep.min_input
    assert min(deep.min_input[1:]) > 300
    padded = in_windows(deep, (9, 60, 60))
    assert (padded.padded, padded.window) == (True, (10, 64, 64))
    assert smallest_window(geometry_of(padded)) == (10, 64, 64)
    assert padded.output_size((10, 64, 64)) == (10, 64, 64)


def test_nnunets_residual_encoder_of_six_stages_fits_into_a_window() -> None:
    published = resenc(Choice(ndim=3, width=32, depth=5))
    assert min(published.min_input) > 1400
    padded = in_windows(published, (60, 60, 60))
    assert padded.window == (64, 64, 64)
    assert geometry_of(padded).peak_values((128,) * 3) < 1e8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"padded": True}, "a padded network needs a window, found none"),
        ({"window": (32,)}, "along each of the 2 axes, found 32"),
        ({"window": (33, 33)}, "even size along each of the 2 axes, found 33 × 33"),
        ({"window": (0, 0)}, "even size .* found 0 × 0"),
    ],
)
def test_windows_that_cannot_be_are_refused(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PLAIN.replace(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": (40, 40)}, "multiple of 16 pixels, found 40 × 40"),
        ({"window": (32,)}, "2 or 3 axes|found 32"),
        ({"padded": False}, "always padded"),
        ({"heads": 5}, "each of the 5 heads, found 768"),
    ],
)
def test_transformers_that_cannot_be_are_refused(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Unetr(**fields)


def test_an_attention_counts_for_pairs_of_places() -> None:
    # 4 tokens of 2 channels; 36 places in a window of 96
    small = Unetr(window=(32, 32), token_width=2, hidden_width=2, heads=2, width=1)
    large = small.replace(window=(96, 96))
    pairs = 2 * 36**2 - 2 * 9 * 4**2
    without = {
        n: t.replace(heads=1).trace.kept_values(t.window or ())
        for n, t in (("small", small), ("large", large))
    }
    kept = large.trace.kept_values((96, 96)) - 9 * small.trace.kept_values((32, 32))
    expected = without["large"] - 9 * without["small"]
    assert kept - expected == 12 * (pairs // 2)
    products = large.flops((96, 96)) - 9 * small.flops((32, 32))
    assert products == 12 * 2 * 2 * (36**2 - 9 * 4**2)
    assert prod(large.trace.step) == 16**2
