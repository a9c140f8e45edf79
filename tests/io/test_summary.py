from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.summary import SUMMARY, write_summary
from napari_unet.io.tables import write_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> PredictionFolder:
    return PredictionFolder(tmp_path, ("table",))


def put(folder: PredictionFolder, file: Path, **columns: list[float]) -> None:
    target = folder.target(file, "table")
    target.parent.mkdir(exist_ok=True)
    write_table(target, {k: np.array(v) for k, v in columns.items()})


def test_each_image_has_a_row(folder: PredictionFolder, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.tif" for name in ("flat", "movie", "missing")]
    tifffile.imwrite(files[0], np.zeros((8, 9), np.uint8))
    options = {"imagej": True, "metadata": {"axes": "TYX"}}
    tifffile.imwrite(files[1], np.zeros((2, 8, 9), np.uint8), **options)
    put(folder, files[0], label=[1, 2], t=[0, 0], area_px=[4, 8])
    put(folder, files[1], label=[1, 1, 2], t=[0, 1, 1], area_px=[1, 2, 6])
    path = write_summary(folder, files)
    assert path == tmp_path / SUMMARY
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["flat", "movie"]
    flat, movie = rows
    assert (flat["time_points"], flat["cells"]) == ("1", "2")
    assert (movie["time_points"], movie["cells"]) == ("2", "3")
    assert (float(flat["area_px_mean"]), float(flat["area_px_sum"])) == (6, 12)
    assert (float(movie["area_px_mean"]), float(movie["area_px_median"])) == (3, 2)
    # again, over its own
    assert write_summary(folder, files) == path


def test_an_image_without_cells_counts_none(
    folder: PredictionFolder, tmp_path: Path
) -> None:
    files = [tmp_path / "some.tif", tmp_path / "none.tif"]
    put(folder, files[0], label=[1], t=[0], area_px=[5])
    put(folder, files[1], label=[], t=[], area_px=[])
    tifffile.imwrite(files[0], np.zeros((8, 9), np.uint8))
    path = write_summary(folder, files)
    assert path is not None
    lines = path.read_text("utf-8").splitlines()
    # of an image that cannot be read, time points are not known
    assert lines[1:] == ["some,1,1,5.0,5.0,5.0", "none,,0,,,"]


def test_what_is_no_summary_stays(folder: PredictionFolder, tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    assert write_summary(folder, [file]) is None
    put(folder, file, label=[1], t=[0], area_px=[5])
    mine = tmp_path / SUMMARY
    mine.write_text("my own numbers\n")
    with pytest.raises(FileExistsError, match="no summary of this program"):
        write_summary(folder, [file])
    assert mine.read_text() == "my own numbers\n"


@pytest.mark.parametrize(
    ("axes", "given", "times"),
    [("TYX", None, 5), ("ZYX", None, 1), ("ZYX", "tyx", 5), ("TYX", "zyx", 1)],
)
@pytest.mark.parametrize("with_cells", [[], [0], [0, 3]])
def test_time_points_without_cells_count(
    folder: PredictionFolder,
    tmp_path: Path,
    axes: str,
    given: str | None,
    times: int,
    with_cells: list[int],
) -> None:
    file = tmp_path / "a.tif"
    options = {"imagej": True, "metadata": {"axes": axes}}
    tifffile.imwrite(file, np.zeros((5, 8, 9), np.uint8), **options)
    seen = with_cells if times > 1 else [0] * len(with_cells)
    put(folder, file, label=[*range(1, len(seen) + 1)], t=seen)
    path = write_summary(folder, [file], given)
    assert path is not None
    lines = path.read_text("utf-8").splitlines()
    assert lines == ["image,time_points,cells", f"a,{times},{len(seen)}"]
