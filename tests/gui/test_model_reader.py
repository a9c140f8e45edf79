from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest
from safetensors.numpy import save_file

import napari_unet
from example_models import random_model
from napari_unet import DISTRIBUTION
from napari_unet.core.network.architecture import u_shape
from napari_unet.gui import docks, model_reader
from napari_unet.gui.model_reader import get_reader
from napari_unet.io.model_file import read_card, save_model
from napari_unet.session.foreign_models import PATTERNS


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "cells.safetensors"
    save_model(
        random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)), path
    )
    return path


def test_a_model_is_offered_and_adds_no_layer(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[str] = []
    monkeypatch.setattr(docks, "offer_model", offered.append)
    read = get_reader(str(model_file))
    assert read is not None
    assert offered == []
    assert read(str(model_file)) == [(None,)]
    assert offered == [str(model_file)]


def test_several_files_are_read_as_a_list(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[str] = []
    monkeypatch.setattr(docks, "offer_model", offered.append)
    read = get_reader([str(model_file)])
    assert read is not None
    assert read([str(model_file)]) == [(None,)]
    assert offered == [str(model_file)]


@pytest.mark.parametrize("content", ["foreign", "damaged", "gone"])
def test_a_file_that_is_no_model_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    path = tmp_path / f"{content}.safetensors"
    if content == "foreign":
        save_file({"a": np.zeros(2, np.float32)}, path)
    elif content == "damaged":
        path.write_bytes(b"nothing")
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(docks, "offer_model", read_card)
    monkeypatch.setattr(model_reader, "notify", lambda *message: told.append(message))
    read = get_reader(str(path))
    assert read is not None
    assert read(str(path)) == [(None,)]
    ((level, sentence),) = told
    assert level == "error"
    assert path.name in sentence


def test_models_of_other_programs_are_offered_and_found_by_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[str] = []
    monkeypatch.setattr(docks, "offer_model", offered.append)
    for name in ("a.modeldef.h5", "a.pth", "a.onnx", "rdf.yaml", "plans.json"):
        path = str(tmp_path / name)
        read = get_reader(path)
        assert read is not None
        read(path)
    assert len(offered) == 5
    manifest = Path(napari_unet.__file__).with_name("napari.yaml")
    readers = PluginManifest.from_file(manifest).contributions.readers
    (ours,) = (r for r in readers or () if r.command == f"{DISTRIBUTION}.read_model")
    assert ours.filename_patterns == ["*.safetensors", *PATTERNS]


def test_other_files_are_left_to_others(tmp_path: Path) -> None:
    assert get_reader(str(tmp_path / "image.tif")) is None
    assert get_reader(str(tmp_path / "RoiSet.zip")) is None
    assert get_reader([]) is None
