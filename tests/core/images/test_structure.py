"""The same cells in more or less of an image: the same grey values for the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import GreyScale, measure

GROUND, HEIGHT, NOISE = 200, 1500, 25


def scene(
    shape: tuple[int, int],
    centres: list[tuple[int, int]],
    radius: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Discs with soft edges on a noisy ground."""
    y, x = np.indices(shape)
    discs = np.zeros(shape)
    for a, b in centres:
        discs[(y - a) ** 2 + (x - b) ** 2 <= radius**2] = 1
    noise = np.random.default_rng(seed).normal(GROUND, NOISE, shape)
    return np.clip(gaussian_filter(discs, 1.2) * HEIGHT + noise, 0, 65535).astype("u2")


def noise(shape: tuple[int, ...], mean: float, sd: float) -> np.ndarray:
    return np.random.default_rng(9).normal(mean, sd, shape).clip(0).astype("u2")


def padded(data: np.ndarray, rim: Any) -> np.ndarray:
    whole = np.zeros([n + 300 for n in data.shape], data.dtype)
    whole[:] = rim(whole.shape) if callable(rim) else rim
    whole[150:-150, 150:-150] = data
    return whole


def alike(found: GreyScale, expected: GreyScale, tolerance: float = 0.05) -> None:
    for a, b, sd in zip(found.mean, expected.mean, expected.sd, strict=True):
        assert abs(a - b) < tolerance * sd
    np.testing.assert_allclose(found.sd, expected.sd, rtol=tolerance)


ONE = scene((600, 640), [(300, 280)])
LARGE = scene((600, 640), [(300, 280)], radius=40)
SOME = scene((600, 640), [(60 + 97 * k % 500, 50 + 83 * k % 560) for k in range(12)])
RIMS = {
    "zero": 0,
    "like the ground": GROUND,
    "dark": lambda shape: noise(shape, GROUND / 2, NOISE / 3),
    "more ground": lambda shape: noise(shape, GROUND, NOISE),
}


@pytest.mark.parametrize("data", [ONE, LARGE, SOME], ids=["one", "large", "some"])
def test_a_crop_and_a_frame_in_a_rim_have_the_values_of_the_frame(
    data: np.ndarray,
) -> None:
    frame = measure(Image(data, "yx"))
    # by hand, but for the soft edges: see test_normalisation
    assert frame.mean == pytest.approx((GROUND + 0.2 * HEIGHT,), rel=0.12)
    assert frame.sd == pytest.approx((0.4 * HEIGHT,), rel=0.12)
    for rim in RIMS.values():
        alike(measure(Image(padded(data, rim), "yx")), frame)
    mosaic = np.zeros((1300, 2000), data.dtype)
    mosaic[:600, :640] = data
    alike(measure(Image(mosaic, "yx")), frame)
    alike(measure(Image(data[200:400, 180:380], "yx")), frame)
    alike(measure(Image(data[230:370, 210:350], "yx")), frame)


def test_one_cell_fills_a_crop() -> None:
    frame = measure(Image(ONE, "yx"))
    alike(measure(Image(ONE[285:316, 265:296], "yx")), frame, 0.12)


@pytest.mark.parametrize("kind", ["u1", "12 bits", "f4"])
def test_a_copy_of_another_depth_is_scaled_alike(kind: str) -> None:
    factor, dtype = {"u1": (1 / 8, "u1"), "12 bits": (2, "u2"), "f4": (1e-4, "f4")}[
        kind
    ]
    frame, copy = (measure(Image(d, "yx")) for d in (ONE, (ONE * factor).astype(dtype)))
    assert copy.mean[0] == pytest.approx(frame.mean[0] * factor, rel=0.02)
    assert copy.sd[0] == pytest.approx(frame.sd[0] * factor, rel=0.02)


def test_empty_slices_of_a_volume_and_frames_of_a_movie_change_nothing() -> None:
    empty = noise(ONE.shape, GROUND, NOISE)
    alone = measure(Image(ONE, "yx"))
    volume = np.stack([empty, ONE, empty, np.zeros_like(ONE), empty])
    alike(measure(Image(volume, "zyx")), alone)
    movie = Image(np.stack([empty * 3, ONE]), "tyx")
    assert measure(movie, 1) == alone


def test_each_channel_has_its_own_structure() -> None:
    other = scene((600, 640), [(450, 90)], radius=30, seed=3) * 5
    both = measure(Image(np.stack([ONE, other]), "cyx"))
    for number, data in enumerate((ONE, other)):
        assert both.mean[number : number + 1] == measure(Image(data, "yx")).mean


class Lazy:
    """One cell in a frame too large to be held, made as it is read."""

    dtype = np.dtype(np.uint16)
    shape = (3000, 20_000)

    def __init__(self, cell: np.ndarray, place: tuple[int, int]) -> None:
        self.cell, self.place = cell, place
        self.ground = noise((2048, 2048), GROUND, NOISE)
        self.most = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        y, x = (slice(*k.indices(n)) for k, n in zip(key, self.shape, strict=True))
        block = self.ground[: y.stop - y.start, : x.stop - x.start].copy()
        self.most = max(self.most, block.size)
        a, b = self.place[0] - y.start, self.place[1] - x.start
        rows, columns = (
            range(max(0, o), min(n, o + m))
            for o, n, m in zip((a, b), block.shape, self.cell.shape, strict=True)
        )
        if len(rows) and len(columns):
            block[rows.start : rows.stop, columns.start : columns.stop] = self.cell[
                rows.start - a : rows.stop - a, columns.start - b : columns.stop - b
            ]
        return block


@pytest.mark.parametrize("place", [(8, 40), (1990, 8150), (2901, 19_870)])
def test_one_cell_in_a_large_frame_is_not_missed(place: tuple[int, int]) -> None:
    cell = ONE[255:345, 235:325]
    lazy = Lazy(cell, place)
    alike(measure(Image(lazy, "yx")), measure(Image(ONE, "yx")))
    assert lazy.most <= 2048**2


def test_a_value_that_is_no_number_is_found_in_a_large_frame() -> None:
    data = np.zeros((2100, 2100), np.float32)
    data[1999, 7] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure(Image(data, "yx"))


def test_one_speck_of_debris_among_cells_and_hot_pixels_do_not_matter() -> None:
    frame = measure(Image(SOME, "yx"))
    dirty = SOME.copy()
    dirty[500:518, 30:48] = GROUND + 6 * HEIGHT
    alike(measure(Image(dirty, "yx")), frame, 0.4)
    hot = SOME.copy()
    hot.ravel()[::4000] = 65535
    alike(measure(Image(hot, "yx")), frame)


def test_uneven_light_is_no_structure() -> None:
    y, x = (np.indices(ONE.shape).T / ONE.shape - 0.5).T
    lit = (ONE * (1.1 - 0.8 * (x**2 + y**2))).astype("u2")
    alike(measure(Image(lit, "yx")), measure(Image(ONE, "yx")), 0.2)


def test_an_empty_rim_looks_like_ground() -> None:
    faint = np.uint16(900) + ONE // 5
    whole = padded(faint, 0)
    scale = measure(Image(whole, "yx"))
    grey = scale.apply(whole[None])[0]
    ground = grey[400:440, 200:240]
    assert abs(grey[0, 0] - ground.mean()) < ground.std()
    assert (grey[:150] == grey[0, 0]).all()


@pytest.mark.parametrize("sd", [0, 40])
def test_what_lies_on_nothing_does_not_vanish(sd: int) -> None:
    y, x = np.indices((700, 700))
    inside = (y - 350) ** 2 + (x - 350) ** 2 < 250**2
    data = np.where(inside, noise((700, 700), 900, sd), 0).astype("u2")
    # its edge is not that of a field of view: the ground is ground
    assert measure(Image(data, "yx")).empty == (None,)


def test_dark_values_that_were_cut_off_are_ground() -> None:
    cut = np.maximum(ONE.astype(int) - 260, 0).astype("u2")
    assert (cut == 0).mean() > 0.9
    scale = measure(Image(cut, "yx"))
    assert scale.empty == (None,)
    assert scale.mean == pytest.approx((0.2 * (HEIGHT - 60),), rel=0.12)
