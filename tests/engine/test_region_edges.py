"""Borders of regions that follow edges: files, napari's worker, and what chooses it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from example_jobs import stored, stored_image
from example_models import cropping_model, random_model
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.cells.class_map import class_map
from napari_unet.core.cells.instances import most_probable
from napari_unet.core.cells.segmentation_tuning import Judged
from napari_unet.core.events import CellsFound, FilePredicted, ValidationTile
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.jobs import SegmentJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.core.training.training_set import Example, HeldOut
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.inference.block_sizes import BlockSizes
from napari_unet.engine.network.network import prepare
from napari_unet.engine.objectives.segmentation import _along_edges
from napari_unet.engine.worker import cells_job
from napari_unet.io.export import write_weights
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.model_file import save_model
from napari_unet.io.prediction_folder import PredictionFolder

if TYPE_CHECKING:
    from napari_unet.core.model import Model

EDGES = Segmentation(edge_smoothing=3)
KINDS = ("probabilities", "classes")
REGIONS = ClassInfo(name="tissue", kind="regions")


def regions(model: Model) -> Model:
    classes = tuple(ClassInfo(name=c.name, kind="regions") for c in model.card.classes)
    return replace(model, card=model.card.replace(classes=classes))


def predicted(folder, model, file, segmentation, most=2**31, channel=None):
    """Probabilities and classes of a file."""
    path = folder / "model.safetensors"
    save_model(model, path)
    out = folder / f"out {most}"
    settings = Prediction(device="cpu", precision="fp32", tile=32)
    predictor = FilePredictor(
        prepare(model, "cpu", "fp32"),
        model.card,
        settings,
        segmentation,
        PredictionFolder(out, KINDS),
        path,
        BlockSizes(predicted_plane=(64, 64), predicted_volume=(8, 32, 32)),
        most,
        channel=channel,
    )
    *_, last = predictor.events(file)
    assert isinstance(last, FilePredicted)
    (found,), (classes,) = ((out / kind).glob("a*") for kind in KINDS)
    return read_image(found), read_labels(classes)


@pytest.mark.parametrize(
    ("ndim", "axes", "shape"),
    [(2, "yx", (110, 130)), (2, "zyx", (3, 60, 70)), (3, "zyx", (10, 40, 50))],
)
def test_files_in_memory_and_in_blocks_have_the_same_classes(
    tmp_path, monkeypatch, ndim, axes, shape
):
    monkeypatch.setattr("napari_unet.core.cells.class_map._PLANE", (32, 32))
    monkeypatch.setattr("napari_unet.core.cells.class_map._VOLUME", (4, 32, 32))
    monkeypatch.setattr("napari_unet.engine.inference.block_prediction.CHUNK", 32)
    rng = np.random.default_rng(0)
    at = axes.index("y")
    pixels = rng.normal(size=(*shape[:at], 2, *shape[at:])).astype(np.float32)
    file = tmp_path / "a.tif"
    write_weights(file, pixels, axes[:at] + "c" + axes[at:])
    model = regions(cropping_model(2, ndim))
    image = read_image(file)
    for most in (2**31, 0):
        found, classes = predicted(tmp_path, model, file, EDGES, most)
        expected = class_map(found, image, ndim, EDGES, ())
        np.testing.assert_array_equal(np.asarray(classes.data[...]), expected)
    plain = class_map(found, image, ndim, Segmentation(), ())
    assert (plain != expected).mean() > 0.01


@pytest.mark.parametrize("most", [2**31, 0])
def test_edges_are_those_of_the_channel_that_the_network_sees(tmp_path, most):
    rng = np.random.default_rng(2)
    pixels = rng.normal(size=(2, 60, 70)).astype(np.float32)
    write_weights(tmp_path / "a.tif", pixels, "cyx")
    table = u_shape(ndim=2, channels=1, classes=3, width=4, depth=1)
    model = regions(random_model(table, 1))
    found, classes = predicted(
        tmp_path, model, tmp_path / "a.tif", EDGES, most, channel=2
    )
    expected = class_map(found, Image(pixels[1], "yx"), 2, EDGES, ())
    np.testing.assert_array_equal(np.asarray(classes.data[...]), expected)
    of_both = class_map(found, Image(pixels, "cyx"), 2, EDGES, ())
    assert (of_both != expected).any()


def test_a_model_of_cells_is_refused(tmp_path):
    with pytest.raises(ValueError, match="follow edges"):
        predicted(tmp_path, cropping_model(2), tmp_path / "a.tif", EDGES)


@pytest.mark.parametrize(("axes", "z"), [("zyx", 1), ("zyx", None), ("yx", None)])
def test_the_worker_decides_the_planes_asked_for(tmp_path, axes, z):
    rng = np.random.default_rng(1)
    shape = (3, 20, 24)[-len(axes) :]
    pixels = rng.normal(size=shape).astype(np.float32)
    values = rng.random((2, *shape)).astype(np.float32)
    job = SegmentJob(
        probabilities=stored(tmp_path, "p", values),
        axes="c" + axes,
        spacing_um=None,
        cells=stored(tmp_path, "cells", np.zeros(shape, np.int32)),
        ndim=3 if z is None else 2,
        settings=EDGES,
        classes=(REGIONS,),
        places=((0, z),),
        class_map=stored(tmp_path, "k", np.full(shape, 9, np.uint8)),
        image=stored_image(tmp_path, pixels, axes),
    )
    events = [event for event in cells_job.run(job) if event is not None]
    assert events[0] == CellsFound(0, z, 0, 1.0)
    assert len(events) == 2  # and which of no cells touch
    ndim = 3 if z is None else 2
    images = Image(values, "c" + axes), Image(pixels, axes)
    expected = class_map(*images, ndim, EDGES, ())
    if z is not None:
        expected = np.stack([np.full(shape[1:], 9), expected[z], expected[z]])
        expected[2] = 9
    np.testing.assert_array_equal(job.class_map.open(), expected)


def test_what_is_held_out_is_judged_further_with_the_borders_it_got():
    true = np.zeros((48, 64), np.uint8)
    true[:, 30:] = 1
    noise = np.random.default_rng(0).normal(0, 10, true.shape)
    image = Image((100 * true + noise).astype(np.float32), "yx")
    one = np.clip((np.arange(64) - 32.9) / 12 + 0.5, 0, 1).astype(np.float32)
    values = np.stack([1 - one, one])[:, np.newaxis].repeat(48, axis=1)
    nothing = np.zeros(true.shape, np.int32)
    judged = Judged(values, nothing, np.ones(true.shape, bool), (1.0, 1.0))
    example = Example(Field(image), measure(image), true, np.zeros(true.shape))
    held_out = [HeldOut(example, (slice(0, 48), slice(0, 64)))]
    found = []

    def listen():
        settings = Segmentation(threshold=0.4)
        found.append((yield from _along_edges([judged], held_out, settings, 0.5)))

    told = list(listen())
    assert {type(event) for event in told} == {ValidationTile}
    (((after,), chosen, (note,)),) = found
    assert chosen.edge_smoothing > 0
    assert chosen.threshold == 0.4
    before = (most_probable(values) != true).sum()
    assert (most_probable(after.probabilities) != true).sum() < before / 2
    # the network sees the image at half its size
    assert f"looked for {2 * chosen.edge_smoothing:g} pixels around: IoU" in note
    # 31 of 34 columns overlap
    assert f"around: IoU {31 / 34:.3f} becomes " in note
