from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.session.images.image_layers import describe, fingerprint_of
from napari_unet.session.images.layers import note
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Pump


@pytest.fixture
def bench(tmp_path: Path, pump: Pump) -> Iterator[SessionBench]:
    bench = SessionBench(tmp_path, pump.post)
    yield bench
    bench.close()


def pixels(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 999, shape).astype(np.uint16)


def test_an_image_is_written_down_with_axes_shape_and_pixel_size(
    bench: SessionBench,
) -> None:
    layer = bench.viewer.add_image(
        pixels(5, 20, 30), name="embryo", scale=(2, 0.5, 0.5), units=("um",) * 3
    )
    image = bench.images.add([layer])
    assert (image.name, image.axes, image.shape) == ("embryo", "zyx", (5, 20, 30))
    assert image.spacing_um == (2.0, 0.5, 0.5)
    assert bench.store.project.images == (image,)
    assert bench.images.layers(image.id) == [layer]


def test_axes_can_be_named_by_hand(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(pixels(5, 20, 30))
    image = bench.images.add([layer], "tyx")
    assert (image.axes, image.annotation_axes) == ("tyx", "tyx")


def test_several_layers_are_the_channels_of_one_image(bench: SessionBench) -> None:
    red = bench.viewer.add_image(pixels(20, 30, seed=1), name="red")
    green = bench.viewer.add_image(pixels(20, 30, seed=2), name="green")
    image = bench.images.add([red, green])
    stored = bench.images.reference(image.id)
    bench.images.share_frames(image.id)
    opened = stored.open()
    assert opened.axes == "cyx"
    np.testing.assert_array_equal(opened.data[1, :, :], green.data)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("zcyx", (4, 2, 20, 30)), ("tzcyx", (1, 4, 2, 20, 30)), ("zyxc", (4, 20, 30, 2))],
)
def test_channels_behind_slices_become_layers_so_that_slices_stay_together(
    bench: SessionBench, axes: str, shape: tuple[int, ...]
) -> None:
    told: list[str] = []
    bench.images.message.connect(lambda _, sentence: told.append(sentence))
    pixels = np.random.default_rng(0).integers(0, 99, shape).astype(np.uint16)
    scale = [0.5 if axis in "yx" else 1 for axis in axes]
    image = bench.add(pixels, axes=axes, rgb=False, scale=scale)
    assert (image.name, image.axes) == ("nuclei", axes.replace("c", ""))
    assert image.channels == 2
    layers = bench.images.layers(image.id)
    assert [layer.name for layer in layers] == ["nuclei channel 1", "nuclei channel 2"]
    assert told[0].startswith("nuclei: each of its 2 channels is a layer")
    for number, layer in enumerate(layers):
        channel = np.take(pixels, number, axes.index("c"))
        np.testing.assert_array_equal(layer.data, channel)
        assert layer.scale[-2:].tolist() == [0.5, 0.5]
    annotation = bench.annotating.layers.show(image.id)
    assert annotation.data.shape == image.shape
    # the slider of the slices moves both
    slider = image.axes.index("z")
    assert bench.viewer.dims.nsteps[slider] == 4
    bench.viewer.dims.set_current_step(slider, 3)
    assert bench.images.place_in_view(image.id) == (0, 3)


@pytest.mark.parametrize("when", ["project", "image"])
def test_channels_that_an_older_project_keeps_in_one_layer_are_parted_as_it_opens(
    bench: SessionBench, pump: Pump, when: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (4, 2, 20, 30), np.uint16)
    layer = bench.viewer.add_image(pixels, name="nuclei")
    found = bench.images.interpret(layer, "zcyx")
    assert found is not None
    old = describe([layer], found, 0, fingerprint_of([layer], "zcyx", 0))
    bench.store.update(bench.store.project.with_image(old))
    corner = (slice(5, 6), slice(7, 8))
    bench.store.annotation(old.id).write(0, 3, corner, np.full((1, 1), 7))
    if when == "project":
        bench.reopen()
    else:
        bench.viewer.layers.remove(layer)
        bench.viewer.add_image(pixels, name="of another name")
        pump.until(lambda: len(bench.viewer.layers) > 1)
    shapes = [channel.data.shape for channel in bench.images.layers(old.id)]
    assert shapes == [(4, 20, 30)] * 2
    now = bench.store.project.image(old.id)
    assert (now.axes, now.channels) == ("zyx", 2)
    assert bench.annotating.layers.show(old.id).data[3, 5, 7] == 7


def test_channels_before_all_others_stay_in_one_layer(bench: SessionBench) -> None:
    image = bench.add(np.zeros((2, 4, 20, 30), np.uint8), axes="czyx")
    assert len(bench.images.layers(image.id)) == 1
    assert image.channels == 2


def test_an_rgb_layer_has_its_channels_last(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(np.zeros((20, 30, 3), np.uint8), rgb=True)
    image = bench.images.add([layer])
    assert (image.axes, image.annotation_shape) == ("yxc", (20, 30))


def test_a_level_of_a_multiscale_image_is_chosen(bench: SessionBench) -> None:
    levels = [pixels(64, 64), pixels(32, 32)]
    layer = bench.viewer.add_image(
        levels, multiscale=True, scale=(0.5, 0.5), units=("um", "um")
    )
    image = bench.images.add([layer], level=1)
    assert (image.shape, image.spacing_um) == ((32, 32), (1.0, 1.0))
    with pytest.raises(ValueError, match="levels 0 to 1, found 2"):
        bench.images.add([layer], level=2)


def test_channels_of_different_shape_are_refused(bench: SessionBench) -> None:
    one = bench.viewer.add_image(pixels(20, 30), name="one")
    two = bench.viewer.add_image(pixels(20, 31), name="two")
    with pytest.raises(ValueError, match=r"one has \(20, 30\), two \(20, 31\)"):
        bench.images.add([one, two])


def test_channels_of_different_scale_are_refused(bench: SessionBench) -> None:
    one = bench.viewer.add_image(pixels(20, 30), name="one")
    two = bench.viewer.add_image(pixels(20, 30), name="two", scale=(2, 2))
    with pytest.raises(ValueError, match=r"two \(2\.0, 2\.0\)"):
        bench.images.add([one, two])


@pytest.mark.parametrize("axes", ["zy", "yxx", "yx", "xyz", "zyq"])
def test_axes_that_do_not_fit_are_refused(bench: SessionBench, axes: str) -> None:
    layer = bench.viewer.add_image(pixels(5, 20, 30), name="stack")
    with pytest.raises(ValueError, match=f"stack.*found '{axes}'"):
        bench.images.add([layer], axes)


def test_what_is_no_image_is_refused(bench: SessionBench) -> None:
    labels = bench.viewer.add_labels(np.zeros((4, 4), int), name="mask")
    with pytest.raises(ValueError, match="mask is no image layer"):
        bench.images.add([labels])
    with pytest.raises(ValueError, match="Select one image layer"):
        bench.images.add([])


def test_a_layer_is_added_once(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(pixels(20, 30), name="one")
    bench.images.add([layer])
    with pytest.raises(ValueError, match="one is in the project already"):
        bench.images.add([layer])


def test_results_and_images_of_the_project_are_no_candidates(
    bench: SessionBench,
) -> None:
    own = bench.viewer.add_image(pixels(20, 30))
    bench.viewer.add_image(pixels(20, 30, seed=1), metadata=note("probability"))
    free = bench.viewer.add_image(pixels(20, 30, seed=2))
    bench.viewer.add_labels(np.zeros((20, 30), int))
    bench.images.add([own])
    assert bench.images.candidates() == [free]


def test_a_renamed_and_moved_layer_is_still_the_image(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(pixels(20, 30), name="one")
    image = bench.images.add([layer])
    bench.viewer.add_image(pixels(20, 30, seed=1), name="two")
    layer.name = "other"
    bench.viewer.layers.move(0, 2)
    assert bench.images.layers(image.id) == [layer]


def test_a_deleted_layer_leaves_a_closed_image(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(pixels(20, 30), name="one")
    image = bench.images.add([layer])
    bench.viewer.layers.remove(layer)
    assert bench.images.layers(image.id) == []
    assert bench.store.project.images == (image,)
    with pytest.raises(ValueError, match="one is closed"):
        bench.images.reference(image.id)


def test_an_image_opened_again_is_known_by_its_pixels(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(pixels(20, 30), name="one")
    image = bench.images.add([layer])
    bench.viewer.layers.remove(layer)
    attached: list[str] = []
    bench.images.attached.connect(attached.append)
    bench.viewer.add_image(pixels(20, 30, seed=1), name="one")
    assert bench.images.layers(image.id) == []
    again = bench.viewer.add_image(pixels(20, 30), name="another name")
    assert bench.images.layers(image.id) == [again]
    assert attached == [image.id]


def test_channels_are_found_again_when_a_project_opens(bench: SessionBench) -> None:
    red = bench.viewer.add_image(pixels(20, 30, seed=1), name="red")
    green = bench.viewer.add_image(pixels(20, 30, seed=2), name="green")
    image = bench.images.add([red, green])
    bench.reopen()
    assert bench.images.layers(image.id) == [red, green]


def test_new_pixels_of_another_shape_close_the_image(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(pixels(20, 30))
    image = bench.images.add([layer])
    layer.data = pixels(20, 30, seed=1)
    assert bench.images.layers(image.id) == [layer]
    layer.data = pixels(10, 10)
    assert bench.images.layers(image.id) == []


def test_the_current_image_is_that_of_the_active_layer(bench: SessionBench) -> None:
    assert bench.images.current is None
    one, two = (bench.viewer.add_image(pixels(20, 30, seed=n)) for n in (1, 2))
    first, second = bench.images.add([one]), bench.images.add([two])
    bench.viewer.layers.selection.active = one
    assert bench.images.current == first
    bench.viewer.layers.selection.active = two
    assert bench.images.current == second
    bench.viewer.layers.selection.active = None
    assert bench.images.current == second
    bench.images.set_current(first.id)
    assert bench.viewer.layers.selection.active is one


def test_a_removed_image_comes_back_by_undo(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(pixels(20, 30), name="one")
    image = bench.images.add([layer])
    bench.images.remove(image.id)
    assert bench.images.current is None
    assert bench.images.candidates() == [layer]
    assert bench.store.undo() == "remove one"
    assert bench.images.layers(image.id) == [layer]


def test_a_tick_is_part_of_the_project(bench: SessionBench) -> None:
    image = bench.images.add([bench.viewer.add_image(pixels(20, 30))])
    bench.images.set_use_for_training(image.id, False)
    assert not bench.store.project.image(image.id).use_for_training


def test_the_place_in_view_follows_the_sliders(bench: SessionBench) -> None:
    layer = bench.viewer.add_image(pixels(3, 5, 20, 30), scale=(1, 2, 1, 1))
    image = bench.images.add([layer], "tzyx")
    moved: list[int] = []
    bench.images.place_changed.connect(lambda: moved.append(1))
    bench.viewer.dims.set_point(0, 2)
    bench.viewer.dims.set_point(1, 6)
    assert bench.images.place_in_view(image.id) == (2, 3)
    assert moved
    assert bench.images.box_in_view(image.id) == (slice(0, 20), slice(0, 30))


def test_no_annotation_is_stored_before_there_is_one(bench: SessionBench) -> None:
    image = bench.images.add([bench.viewer.add_image(pixels(20, 30))])
    assert bench.images.annotation_reference(image.id) is None
    assert bench.images.places(image.id) == ()
