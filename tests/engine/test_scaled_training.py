"""Networks that see images at another size than their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core import events
from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.images.rescaling import Rescaled
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.core.training.training_set import at_scale
from napari_unet.core.training.training_set_updates import example_of
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.model import Model

TINY = Training(
    width=2, depth=1, batch=1, patch=20, steps=6, minutes=0, precision="fp32"
)


def discs(side: int = 96, spacing_um: tuple[float, ...] | None = None) -> Any:
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint16)
    for number, (cy, cx) in enumerate([(24, 24), (24, 72), (72, 24), (72, 72)], 1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 300] = number
    rng = np.random.default_rng(0)
    pixels = ((labels > 0) + rng.normal(0, 0.2, labels.shape)).astype(np.float32)
    return Image(pixels, "yx", spacing_um), labels


def trained(scale: float, spacing_um: tuple[float, ...] | None = None) -> Model:
    image, labels = discs(spacing_um=spacing_um)
    settings = TINY.replace(scale=scale)
    *_, last = train([image], [labels], settings, kind="instances", device="cpu")
    assert isinstance(last, events.TrainingFinished)
    return last.model


def probabilities(model: Model, image: Image, **settings: Any) -> np.ndarray:
    *_, last = predict(model, image, settings=Prediction(device="cpu", **settings))
    assert isinstance(last, events.PredictionFinished)
    return np.asarray(last.probabilities)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_it_learns_from_the_image_at_that_size(scale: float) -> None:
    image, labels = discs()
    pairs = annotated_fields([image], [labels], 2, "instances")
    settings = TINY.replace(scale=scale, validation=0.0)
    run = TrainingRun(pairs, settings, RunOptions(device="cpu"))
    for _ in run.prepare():
        pass
    (example,) = run.loop.prepared.training_set.examples
    own = pairs[0][0]
    rescaled = Rescaled(own, (scale, scale))
    assert example.field.shape == rescaled.shape == (96 * scale, 96 * scale)
    np.testing.assert_array_equal(example.field.read(), rescaled.read())
    box = (slice(3, 20), slice(7, 9))
    np.testing.assert_array_equal(example.field.read(box), rescaled.read(box))
    # each pixel has the label of the nearest
    at = np.minimum(((np.arange(rescaled.shape[0]) + 0.5) / scale).astype(int), 95)
    known = Annotation(pairs[0][1].labels[np.ix_(at, at)])
    np.testing.assert_array_equal(example.classes, known.targets().classes)
    # grey values are those of the image, as it is predicted
    assert example.scale == measure(image, 0, "structure")


def test_results_have_the_size_of_the_image_without_pixel_size_too(
    tmp_path: Path,
) -> None:
    model = trained(0.5)
    assert model.card.spacing_um is None
    assert model.card.format == 2
    save_model(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    image, _ = discs()
    found = probabilities(loaded, image)
    assert found.shape == (2, 96, 96)
    # as of one whose pixel size says it, and whatever is said of pixel sizes
    sized = replace(image, spacing_um=(0.2, 0.2))
    card = model.card.replace(
        spacing_um=(0.4, 0.4), training=model.card.training.replace(scale=1.0)
    )
    told = probabilities(replace(model, card=card), sized)
    np.testing.assert_array_equal(found, told)
    np.testing.assert_array_equal(probabilities(loaded, image, rescale=False), found)
    in_tiles = probabilities(loaded, image, tile=10)
    # processors differ in whether they sum up in the same order in smaller tiles
    np.testing.assert_allclose(in_tiles, found, rtol=0, atol=1e-5)


def test_the_pixel_size_is_that_which_the_network_sees() -> None:
    model = trained(0.5, (0.2, 0.2))
    assert model.card.spacing_um == (0.4, 0.4)
    image, _ = discs()
    same = replace(image, spacing_um=(0.2, 0.2))
    found = probabilities(model, same)
    np.testing.assert_array_equal(probabilities(model, image), found)
    # of pixels as large as it sees nothing is resampled
    large = replace(image, spacing_um=(0.4, 0.4))
    as_it_is = replace(model, card=model.card.replace(spacing_um=None))
    card = as_it_is.card.replace(training=model.card.training.replace(scale=1.0))
    plain = probabilities(replace(model, card=card), image)
    np.testing.assert_array_equal(probabilities(model, large), plain)
    # unless pixel sizes are not to count
    np.testing.assert_array_equal(probabilities(model, large, rescale=False), found)


def test_cells_are_found_by_settings_for_the_image_as_it_is() -> None:
    model = trained(0.5)
    # of the 937 pixels of a cell, of 234 when shrunk
    assert model.card.segmentation.unsure_size == pytest.approx(0.25 * 937, abs=8)
    network = prepare(model, "cpu", "fp32")
    asked = Segmentation(min_size=80, unsure_size=160, min_distance=4.0)
    for spacing, size in ((None, 80), ((0.2, 0.2), 80)):
        image = discs(spacing_um=spacing)[0]
        factors = network.factors(image, Prediction())
        assert network.for_image(asked, factors).min_size == size
    sized = prepare(trained(0.5, (0.2, 0.2)), "cpu", "fp32")
    coarse = discs(spacing_um=(0.4, 0.4))[0]
    factors = sized.factors(coarse, Prediction())
    assert factors is None
    found = sized.for_image(asked, factors)
    sizes = found.min_size, found.unsure_size
    assert (*sizes, found.min_distance) == (20, 40, 2.0)


def large_cells() -> tuple[np.ndarray, np.ndarray]:
    """Two cells that are 90 pixels wide, as discs of their size."""
    labels = np.zeros((200, 200), np.uint16)
    labels[10:90, 10:90], labels[110:190, 110:190] = 1, 2
    return (labels > 0).astype(np.float32), labels


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, 0.44),
        ({"scale": 0.5}, 0.5),
        ({"shrink": False}, 1.0),
        # which sees 92 pixels around each
        ({"depth": 4, "width": 2}, 1.0),
    ],
)
def test_images_are_shrunk_where_cells_are_wider_than_the_network_sees(
    changes: dict[str, Any], size: float
) -> None:
    image, labels = large_cells()
    settings = TINY.replace(**{"steps": 1, "depth": 3, **changes})
    job = train([image], [labels], settings, kind="instances", device="cpu")
    (started,) = (e for e in job if isinstance(e, events.TrainingStarted))
    decided = {d.field: d.reason for d in started.decisions}
    if size == 0.44:
        assert decided["scale"].startswith("Cells are 90.3 pixels wide: the network")
    else:
        assert decided == {}
    *_, last = train([image], [labels], settings, kind="instances", device="cpu")
    assert isinstance(last, events.TrainingFinished)
    assert last.model.card.training.scale == size
    found = probabilities(last.model, Image(image, "yx"))
    assert found.shape == (2, 200, 200)


def test_a_shrunk_training_that_goes_on_is_one_without_a_break(tmp_path: Path) -> None:
    image, labels = large_cells()
    settings = TINY.replace(steps=4, depth=3)
    given: dict[str, Any] = {"kind": "instances", "device": "cpu"}
    *_, whole = train([image], [labels], settings, **given)
    kept = tmp_path / "checkpoint.safetensors"
    job = train([image], [labels], settings, checkpoint=kept, **given)
    while True:
        event = next(job)
        if isinstance(event, events.StepDone) and event.step == 2:
            job.close()
            break
    *_, last = train([image], [labels], settings, resume=kept, **given)
    assert isinstance(whole, events.TrainingFinished)
    assert isinstance(last, events.TrainingFinished)
    assert last.model.card.training == whole.model.card.training
    assert last.model.card.training.scale == 0.44
    for name, weight in whole.model.weights.items():
        np.testing.assert_array_equal(last.model.weights[name], weight)


def test_cells_are_told_apart_by_the_waists_of_a_start_of_the_same_size() -> None:
    start = trained(0.5)
    image, labels = discs()
    settings = start.card.training.replace(steps=1)
    job = train(
        [image], [labels], settings, kind="instances", start=start, device="cpu"
    )
    *_, last = job
    assert isinstance(last, events.TrainingFinished)
    before, now = start.card.segmentation, last.model.card.segmentation
    # the cells are the same
    assert now.min_distance == pytest.approx(before.min_distance, abs=0.05)
    assert now.min_size == before.min_size


@pytest.mark.parametrize("seed", range(6))
def test_what_is_corrected_is_what_would_have_been_learnt(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, labels = discs()
    settings = TINY.replace(scale=float(rng.choice([0.3, 0.5, 1.7])), steps=3)
    pairs = annotated_fields([image], [labels], 2, "instances")
    field, known = pairs[0]
    run = TrainingRun(pairs, settings, RunOptions(device="cpu"))
    y, x = rng.integers(0, 90, 2).tolist()
    box = (slice(y, y + int(rng.integers(1, 7))), slice(x, x + 6))
    changed = known.labels.copy()
    changed[box] = 9
    now = Annotation(changed, known.classes)
    for event in run.events():
        if isinstance(event, events.StepDone) and event.step == 1:
            run.correct(field, now, box)
    example = example_of(run.loop.prepared.training_set, field)
    assert example is not None
    scaled = at_scale(field, now, settings.scale)[1]
    there = example.classes != 255
    np.testing.assert_array_equal(
        example.classes[there], scaled.targets().classes[there]
    )
    assert (9 in changed) == bool((scaled.labels == 9).any()) or settings.scale < 1


def test_labels_of_another_size_are_refused() -> None:
    image, labels = discs()
    pairs = [(Field(image, 0, 0), Annotation(labels[:90].astype(np.int32)))]
    run = TrainingRun(pairs, TINY.replace(scale=0.5), RunOptions(device="cpu"))
    with pytest.raises(ValueError, match=r"has size \(96, 96\), its labels \(90, 96\)"):
        list(run.prepare())


def test_images_are_made_at_their_own_size() -> None:
    with pytest.raises(ValueError, match=r"at their own size, found scale 0\.5"):
        TINY.with_task("denoise").replace(scale=0.5)
