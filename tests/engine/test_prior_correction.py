from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from benchmarks.accuracy.scribbles import scribble
from napari_unet.core.annotation.annotations import IGNORED, Annotation
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.events import PredictionFinished, TrainingFinished
from napari_unet.core.geometry.boxes import full_box
from napari_unet.core.images.image import Field, Image
from napari_unet.core.metrics import object_scores
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.settings import BorderWeights, Prediction
from napari_unet.core.training.training_set import (
    Example,
    HeldOut,
    TrainingSet,
    hold_out,
    make_example,
)
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.prior_correction import (
    count_pixels,
    fit,
    parts_to_see,
    shows_borders,
)
from napari_unet.engine.training.train import train
from napari_unet.io import samples

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.model import Model


def learnt(*examples: Example) -> TrainingSet:
    return TrainingSet(examples, (), "")


def example(labels: np.ndarray) -> Example:
    rng = np.random.default_rng(0)
    axes = "zyx"[-labels.ndim :]
    image = Image(rng.normal(size=labels.shape).astype(np.float32), axes)
    field = Field(image, 0, 0 if axes == "yx" else None)
    return make_example(field, Annotation(labels), BorderWeights())


def test_parts_are_seen_where_most_is_not_annotated() -> None:
    labels = np.zeros((600, 300), np.int32)
    labels[:200, :200] = 2
    parts = parts_to_see(learnt(*[example(labels)] * 6), seed=0)
    assert len(parts) == 4
    assert count_pixels(parts) == 4 * 512 * 300
    assert len({id(part.example) for part in parts}) == 1
    assert len({part.box[0].start for part in parts}) > 1
    for part in parts:
        for axis, n in zip(part.box, labels.shape, strict=True):
            assert 0 <= axis.start < axis.stop <= n
    assert len(parts_to_see(learnt(example(labels)), seed=0)) == 4
    again = parts_to_see(learnt(*[example(labels)] * 6), seed=0)
    assert [p.box for p in again] == [p.box for p in parts]


def test_nothing_is_to_be_seen_where_the_annotation_speaks_for_itself() -> None:
    labels = np.ones((40, 40), np.int32)
    labels[:19] = 0
    assert parts_to_see(learnt(example(labels)), seed=0) == []
    labels[:21] = 0
    assert len(parts_to_see(learnt(example(labels)), seed=0)) == 1


def test_what_is_held_out_does_not_make_an_image_one_of_strokes() -> None:
    labels = np.ones((120, 120), np.int32)
    labels[70:] = 0
    parted = hold_out([example(labels)], 0.1, (10, 10), 1, np.random.default_rng(0))
    assert (parted.examples[0].classes == IGNORED).mean() > 0.5
    assert parts_to_see(parted, seed=0) == []


def test_cells_show_their_borders_if_background_is_annotated_around_them() -> None:
    stroke = np.zeros((60, 60), np.int32)
    stroke[10:12, 10:40] = 2
    stroke[40:42, 10:40] = 1
    assert not shows_borders(learnt(example(stroke)))
    cells = np.zeros((60, 60), np.int32)
    cells[8:32, 8:52] = 1
    cells[10:30, 10:50] = 2
    assert shows_borders(learnt(example(cells)))
    # of a cell at the edge of what is annotated the other borders are known
    cells[:, :22] = 0
    assert shows_borders(learnt(example(cells)))
    assert not shows_borders(learnt(example(np.ones((60, 60), np.int32))))
    # most of all images, together
    assert shows_borders(learnt(example(cells), example(cells), example(stroke)))
    assert not shows_borders(learnt(example(cells), example(stroke), example(stroke)))
    assert shows_borders(learnt(example(np.repeat(cells[None], 5, axis=0))))


@pytest.fixture(scope="module")
def of_strokes() -> Model:
    """Learnt from strokes over one percent of three images."""
    pairs = samples.nuclei()[:3]
    strokes = [scribble(np.asarray(own.data), k) for k, (_, own) in enumerate(pairs)]
    # in 16 bits, as some processors have them, it is another training
    settings = Training.quick().replace(minutes=0, steps=60, precision="fp32")
    images = [image for image, _ in pairs]
    *_, last = train(images, strokes, settings, kind="annotation", device="cpu")
    assert isinstance(last, TrainingFinished)
    return last.model


def probabilities(model: Model, image: Image) -> np.ndarray:
    *_, done = predict(model, image, settings=Prediction(device="cpu"))
    assert isinstance(done, PredictionFinished)
    return np.asarray(done.probabilities)


def moved(
    model: Model, annotation: Annotation, share_of_cells: float, *, limited: bool
) -> float:
    """Return how far the logit of cells is moved by a fit to one of the samples."""
    image = samples.nuclei()[5][0]
    known = make_example(Field(image, 0, 0), annotation, BorderWeights())
    parts = parts_to_see(learnt(known), seed=0)
    shares = np.array([1 - share_of_cells, share_of_cells])
    whole = [HeldOut(known, full_box(known.field.shape))] if limited else []
    network = prepare(model, "cpu")
    steps = fit(model, network, parts, whole, [annotation], shares)
    *_, (fitted, _) = returned(steps)
    change = fitted.weights["score.bias"] - model.weights["score.bias"]
    assert change[0] == pytest.approx(-change[1], abs=1e-5)
    return float(change[1])


def returned(events: Generator[Event, None, Any]) -> Iterator[Any]:
    """Yield the events of a generator, and last what it returns."""
    yield (yield from events)


def test_scores_move_only_as_far_as_what_is_annotated_allows(of_strokes: Model) -> None:
    """As if nine tenths of what was learnt had been cells, which a fifth is.

    Whole cells with background around them are no longer found to their borders then.
    """
    own = np.asarray(samples.nuclei()[5][1].data).astype(np.int32)
    cells = np.where(own > 0, own + 1, 0)
    cells[binary_dilation(own > 0, iterations=3) & (own == 0)] = 1
    cells[:, 300:] = 0  # most is not annotated
    annotation = Annotation(cells)
    far = moved(of_strokes, annotation, 0.9, limited=False)
    assert far < -0.5
    assert far / 2 <= moved(of_strokes, annotation, 0.9, limited=True) <= 0


def test_from_strokes_the_size_of_whole_cells_is_known(of_strokes: Model) -> None:
    truth = np.concatenate(
        [np.bincount(np.asarray(t.data).ravel())[1:] for _, t in samples.nuclei()[:3]]
    )
    typical = float(np.median(truth[truth > 0]))
    unsure = of_strokes.card.segmentation.unsure_size
    assert 0.6 * 0.1 * typical < unsure < 1.4 * 0.1 * typical


def test_from_strokes_cells_are_as_frequent_as_they_are(of_strokes: Model) -> None:
    """Half of what was painted is cell, and a fifth of the images.

    Without the fit the share was 1.20 times, with it 0.97 times what it is.
    """
    shares = []
    for image, own in samples.nuclei()[5:7]:
        found = probabilities(of_strokes, image)[1] > 0.5
        shares.append(found.mean() / (np.asarray(own.data) > 0).mean())
    assert 0.85 < np.mean(shares) < 1.15


def test_from_strokes_touching_nuclei_are_told_apart(of_strokes: Model) -> None:
    """AP@0.5 was 0.858 on wells that were not learnt, 0.731 without the fit."""
    found, truth = [], []
    for image, own in samples.nuclei()[5:7]:
        settings = of_strokes.card.segmentation
        found.append(segment_instances(probabilities(of_strokes, image), settings))
        truth.append(np.asarray(own.data))
    (score,) = object_scores(found, truth, (0.5,))
    assert score.average_precision > 0.78


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_from_strokes(name: str) -> None:
    ndim = 2 if NETWORKS[name].refusal(2) == "" else 3
    rng = np.random.default_rng(0)
    shape = (48, 240, 240)[-ndim:] if ndim == 2 else (32, 64, 64)
    labels = np.zeros(shape, np.int32)
    labels[..., 20:24, 10:40], labels[..., 40:44, 10:40] = 1, 2
    settings = Training.quick(ndim).replace(steps=1, minutes=0, width=2)
    settings = settings.with_network(name)
    *_, last = train(
        [rng.normal(size=shape).astype(np.float32)],
        [labels],
        settings,
        kind="annotation",
        device="cpu",
    )
    assert isinstance(last, TrainingFinished)
    assert last.model.card.steps == 1
