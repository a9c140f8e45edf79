from __future__ import annotations

from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_unet.core.images.image import Field, Image


class Spy:
    """An array that notes what is read from it."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = data
        self.shape, self.dtype = data.shape, data.dtype
        self.reads: list[Any] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        self.reads.append(key)
        return self._data[key]


def numbered(**sizes: int) -> np.ndarray:
    """An array whose pixels are all different."""
    return np.arange(np.prod([*sizes.values()])).reshape(*sizes.values())


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((2, 3), "yx"), ((2,) * 3, "zyx"), ((2,) * 4, "czyx"), ((2,) * 5, "tczyx")],
)
def test_the_axes_of_a_bare_array_follow_from_their_number(
    shape: tuple[int, ...], axes: str
) -> None:
    assert Image.from_array(np.zeros(shape)).axes == axes


def test_given_axes_are_taken() -> None:
    image = Image.from_array(np.zeros((5, 6, 3)), "yxc", name="colour")
    assert (image.axes, image.name, image.channels) == ("yxc", "colour", 3)


@pytest.mark.parametrize("shape", [(4,), (2,) * 6])
def test_arrays_with_too_few_or_too_many_axes_are_refused(
    shape: tuple[int, ...],
) -> None:
    with pytest.raises(ValueError, match="2 to 5 axes, found an array of shape"):
        Image.from_array(np.zeros(shape))


@pytest.mark.parametrize("axes", ["zy", "yxx", "yxs", "", "YX"])
def test_axes_other_than_y_and_x_with_t_c_z_are_refused(axes: str) -> None:
    with pytest.raises(ValueError, match=rf"each once; found '{axes}'"):
        Image(np.zeros((2,) * len(axes)), axes)


def test_as_many_axes_as_the_array_has_must_be_named() -> None:
    with pytest.raises(ValueError, match=r"'zyx' name 3 axes.*\(4, 5\)"):
        Image(np.zeros((4, 5)), "zyx")


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_an_image_without_pixels_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"plate 7: the image is empty, its shape is"):
        Image(np.zeros(shape), "yx", name="plate 7")


@pytest.mark.parametrize(
    "spacing", [(0.5,), (0.5, 0.5, 0.5), (0.5, 0.0), (-1.0, 1.0), (0.5, float("nan"))]
)
def test_a_pixel_size_needs_a_positive_value_for_each_spatial_axis(
    spacing: tuple[float, ...],
) -> None:
    with pytest.raises(ValueError, match=r"needs 2 positive values \(y, x\), found"):
        Image(np.zeros((3, 4, 2)), "yxc", spacing)


def test_an_axis_that_is_not_there_has_length_one() -> None:
    image = Image(np.zeros((4, 5, 3)), "yxc")
    assert [image.size(a) for a in "tczyx"] == [1, 3, 1, 4, 5]
    assert image.field_shape(2) == (4, 5)
    assert image.field_shape(3) == (1, 4, 5)


@pytest.mark.parametrize(
    ("axes", "spacing", "flat", "deep"),
    [
        ("zyx", None, (1, 1), (1, 1, 1)),
        ("zyx", (2.0, 0.5, 0.5), (1, 1), (4, 1, 1)),
        ("zyx", (0.25, 0.5, 1.0), (1, 2), (1, 2, 4)),
        ("yx", (0.5, 0.25), (2, 1), (1, 2, 1)),
        # spacing has the order z, y, x whatever the order of the array
        ("xyz", (2.0, 1.0, 0.5), (2, 1), (4, 2, 1)),
    ],
)
def test_spacing_is_relative_to_the_finest_axis_of_the_field(
    axes: str,
    spacing: tuple[float, ...] | None,
    flat: tuple[float, ...],
    deep: tuple[float, ...],
) -> None:
    image = Image(np.zeros((3,) * len(axes)), axes, spacing)
    assert image.field_spacing(2) == flat
    assert image.field_spacing(3) == deep


def test_planes_come_slice_by_slice_and_volumes_time_by_time() -> None:
    image = Image(np.zeros((2, 4, 4, 3)), "tyxz")
    assert [(f.t, f.z) for f in image.fields(2)] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    assert [(f.t, f.z, f.ndim) for f in image.fields(3)] == [(0, None, 3), (1, None, 3)]


@pytest.mark.parametrize("axes", ["tczyx", "xyzct", "ztxcy"])
def test_a_field_is_channel_first_whatever_the_order_of_axes(axes: str) -> None:
    sizes = {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}
    upright = numbered(**sizes)
    data = upright.transpose(["tczyx".index(a) for a in axes])
    image = Image(data, axes)
    plane, volume = Field(image, t=1, z=2), Field(image, t=1, z=None)
    np.testing.assert_array_equal(plane.read(), upright[1, :, 2])
    np.testing.assert_array_equal(volume.read(), upright[1])
    box = (slice(1, 3), slice(2, 5), slice(0, 1))
    np.testing.assert_array_equal(volume.read(box), upright[(1, slice(None), *box)])
    np.testing.assert_array_equal(plane.read(box[1:]), upright[1, :, 2, 2:5, 0:1])


def test_a_missing_channel_and_a_missing_slice_become_axes_of_one() -> None:
    data = numbered(y=4, x=5)
    image = Image(data, "yx")
    np.testing.assert_array_equal(Field(image).read(), data[None])
    volume = Field(image, z=None)
    assert volume.shape == (1, 4, 5)
    np.testing.assert_array_equal(volume.read(), data[None, None])
    box = (slice(0, 1), slice(1, 3), slice(4, 5))
    np.testing.assert_array_equal(volume.read(box), data[None, None, 1:3, 4:5])
    colour = Image(numbered(y=4, x=5, c=3), "yxc")
    assert Field(colour, z=None).read().shape == (3, 1, 4, 5)


def test_only_the_box_is_read() -> None:
    spy = Spy(numbered(t=2, c=1, z=3, y=8, x=9))
    block = Field(Image(spy, "tczyx"), t=1, z=2).read((slice(3, 5), slice(0, 9)))
    assert spy.reads == [(1, slice(None), 2, slice(3, 5), slice(0, 9))]
    assert block.shape == (1, 2, 9)


@pytest.mark.parametrize("kind", ["dask", "zarr"])
def test_arrays_on_disk_read_like_arrays_in_memory(kind: str) -> None:
    data = numbered(z=3, c=2, y=7, x=8)
    arrays: dict[str, Any] = {"dask": da.from_array(data, chunks=2)}
    if kind == "zarr":
        arrays["zarr"] = zarr.create_array({}, data=data, chunks=(1, 1, 4, 4))
    box = (slice(2, 6), slice(1, 8))
    block = Field(Image(arrays[kind], "zcyx"), z=1).read(box)
    assert isinstance(block, np.ndarray)
    np.testing.assert_array_equal(block, data[1, :, 2:6, 1:8])


def test_the_size_of_y_and_x_is_known_without_that_of_z() -> None:
    stack = Image(np.zeros((2, 3, 4)), "zyx", (0.5, 0.25))
    assert (stack.spacing_um, stack.yx_um) == (None, (0.5, 0.25))
    assert stack.known_um == (0.5, 0.25)
    assert (stack.pixel_size(2), stack.pixel_size(3)) == ((0.5, 0.25), None)
    assert stack.field_spacing(2) == (2.0, 1.0)
    assert stack.field_spacing(3) == (1.0, 2.0, 1.0)
    again = replace(stack, name="b")
    assert (again.spacing_um, again.yx_um) == (None, (0.5, 0.25))
    whole = Image(np.zeros((2, 3, 4)), "zyx", (3.0, 0.5, 0.25))
    assert (whole.yx_um, whole.known_um) == ((0.5, 0.25), (3.0, 0.5, 0.25))
    assert (whole.pixel_size(2), whole.pixel_size(3)) == ((0.5, 0.25), whole.known_um)
    with pytest.raises(ValueError, match="pixel size needs 3 positive values"):
        Image(np.zeros((2, 3, 4)), "zyx", (1.0,))


def test_grey_is_three_colours_where_these_are_wanted() -> None:
    data = np.arange(12).reshape(3, 4)
    grey = Image(data, "yx", grey=True)
    colours = grey.with_channels(3)
    assert (colours.axes, colours.channels) == ("yxc", 3)
    np.testing.assert_array_equal(colours.data, np.stack([data] * 3, -1))
    assert grey.with_channels(1) is grey
    assert grey.with_channels(2) is grey
    plain = Image(data, "yx")
    assert plain.with_channels(3) is plain  # one channel is not three


@pytest.mark.parametrize("axes", ["cyx", "yxc", "tczyx"])
def test_one_channel_is_an_image_of_its_own(axes: str) -> None:
    data = np.arange(4 ** len(axes)).reshape((4,) * len(axes))
    image = Image(data, axes, name="a")
    one = image.channel(3)
    wanted = np.take(data, 2, axes.index("c"))
    assert (one.axes, one.channels, one.name) == (axes.replace("c", ""), 1, "a")
    np.testing.assert_array_equal(one.read(), wanted)
    np.testing.assert_array_equal(one.read((..., slice(1, 3))), wanted[..., 1:3])
    np.testing.assert_array_equal(one.read(2), wanted[2])
    box = (slice(1, 3), slice(0, 2))
    for field, whole in zip(one.fields(2), image.fields(2), strict=True):
        np.testing.assert_array_equal(field.read(box)[0], whole.read(box)[2])
    for number in (0, 5):
        with pytest.raises(ValueError, match=f"no channel {number}, .* 1 to 4"):
            image.channel(number)
    assert one.channel(1) is one


class Damaged:
    """An array on disk of which a part cannot be decoded."""

    shape = (3, 4)
    dtype = np.dtype(np.uint8)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, key: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RuntimeError("blosc: -1.\nmore"), ValueError, "is damaged .*: blosc: -1"),
        (OSError(5, "Input/output error"), OSError, "cannot be read, Input/output"),
        (MemoryError("no"), MemoryError, "no"),
    ],
)
def test_a_part_that_cannot_be_read_is_one_sentence(
    error: Exception, kind: type[Exception], words: str
) -> None:
    (field,) = Image(Damaged(error), "yx", name="a").fields(2)
    with pytest.raises(kind, match=words) as caught:
        field.read()
    assert "\n" not in str(caught.value)
