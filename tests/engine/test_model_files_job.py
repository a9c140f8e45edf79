from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from example_models import random_model
from fiji_pairs import make_pair
from napari_unet.core.events import ModelFormatsFound, ModelWritten
from napari_unet.core.jobs import ConvertModelJob, ExportModelJob, ModelFormatsJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.engine.model_formats.catalogue import MODEL_FORMATS
from napari_unet.engine.worker import model_files_job
from napari_unet.io.model_file import load_model, read_card, save_model


def events(running):
    """The events that are sent; they can be."""
    return [pickle.loads(pickle.dumps(e)) for e in running if e is not None]


def test_a_foreign_model_becomes_a_file_of_ours(tmp_path):
    definition = make_pair(tmp_path)
    target = tmp_path / "converted" / "small.safetensors"
    job = ConvertModelJob(str(definition), str(target))
    (event,) = events(model_files_job.convert(job, None))
    assert isinstance(event, ModelWritten)
    assert event.path == str(target)
    assert event.notes == read_card(target).notes != ()
    assert load_model(target).weights


def test_what_is_no_model_leaves_nothing(tmp_path):
    source, target = tmp_path / "a.pth", tmp_path / "converted" / "a.safetensors"
    source.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.pth"):
        events(model_files_job.convert(ConvertModelJob(str(source), str(target)), None))
    assert not target.parent.exists()


def test_a_model_is_written_for_another_program(tmp_path):
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=4, depth=1))
    save_model(model, tmp_path / "a.safetensors")
    target = tmp_path / "a.modeldef.h5"
    job = ExportModelJob(str(tmp_path / "a.safetensors"), str(target), "fiji")
    (event,) = events(model_files_job.export(job, None))
    assert event.path == str(target)
    assert MODEL_FORMATS["fiji"].read(target).card.classes == model.card.classes


def test_a_model_is_not_written_over_itself(tmp_path):
    path = tmp_path / "a.safetensors"
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=4, depth=1))
    save_model(model, path)
    before = path.read_bytes()
    job = ExportModelJob(str(path), str(path), "torchscript")
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        events(model_files_job.export(job, None))
    assert path.read_bytes() == before


def test_formats_are_those_of_the_catalogue(monkeypatch):
    (event,) = events(model_files_job.formats(ModelFormatsJob()))
    assert isinstance(event, ModelFormatsFound)
    found = {one.name: one for one in event.formats}
    assert set(found) == {n for n, one in MODEL_FORMATS.items() if one.is_written}
    assert found["fiji"].title == MODEL_FORMATS["fiji"].title
    lacking = replace(MODEL_FORMATS["fiji"], package="not_there", extra="models")
    monkeypatch.setitem(MODEL_FORMATS, "fiji", lacking)
    (event,) = events(model_files_job.formats(ModelFormatsJob()))
    found = {one.name: one for one in event.formats}
    assert "needs the package not_there" in found["fiji"].problem
