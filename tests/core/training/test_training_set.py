from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import IGNORED, Annotation, ClassInfo
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import GreyScale
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.training_set import (
    Example,
    TrainingSet,
    cell_sizes,
    count_classes,
    hold_out,
    make_example,
    update_example,
)

PLAIN = GreyScale((0.0,), (1.0,), (0.0,), (1.0,))


def example(classes: np.ndarray) -> Example:
    ndim = classes.ndim
    image = Image(np.zeros(classes.shape), "zyx"[3 - ndim :])
    field = next(iter(image.fields(ndim)))
    return Example(field, PLAIN, classes.astype(np.uint8), np.ones(classes.shape, "f4"))


def stripes(*shape: int) -> Example:
    """Background and one class in turn: both are known in each corner."""
    classes = np.zeros(shape, np.uint8)
    classes[..., ::2] = 1
    return example(classes)


def parted(
    *examples: Example,
    share: float = 0.16,
    halo: tuple[int, ...] = (5, 9),
    classes: int = 2,
    seed: int = 0,
) -> TrainingSet:
    rng = np.random.default_rng(seed)
    return hold_out(examples, share, halo, classes, rng)


def distance_to(box: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Pixels from each pixel to the box along each axis, shape (ndim, *shape)."""
    axes = []
    for part, n in zip(box, shape, strict=True):
        i = np.arange(n)
        axes.append(np.maximum(np.maximum(part.start - i, i - (part.stop - 1)), 0))
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def test_an_example_has_targets_scale_and_border_weights() -> None:
    labels = np.ones((9, 12), np.uint16)
    labels[:, 2:5], labels[:, 6:9], labels[0] = 2, 3, 0
    data = np.arange(108.0).reshape(9, 12)
    field = next(Image(data, "yx").fields(2))
    made = make_example(field, Annotation(labels), BorderWeights(w0=7.0, sigma=5.0))
    assert made.field is field
    assert (made.classes[0] == IGNORED).all()
    assert made.classes[4].tolist() == [0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0]
    # Eq. 2 in the gap of one pixel: distance 1 to both cells
    assert made.border[4, 5] == pytest.approx(7 * np.exp(-(2**2) / (2 * 5**2)))
    assert made.border[4, 3] == 0
    assert made.scale.mean == pytest.approx((53.5,), rel=1e-3)


def test_border_weights_are_measured_with_the_pixel_size() -> None:
    labels = np.ones((9, 12), np.uint16)
    labels[:, 2:5], labels[:, 6:9] = 2, 3
    image = Image(np.arange(108.0).reshape(9, 12), "yx", (0.5, 1.5))
    made = make_example(next(image.fields(2)), Annotation(labels), BorderWeights())
    assert made.spacing == (1.0, 3.0)
    assert made.border[4, 5] == pytest.approx(10 * np.exp(-(6**2) / (2 * 5**2)))


def test_labels_of_another_size_are_refused() -> None:
    image = Image(np.zeros((9, 12)), "yx", name="plate")
    message = r"plate: the image has size \(9, 12\), its labels \(12, 9\)"
    with pytest.raises(ValueError, match=message):
        make_example(
            next(image.fields(2)),
            Annotation(np.ones((12, 9), np.int32)),
            BorderWeights(),
        )


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_a_single_value_that_is_no_number_is_found_also_in_a_large_frame(
    bad: float,
) -> None:
    # so large that the grey values are measured in a part of it
    data = np.zeros((2200, 2200), np.float32)
    data[1500, 3] = bad
    annotation = Annotation(np.ones(data.shape, np.uint8))
    with pytest.raises(ValueError, match="the image has NaN or infinite values"):
        make_example(next(Image(data, "yx").fields(2)), annotation, BorderWeights())


def test_classes_are_counted_over_all_examples_without_the_ignored() -> None:
    first = example(np.array([[0, 0, 1], [2, 255, 255]]))
    second = example(np.array([[2, 2]]))
    assert count_classes([first, second], 4).tolist() == [2, 1, 3, 0]
    assert count_classes([], 2).tolist() == [0, 0]


def test_nothing_is_held_out_if_nothing_is_asked_for() -> None:
    whole = stripes(100, 100)
    result = parted(whole, share=0)
    assert result.examples == (whole,)
    assert result.held_out == ()
    assert "as requested" in result.validation


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("shape", "halo"),
    [((100, 140), (5, 9)), ((90, 90), (0, 1)), ((4, 80, 70), (2, 8, 3))],
)
def test_no_learnt_pixel_is_within_the_halo_of_a_held_out_one(
    shape: tuple[int, ...], halo: tuple[int, ...], seed: int
) -> None:
    whole = stripes(*shape)
    result = parted(whole, halo=halo, seed=seed)
    (learnt,), (held,) = result.examples, result.held_out
    assert held.example is whole
    away = distance_to(held.box, shape)
    reach = np.reshape(halo, (-1, *(1,) * len(shape)))
    seen = (away <= reach).all(axis=0)
    # neither a pixel more nor a pixel less is given up than the network sees
    np.testing.assert_array_equal(learnt.classes == IGNORED, seen)
    np.testing.assert_array_equal(learnt.classes[~seen], whole.classes[~seen])
    assert not (whole.classes == IGNORED).any()


def test_the_corner_has_the_share_asked_for() -> None:
    result = parted(stripes(100, 150), share=0.16)
    box = result.held_out[0].box
    assert [b.stop - b.start for b in box] == [40, 60]
    assert result.validation == "a corner of the slice is held out"
    assert box[0] in (slice(0, 40), slice(60, 100))
    assert box[1] in (slice(0, 60), slice(90, 150))


def test_a_stack_is_cut_in_y_and_x_only() -> None:
    result = parted(stripes(5, 60, 60), halo=(20, 3, 3))
    assert result.held_out[0].box[0] == slice(0, 5)


def test_the_corner_with_the_share_nearest_to_that_asked_for_is_taken() -> None:
    classes = stripes(100, 100).classes.copy()
    # of 1600 pixels in a corner 1600, 800, 1000 and 40; wanted 0.16 of all
    classes[:20, 60:] = IGNORED
    classes[60:75, :40] = IGNORED
    classes[60:99, 60:] = IGNORED
    wanted = 0.16 * (classes != IGNORED).sum()
    assert 1000 < wanted < 1300
    for seed in range(5):
        held = parted(example(classes), seed=seed).held_out[0]
        assert held.box == (slice(60, 100), slice(0, 40))


def test_one_seed_gives_one_corner_and_others_others() -> None:
    boxes = [parted(stripes(90, 90), seed=s).held_out[0].box for s in (0, *range(30))]
    assert boxes[0] == boxes[1]
    assert len({str(b) for b in boxes}) == 4


def test_images_of_different_sizes_are_each_cut() -> None:
    result = parted(stripes(100, 100), stripes(50, 200))
    assert [e.classes.shape for e in result.examples] == [(100, 100), (50, 200)]
    sizes = [[b.stop - b.start for b in h.box] for h in result.held_out]
    assert sizes == [[40, 40], [20, 80]]


def test_of_many_slices_whole_ones_are_held_out() -> None:
    fields = [stripes(40, 30 + k) for k in range(7)]
    result = parted(*fields, share=0.2)
    assert result.validation == "2 of 7 slices are held out"
    held = [h.example for h in result.held_out]
    assert len(held) == 2
    assert {*map(id, held), *map(id, result.examples)} == {*map(id, fields)}
    assert len(result.examples) == 5
    for part in result.held_out:
        assert part.box == tuple(slice(0, n) for n in part.example.classes.shape)


def test_five_slices_are_few_and_six_are_many() -> None:
    assert "a corner" in parted(*[stripes(60, 60)] * 5).validation
    assert "1 of 6" in parted(*[stripes(60, 60)] * 6).validation


def test_of_six_large_slices_corners_cost_less_than_a_whole_one() -> None:
    # a tenth of each with a margin of 3 pixels is 35 ** 2 of 100 ** 2, below a sixth
    result = parted(*[stripes(100, 100)] * 6, share=0.1, halo=(3, 3))
    assert result.validation == "a corner of each of 6 slices is held out"
    assert len(result.held_out) == 6
    # with a wider one it is more than a sixth
    wider = parted(*[stripes(100, 100)] * 6, share=0.1, halo=(12, 12))
    assert "1 of 6" in wider.validation


@pytest.mark.parametrize("painted", [1, 6])
def test_of_a_slice_that_nobody_painted_nothing_is_held_out(painted: int) -> None:
    empty = example(np.full((100, 100), IGNORED))
    result = parted(*[stripes(100, 100)] * painted, empty, share=0.1, halo=(3, 3))
    assert len(result.held_out) == painted
    assert all(part.example is not empty for part in result.held_out)
    assert result.examples[-1] is empty


@pytest.mark.parametrize(("pixels", "enough"), [(200, True), (199, False)])
def test_two_hundred_pixels_of_each_class_are_enough(pixels: int, enough: bool) -> None:
    classes = np.zeros((40, 20), np.uint8)
    classes.ravel()[:pixels] = 1
    result = parted(*[example(classes)] * 6)
    assert bool(result.held_out) is enough


def _only_in_the_middle(shape: tuple[int, int]) -> Example:
    classes = np.zeros(shape, np.uint8)
    classes[:, 45:55] = 1
    return example(classes)


@pytest.mark.parametrize(
    ("whole", "halo"),
    [
        (stripes(20, 20), (1, 1)),
        # the margin would take more than half
        (stripes(100, 100), (40, 40)),
    ],
    ids=["small", "margin"],
)
def test_too_few_labels_to_validate_is_said_and_all_are_learnt_from(
    whole: Example, halo: tuple[int, int]
) -> None:
    result = parted(whole, halo=halo)
    assert result.examples == (whole,)
    assert result.held_out == ()
    assert result.validation == (
        "too few labels to validate: all of them are learnt from"
    )


def test_where_no_corner_knows_all_classes_another_part_is_held_out() -> None:
    whole = _only_in_the_middle((100, 100))
    result = parted(whole, halo=(1, 1))
    (part,) = result.held_out
    assert result.validation == "a part of the slice is held out"
    assert (whole.classes[part.box] == 1).sum() >= 200
    grown = tuple(slice(max(b.start - 1, 0), b.stop + 1) for b in part.box)
    assert (result.examples[0].classes[grown] == IGNORED).all()
    assert (result.examples[0].classes == IGNORED).sum() < 100 * 100 / 3


def test_a_class_that_is_nowhere_annotated_does_not_prevent_validation() -> None:
    assert parted(stripes(100, 100), classes=3).held_out


def test_regions_have_no_border_weights() -> None:
    labels = np.ones((9, 12), np.uint16)
    labels[:, 2:5], labels[:, 6:9] = 2, 3
    regions = Annotation(labels, (ClassInfo(name="tissue", kind="regions"),))
    field = next(Image(np.arange(108.0).reshape(9, 12), "yx").fields(2))
    assert not make_example(field, regions, BorderWeights()).border.any()


def test_the_corner_is_one_of_the_annotated_part() -> None:
    classes = np.full((200, 200), IGNORED, np.uint8)
    classes[50:130, 60:140] = np.arange(80) % 2
    (part,) = parted(example(classes), share=0.25, halo=(5, 5)).held_out
    rows, columns = part.box
    assert (rows.start, rows.stop) in {(50, 90), (90, 130)}
    assert (columns.start, columns.stop) in {(60, 100), (100, 140)}


def test_cells_are_measured() -> None:
    labels = np.ones((40, 40), np.int32)
    labels[:10, :10], labels[20:22, 20:40], labels[30:32, 1:4] = 2, 3, 4
    assert sorted(cell_sizes([Annotation(labels)])) == [6, 40, 100]
    nothing = Annotation(np.ones((4, 4), np.int32))
    assert len(cell_sizes([nothing])) == 0
    assert len(cell_sizes([])) == 0


def cells_at_random(shape: tuple[int, ...], seed: int, unknown: bool) -> np.ndarray:
    """Touching boxes of many ids on background, with parts that nobody looked at."""
    rng = np.random.default_rng(seed)
    labels = np.ones(shape, np.int32)
    for number in range(2, 40):
        start = [int(rng.integers(0, n)) for n in shape]
        labels[tuple(slice(a, a + int(rng.integers(2, 9))) for a in start)] = number
    if unknown:
        labels[tuple(slice(0, n // 3) for n in shape)] = 0
    return labels


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("settings", "spacing"),
    [
        (BorderWeights(sigma=2), None),
        (BorderWeights(sigma=1.5), (0.5, 1.0)),
        (BorderWeights(scheme="fiji", sigma=1.5, near_sigma=1.2), None),
        (BorderWeights(w0=0), None),
    ],
    ids=["paper", "pixel size", "fiji", "no border weights"],
)
def test_an_updated_example_equals_one_made_of_the_whole(
    settings: BorderWeights, spacing: tuple[float, ...] | None, seed: int
) -> None:
    image = Image(np.random.default_rng(0).random((90, 110)), "yx", spacing)
    field = next(image.fields(2))
    before = cells_at_random((90, 110), 0, unknown=True)
    finished = np.zeros(before.shape, bool)
    finished[:12, :15] = True
    kinds = (ClassInfo(), ClassInfo(name="b"), ClassInfo(name="c", kind="regions"))
    class_of = {k: 1 + k % 3 for k in range(2, 60)}
    old = make_example(field, Annotation(before, kinds, class_of, finished), settings)
    rng = np.random.default_rng(seed)
    y, x = int(rng.integers(0, 70)), int(rng.integers(0, 80))
    box = (slice(y, y + 15), slice(x, min(x + 20, 110)))
    after = before.copy()
    after[box] = cells_at_random((90, 110), seed + 10, unknown=seed % 2 == 0)[box]
    after[box][after[box] > 1] += 17  # ids that were not there before
    now = Annotation(after, kinds, class_of, finished)
    updated = update_example(old, now, box, settings)
    whole = make_example(field, now, settings)
    np.testing.assert_array_equal(updated.classes, whole.classes)
    np.testing.assert_array_equal(updated.border, whole.border)
    assert (old.classes != updated.classes).any()
    again = make_example(field, Annotation(before, kinds, class_of, finished), settings)
    np.testing.assert_array_equal(old.classes, again.classes)
    np.testing.assert_array_equal(old.border, again.border)


def test_an_updated_volume_equals_one_made_of_the_whole() -> None:
    field = next(Image(np.zeros((9, 30, 32)), "zyx", (3.0, 1.0, 1.0)).fields(3))
    settings = BorderWeights(sigma=1.5)
    before = cells_at_random((9, 30, 32), 1, unknown=False)
    after = before.copy()
    after[4:6, 10:14, 3:9] = 7
    box = (slice(4, 6), slice(10, 14), slice(3, 9))
    old = make_example(field, Annotation(before), settings)
    updated = update_example(old, Annotation(after), box, settings)
    whole = make_example(field, Annotation(after), settings)
    np.testing.assert_array_equal(updated.classes, whole.classes)
    np.testing.assert_array_equal(updated.border, whole.border)


def test_an_update_without_a_box_looks_everywhere_and_keeps_the_grey_values() -> None:
    field = next(Image(np.zeros((30, 32)), "yx").fields(2))
    old = make_example(field, Annotation(np.ones((30, 32), int)), BorderWeights())
    marked = replace(old, scale=PLAIN)
    after = cells_at_random((30, 32), 3, unknown=True)
    updated = update_example(marked, Annotation(after), None, BorderWeights())
    whole = make_example(field, Annotation(after), BorderWeights())
    np.testing.assert_array_equal(updated.classes, whole.classes)
    np.testing.assert_array_equal(updated.border, whole.border)
    assert updated.scale is PLAIN
