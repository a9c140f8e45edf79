"""napari's own Open for images of microscopes and of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager
from qtpy.QtWidgets import QDialogButtonBox

from microscope_files import write_nd2
from napari_unet import DISTRIBUTION
from napari_unet.gui.image_layers import get_reader, read
from napari_unet.gui.which_images import WhichImages
from napari_unet.io.readers.catalogue import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

# of many programs: others' files would be asked about
LEFT_OUT = {".h5", ".hdf5", ".map"}


def test_the_manifest_has_all_formats_but_those_of_many_programs() -> None:
    manager = PluginManager.instance()
    manager.discover()
    manifest = manager.get_manifest(f"{DISTRIBUTION}.read_images")
    (reader,) = [
        one
        for one in manifest.contributions.readers or []
        if one.command == f"{DISTRIBUTION}.read_images"
    ]
    patterns = {f"*{suffix}" for suffix in set(SUFFIXES) - LEFT_OUT}
    assert set(reader.filename_patterns) == patterns


def test_a_stack_is_opened_with_its_channels_axes_and_size(tmp_path: Path) -> None:
    pytest.importorskip("nd2")
    PluginManager.instance().discover()
    data = np.arange(2 * 3 * 4 * 5 * 2, dtype=np.uint16).reshape(2, 3, 4, 5, 2)
    path = str(write_nd2(tmp_path / "my stack.ND2", data, "TZ"))
    layers = ViewerModel().open(path, plugin=DISTRIBUTION)
    assert [layer.name for layer in layers] == [
        "my stack channel 1",
        "my stack channel 2",
    ]
    for k, layer in enumerate(layers):
        assert not isinstance(layer.data, np.ndarray)
        np.testing.assert_array_equal(np.asarray(layer.data), data[..., k])
        assert layer.axis_labels == ("t", "z", "y", "x")
        assert layer.scale.tolist() == [1, 0.5, 0.2, 0.2]
        units = ["pixel", "micrometer", "micrometer", "micrometer"]
        assert [str(unit) for unit in layer.units] == units
        assert layer.source.path == path


def test_notes_are_shown_and_pixels_without_a_size_have_none(
    tmp_path: Path, shown: Callable[[], list[str]]
) -> None:
    nrrd = pytest.importorskip("nrrd")
    data = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = str(tmp_path / "a.nrrd")
    nrrd.write(path, data, {"spacings": [1, 1, 2]}, index_order="C")
    ((pixels, attributes, kind),) = read(path)
    assert shown() == ["WARNING: a: its pixel size has no unit, so it is not known."]
    np.testing.assert_array_equal(pixels, data)
    assert attributes == {"name": "a", "axis_labels": ("z", "y", "x")}
    assert kind == "image"


def test_without_a_window_several_images_are_named_and_none_is_taken(
    tmp_path: Path,
) -> None:
    pytest.importorskip("nd2")
    path = write_nd2(tmp_path / "a.nd2", np.zeros((2, 4, 5, 1), np.uint16), "P")
    with pytest.raises(ValueError, match=r"holds 2 images: #1 'position 1'"):
        read(str(path))


def test_which_images_is_asked_with_their_titles(qtbot: QtBot) -> None:
    dialog = WhichImages("a b.lif", ["well/A1", ""])
    qtbot.addWidget(dialog)
    shown = [dialog.images.item(k).text() for k in range(dialog.images.count())]
    assert shown == ["#1 well/A1", "#2"]
    assert dialog.numbers() == [1]
    dialog.images.selectAll()
    assert dialog.numbers() == [1, 2]
    with qtbot.waitSignal(dialog.accepted):
        dialog.buttons.button(QDialogButtonBox.StandardButton.Open).click()


def test_other_files_are_left_to_others_and_damaged_ones_told(tmp_path: Path) -> None:
    assert get_reader("a.tif") is None
    assert get_reader(["a.nrrd", "a.tif"]) is None
    pytest.importorskip("nrrd")
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"none")
    reader = get_reader(str(path))
    assert reader is not None
    with pytest.raises(ValueError, match=r"a\.nrrd: cannot be read as an image"):
        reader(str(path))
