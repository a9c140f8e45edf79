"""The same objects in files that others made, which lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_unet.io.images import read_labels
from napari_unet.io.objects.catalogue import FORMATS

ROIS = Path(__file__).parents[4] / "shared/samples/formats/rois"

pytestmark = pytest.mark.skipif(not ROIS.is_dir(), reason="the samples are not here")


def test_outlines_are_those_of_the_label_image() -> None:
    pytest.importorskip("roifile")
    labels = read_labels(ROIS / "labels_imagej.tif")
    ids = labels.read()
    qupath = FORMATS["geojson"].read(ROIS / "labels_qupath.geojson", labels)
    np.testing.assert_array_equal(qupath.labels.read(), ids)
    assert [kind.name for kind in qupath.classes] == ["Cell"]
    # the names of its ROIs are no ids: an object is another one in each slice
    rois = FORMATS["rois"].read(ROIS / "labels_RoiSet.zip", labels).labels.read()
    for found, slice_ in zip(rois, ids, strict=True):
        pairs = np.unique([found.ravel(), slice_.ravel()], axis=1)
        assert pairs.shape[1] == np.unique(found).size == np.unique(slice_).size
        assert pairs[:, 0].tolist() == [0, 0]
