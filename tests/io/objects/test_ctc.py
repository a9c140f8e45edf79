from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from example_labels import objects_of, random_labels
from napari_unet.core.cells.tracking import track_cells
from napari_unet.core.images.image import Image
from napari_unet.io.objects import ctc

if TYPE_CHECKING:
    from pathlib import Path


def row(*ids: int) -> np.ndarray:
    return np.array([ids])


def movie() -> np.ndarray:
    """Five times: 7 is away at 2, 9 comes at 1 and is away at 3, nothing is at 4."""
    return np.stack([row(7, 0), row(7, 9), row(0, 9), row(7, 0), row(0, 0)])


def test_an_object_that_comes_back_has_a_new_label_with_the_old_as_parent(
    tmp_path: Path,
) -> None:
    path = tmp_path / "01_RES"
    ctc.write(path, objects_of(movie(), "tyx"))
    names = [f"mask{t:03}.tif" for t in range(5)]
    assert sorted(p.name for p in path.iterdir()) == [*names, "res_track.txt"]
    text = (path / "res_track.txt").read_bytes()
    assert text.split() == b"7 0 1 0  1 3 3 7  9 1 2 0".split()
    frames = [tifffile.imread(path / name) for name in names]
    assert [f.dtype for f in frames] == ["uint16"] * 5
    expected = [[[7, 0]], [[7, 9]], [[0, 9]], [[1, 0]], [[0, 0]]]
    assert [f.tolist() for f in frames] == expected
    np.testing.assert_array_equal(ctc.read(path).labels.data, movie())


# it has no effect on what it calls valid
@pytest.mark.filterwarnings("ignore:Empty frame:UserWarning")
@pytest.mark.parametrize("axes", ["tyx", "tzyx"])
def test_py_ctcmetrics_calls_the_results_valid(axes: str, tmp_path: Path) -> None:
    validate = pytest.importorskip("ctc_metrics").validate_sequence
    for seed in range(5):
        path = tmp_path / f"{seed:02}_RES"
        ctc.write(path, objects_of(random_labels(seed, axes, 60_000), axes))
        assert validate(str(path), threads=1)["Valid"] == 1


def test_a_thousand_times_have_four_digits(tmp_path: Path) -> None:
    path = tmp_path / "01_RES"
    ctc.write(path, objects_of(np.ones((1001, 1, 1), np.uint8), "tyx"))
    assert (path / "mask0000.tif").exists()
    assert (path / "mask1000.tif").exists()
    assert ctc.read(path).labels.data.shape == (1001, 1, 1)


def test_results_of_before_are_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "01_RES"
    ctc.write(path, objects_of(movie(), "tyx"))
    (path / ".DS_Store").write_bytes(b"of the Finder")
    ctc.write(path, objects_of(movie()[:2], "tyx"))
    assert len(list(path.iterdir())) == 3
    (path / "man_track000.tif").write_bytes(b"truth")
    with pytest.raises(FileExistsError, match="holds more than masks and tracks"):
        ctc.write(path, objects_of(movie(), "tyx"))
    assert len(list(path.iterdir())) == 4


def test_ids_beyond_16_bits_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    full = np.arange(1, 65536).reshape(1, -1)
    gap = np.stack([full, np.where(full == 7, 0, full), full])  # needs one more
    for labels in (gap, row(65536)[None]):
        with pytest.raises(ValueError, match="labels up to 65535, found 65536"):
            ctc.write(tmp_path / "01_RES", objects_of(labels, "tyx"))
    assert list(tmp_path.iterdir()) == []


def truth(folder: Path, name: str, frames: dict[str, list[int]]) -> Path:
    folder.mkdir(parents=True)
    for time, ids in frames.items():
        tifffile.imwrite(folder / f"{name}{time}.tif", row(*ids).astype(np.uint16))
    return folder


def test_cells_that_divide_and_children_without_a_gap_keep_their_labels(
    tmp_path: Path,
) -> None:
    frames = {"000": [1, 1, 4], "001": [2, 3, 5], "002": [0, 0, 0], "003": [0, 0, 6]}
    path = truth(tmp_path / "01_GT" / "TRA", "man_track", frames)
    tracks = "1 0 0 0\n2 1 1 1\n3 1 1 1\n4 0 0 0\n5 1 1 4\n6 3 3 5\n"
    (path / "man_track.txt").write_text(tracks)
    expected = [[[1, 1, 4]], [[2, 3, 5]], [[0, 0, 0]], [[0, 0, 5]]]
    for given in (path, path.parent):
        assert ctc.read(given).labels.data.tolist() == expected


def test_masks_without_tracks_are_other_objects_at_each_time(tmp_path: Path) -> None:
    frames = {"000": [1, 5], "001": [1, 0], "002": [5, 1]}
    path = truth(tmp_path / "01_ST" / "SEG", "man_seg", frames)
    labels = ctc.read(path).labels
    assert labels.data.tolist() == [[[1, 2]], [[3, 0]], [[5, 4]]]
    assert "there are no tracks" in labels.notes[-1]


@pytest.mark.parametrize("times", [["000", "002"], ["001"], ["000_003", "001_000"]])
def test_truth_of_some_times_is_not_read_as_empty(
    tmp_path: Path, times: list[str]
) -> None:
    path = truth(tmp_path / "SEG", "man_seg", {t: [1] for t in times})
    with pytest.raises(ValueError, match=r"not those of all times from 000 on"):
        ctc.read(path)


def test_of_two_kinds_of_truth_one_is_named(tmp_path: Path) -> None:
    truth(tmp_path / "01_GT" / "TRA", "man_track", {"000": [1]})
    truth(tmp_path / "01_GT" / "SEG", "man_seg", {"000": [1]})
    with pytest.raises(ValueError, match=r"holds SEG .* and TRA .*01_GT/TRA\.$"):
        ctc.read(tmp_path / "01_GT")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7 0 1\n", "line 1 is not four numbers"),
        ("7 0 0 0\nx 0 0 0\n", "line 2 is not four numbers"),
        ("7 0 0 -1\n", "line 1 is not four numbers"),
        ("7 0 0 0\n7 0 0 0\n", "not those of the masks"),
        ("7 0 1 0\n", "not those of the masks"),
        ("8 0 0 0\n", "not those of the masks"),
        ("", "not those of the masks"),
        ("9" * 5000 + " 0 0 0\n", "line 1 is not four numbers"),
        ("\x00\xff\x1b[2J", "line 1 is not four numbers"),
    ],
)
def test_damaged_tracks_are_refused_in_a_sentence(
    tmp_path: Path, text: str, found: str
) -> None:
    path = truth(tmp_path / "01_RES", "mask", {"000": [7]})
    (path / "res_track.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=found) as raised:
        ctc.read(path)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_damaged_folders_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        ctc.read(tmp_path / "01_RES")
    with pytest.raises(ValueError, match=r"holds no maskTTT\.tif"):
        ctc.read(tmp_path)
    path = truth(tmp_path / "01_RES", "mask", {"000": [7], "001": [7, 0]})
    with pytest.raises(ValueError, match=r"shape \(1, 2\) is not .* \(1, 1\)"):
        ctc.read(path)
    (path / "mask001.tif").write_bytes(b"II*\0")
    with pytest.raises(ValueError, match=r"mask001\.tif: cannot be read"):
        ctc.read(path)
    (path / "man_seg000.tif").write_bytes(b"")
    with pytest.raises(ValueError, match="it holds man_seg and mask, not one"):
        ctc.read(path)


def test_the_parent_of_a_daughter_is_the_label_of_the_time_before(
    tmp_path: Path,
) -> None:
    """7 is away at 1, divides into 8 and 9; 5 is still there when 4 comes."""
    frames = [row(7, 7, 5), row(0, 0, 5), row(7, 7, 5), row(8, 9, 5), row(8, 4, 5)]
    parents = {8: 7, 9: 7, 4: 5, 2: 7, 3: 7}
    path = tmp_path / "01_RES"
    written = objects_of(np.stack(frames), "tyx", parent_of=parents)
    ctc.write(path, written)
    text = (path / "res_track.txt").read_text(encoding="ascii")
    lines = ["4 4 4 0", "5 0 4 0", "7 0 0 0", "1 2 2 7", "8 3 4 1", "9 3 3 1"]
    assert text.splitlines() == lines
    read = ctc.read(path)
    np.testing.assert_array_equal(read.labels.data, written.labels.data)
    assert read.parent_of == {8: 7, 9: 7}


@pytest.mark.parametrize("axes", ["tyx", "tzyx"])
def test_py_ctcmetrics_finds_no_fault_with_cells_that_were_followed(
    axes: str, tmp_path: Path
) -> None:
    """Of three cells one divides, and one is away for a moment."""
    ctc_metrics = pytest.importorskip("ctc_metrics")
    movie = np.zeros((5, 30, 40), np.uint16)
    movie[:2, 5:11, 5:15] = 1
    movie[2:, 5:11, 2:8], movie[2:, 5:11, 12:18] = 2, 3
    movie[[0, 1, 3, 4], 18:26, 20:28] = 4
    for t in range(5):
        movie[t, 2 + t : 8 + t, 30:36] = 5
    mothers = {2: 1, 3: 1}
    if axes == "tzyx":
        movie = np.repeat(movie[:, None], 3, axis=1)
    truth = objects_of(movie, axes, parent_of=mothers)
    for part, name in (("SEG", "man_seg"), ("TRA", "man_track")):
        folder = tmp_path / "01_GT" / part
        folder.parent.mkdir(exist_ok=True)
        ctc.write(folder, truth)
        for file in folder.glob("mask*.tif"):
            file.rename(folder / file.name.replace("mask", name))
        (folder / "res_track.txt").rename(folder / "man_track.txt")
    shuffled = movie.copy()
    for t in range(5):
        names = np.random.default_rng(t).permutation(5) + 1
        shuffled[t] = np.concatenate([[0], names])[movie[t]]
    tracks = track_cells(Image(shuffled, axes))
    found = np.stack([tracks.rename(t, frame) for t, frame in enumerate(shuffled)])
    ctc.write(tmp_path / "01_RES", objects_of(found, axes, parent_of=tracks.parents))
    scores = ctc_metrics.evaluate_sequence(
        str(tmp_path / "01_RES"), str(tmp_path / "01_GT"), threads=1
    )
    assert scores["Valid"] == 1
    wanted = ("SEG", "DET", "TRA", "LNK", "CT", "TF", "BC(0)", "IDF1", "HOTA")
    assert {name: scores[name] for name in wanted} == dict.fromkeys(wanted, 1.0)
