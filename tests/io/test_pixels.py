from __future__ import annotations

import numpy as np
import pytest

from napari_unet.io.pixels import ArrayView, Pixels


@pytest.mark.parametrize(
    ("shape", "axes", "named", "left"),
    [
        ((4, 5), "yx", "yx", (4, 5)),
        ((3, 4, 5), "qyx", "zyx", (3, 4, 5)),
        ((3, 4, 5), "iyx", "zyx", (3, 4, 5)),
        ((4, 5, 3), "yxs", "yxc", (4, 5, 3)),
        ((1, 2, 1, 4, 5), "tczyx", "cyx", (2, 4, 5)),
        ((1, 1), "yx", "yx", (1, 1)),
        ((2, 1, 4, 1), "qqyx", "zyx", (2, 4, 1)),
        ((1, 4, 5, 3), "cyxs", "yxc", (4, 5, 3)),
        ((2, 3, 4, 5), "tqyx", "tzyx", (2, 3, 4, 5)),
    ],
)
def test_axes_are_named_and_those_of_length_one_dropped(
    shape: tuple[int, ...], axes: str, named: str, left: tuple[int, ...]
) -> None:
    values = np.arange(np.prod(shape)).reshape(shape)
    image = Pixels(values, axes).image("a")
    assert (image.axes, image.data.shape) == (named, left)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 3, 4, 5), "qqyx"),
        ((2, 3, 4, 5), "zqyx"),
        ((2, 4, 5, 3), "cyxs"),
        ((4,), "x"),
    ],
)
def test_axes_that_cannot_be_told_are_asked_for(
    shape: tuple[int, ...], axes: str
) -> None:
    with pytest.raises(ValueError, match=rf"a: .* shape \({shape[0]},.*axes='czyx'"):
        Pixels(np.arange(np.prod(shape)).reshape(shape), axes).image("a")


@pytest.mark.parametrize("axis", "rphemavl")
def test_an_axis_that_is_called_otherwise_is_read_as_slices_and_told(axis: str) -> None:
    pixels = Pixels(np.zeros((3, 4, 5)), f"{axis}yx")
    image = pixels.image("a")
    assert image.axes == "zyx"
    (note,) = image.notes
    assert note.startswith(f"an axis of 3 that the file calls {axis.upper()} is read")
    assert pixels.image("a", "tyx").notes == ()
    assert Pixels(np.zeros((1, 4, 5)), f"{axis}yx").image("a").notes == ()


@pytest.mark.parametrize("axis", "iq?z")
def test_an_axis_of_which_a_file_says_nothing_is_no_news(axis: str) -> None:
    assert Pixels(np.zeros((3, 4, 5)), f"{axis}yx").image("a").notes == ()


def test_given_axes_overrule_the_file() -> None:
    pixels = Pixels(np.zeros((2, 1, 4, 5)), "tzyx", {"z": 3.0, "y": 2.0, "x": 1.0})
    assert pixels.image("a", "zcyx").axes == "zyx"
    assert pixels.image("a", "zyx").spacing_um == (3.0, 2.0, 1.0)
    assert pixels.image("a", "cyx").spacing_um == (2.0, 1.0)
    with pytest.raises(ValueError, match=r"a: axes 'yx' name 2 axes.*\(2, 1, 4, 5\)"):
        pixels.image("a", "yx")


def test_axes_without_the_colours_leave_these_channels() -> None:
    colours = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    image = Pixels(colours, "qyxs").image("a", "tyx")
    assert (image.axes, image.data.shape) == ("tyxc", (2, 4, 5, 3))
    assert Pixels(colours, "qyxs").image("a", "tyxz").axes == "tyxz"
    assert Pixels(colours[:1], "qyxs").image("a", "yx").axes == "yxc"


def test_the_pixel_size_is_unknown_where_one_axis_lacks_it() -> None:
    sizes = {"y": 2.0, "x": 1.0}
    only_depth = Pixels(np.zeros((3, 4, 5)), "zyx", {"z": 2.0, "y": 1.0}).image("a")
    assert (only_depth.spacing_um, only_depth.yx_um) == (None, None)
    assert Pixels(np.zeros((4, 5)), "yx", sizes).image("a").spacing_um == (2.0, 1.0)
    assert Pixels(np.zeros((3, 4, 5)), "zyx", sizes).image("a").spacing_um is None


def test_booleans_become_uint8_and_bytes_native() -> None:
    image = Pixels(np.array([[True, False]]), "yx").image("a")
    assert image.data.dtype == np.uint8
    assert image.data[0].tolist() == [1, 0]
    big = Pixels(np.array([[1, 256]], ">u2"), "yx").image("a")
    assert big.data.dtype.isnative
    assert big.data[0].tolist() == [1, 256]


def test_complex_and_empty_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a: pixels must be .* found complex128"):
        Pixels(np.zeros((4, 5), complex), "yx").image("a")
    with pytest.raises(ValueError, match="a: the image is empty"):
        Pixels(np.zeros((0, 5)), "yx").image("a")


@pytest.mark.parametrize(
    "key",
    [
        (),
        (1,),
        2,
        slice(1, 3),
        Ellipsis,
        (Ellipsis, 3),
        (0, Ellipsis, slice(0, 2)),
        (slice(None), 1),
        (2, slice(1, 3), slice(0, 4)),
    ],
)
def test_a_view_indexes_like_the_narrowed_array(key: object) -> None:
    full = np.arange(3 * 4 * 5, dtype=">u2").reshape(3, 1, 4, 1, 5)
    view = ArrayView(full, (0, 2, 4))
    expected = full[:, 0, :, 0, :]
    np.testing.assert_array_equal(view[key], expected[key])  # type: ignore[index]
    np.testing.assert_array_equal(np.asarray(view), expected)
    assert (view.shape, view.ndim, view.dtype) == ((3, 4, 5), 3, np.dtype("=u2"))
    assert view[key].dtype.isnative
