from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from benchmarks.tracking import main, mothers_of, untracked

if TYPE_CHECKING:
    from pathlib import Path


def truth() -> np.ndarray:
    """A cell that stays, and one that divides at 2."""
    movie = np.zeros((4, 30, 40), np.uint16)
    movie[:, 2:10, 2:10] = 1
    movie[:2, 18:24, 15:25] = 2
    movie[2:, 18:24, 12:18], movie[2:, 18:24, 22:28] = 3, 4
    return movie


def test_mothers_are_told_by_the_ids_of_the_truth() -> None:
    assert mothers_of(truth()) == {3: 2, 4: 2}
    # one that goes on as one other cell did not divide
    one = truth()
    one[one == 4] = 0
    assert mothers_of(one) == {}


def test_ids_are_mixed_and_some_are_left_out() -> None:
    mixed = untracked(truth(), 0)
    np.testing.assert_array_equal(mixed > 0, truth() > 0)
    assert len({frame[4, 4] for frame in mixed}) > 1
    assert not untracked(truth(), 1).any()


def test_the_scores_of_a_movie_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ctc_metrics")
    folder = tmp_path / "ctc_dic_c2dh_hela" / "01_ST" / "SEG"
    folder.mkdir(parents=True)
    for t, frame in enumerate(truth()):
        tifffile.imwrite(folder / f"man_seg{t:03}.tif", frame)
    masks = tmp_path / "masks.tif"
    tifffile.imwrite(masks, untracked(truth(), 0), metadata={"axes": "TYX"}, ome=True)
    assert main(["--data", str(tmp_path), "--masks", str(masks)]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["masks", "DET", "SEG", "TRA", "LNK", "CT", "TF", "BC(0)"]
    assert row.split() == ["masks.tif", *["1.000"] * 7]
