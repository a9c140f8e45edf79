from __future__ import annotations

import numpy as np

from napari_unet.core.cells.label_colours import label_colours


def test_the_background_is_black_and_no_label_is_dark_or_grey():
    colours = label_colours(range(256)).astype(int)
    assert colours[0].tolist() == [0, 0, 0]
    assert colours[1:].max(axis=1).min() >= 0.6 * 255
    assert np.ptp(colours[1:], axis=1).min() >= 0.4 * 0.6 * 255


def test_all_colours_differ_and_those_of_neighbours_much():
    colours = label_colours(range(1, 256)).astype(int)
    assert len(np.unique(colours, axis=0)) == 255
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 60


def test_a_colour_belongs_to_the_id_whichever_others_there_are():
    ids = [7, 70_000, 2**40]
    np.testing.assert_array_equal(
        label_colours(ids), np.concatenate([label_colours([i]) for i in ids])
    )
    assert label_colours([]).shape == (0, 3)
