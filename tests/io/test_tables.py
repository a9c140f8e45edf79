from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.io.tables import write_points, write_table

if TYPE_CHECKING:
    from pathlib import Path


def test_a_table_is_csv_as_the_standard_has_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    columns = {
        "label": np.array([1, 20], np.int32),
        "area_um2": np.array([0.1, 1e-7]),
        "class": ['nucléus, "old"', "two\nlines"],
        "touches_border": np.array([True, False]),
    }
    write_table(path, columns)
    assert path.read_bytes() == (
        b"\xef\xbb\xbflabel,area_um2,class,touches_border\r\n"
        b'1,0.1,"nucl\xc3\xa9us, ""old""",True\r\n'
        b'20,1e-07,"two\nlines",False\r\n'
    )
    assert list(tmp_path.iterdir()) == [path]


def test_pandas_reads_a_table_by_its_names(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.csv"
    for name in ("nucleus", "núcleo", "核"):
        write_table(path, {"label": [7], "class": [name], "area_um2": [np.nan]})
        table = pandas.read_csv(path)
        assert list(table) == ["label", "class", "area_um2"]
        assert table["class"].tolist() == [name]
        assert table["area_um2"].isna().all()


def test_numbers_come_back_equal_and_no_number_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    values = [0.1 + 0.2, 1 / 3, np.nan, -0.0, 1e300]
    write_table(path, {"a": np.array(values), "b": np.arange(5)})
    with path.open(encoding="utf-8", newline="") as file:
        read = [row["a"] for row in csv.DictReader(file)]
    assert read[2] == ""
    assert [float(x) for x in read if x] == [v for v in values if v == v]


def test_a_table_without_rows_has_its_names(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", {"label": np.zeros(0, int), "t": []})
    assert (tmp_path / "a.csv").read_bytes() == b"label,t\r\n"


def test_an_old_table_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.CSV"
    path.write_text("something much longer than the new table")
    write_table(path, {"a": [1]})
    assert path.read_bytes() == b"a\r\n1\r\n"


@pytest.mark.parametrize(
    ("columns", "found"), [({"a": [1], "b": [1, 2]}, "'b': 2"), ({}, "none")]
)
def test_columns_have_one_length(
    tmp_path: Path, columns: dict[str, list[int]], found: str
) -> None:
    with pytest.raises(ValueError, match=f"columns of one length, found .*{found}"):
        write_table(tmp_path / "a.csv", columns)
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"written to \.csv, found '\.xlsx'"):
        write_table(tmp_path / "a.xlsx", {"a": [1]})


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be written, its folder does not exist"):
        write_table(tmp_path / "no" / "a.csv", {"a": [1]})


@pytest.mark.parametrize("name", ["nucleus", "núcleo"])
def test_napari_opens_points_with_their_features(tmp_path: Path, name: str) -> None:
    builtins = pytest.importorskip("napari_builtins.io")
    points = {
        "label": np.array([4, 9]),
        "class": np.array([name, name]),
        "confidence": np.array([0.5, 0.25]),
        "z": np.array([0.0, 2.0]),
        "y": np.array([1.5, 3.0]),
        "x": np.array([7.0, 8.25]),
    }
    path = tmp_path / "a.csv"
    write_points(path, points, "zyx")
    places, attributes, kind = builtins.csv_to_layer_data(str(path))
    assert kind == "points"
    assert places.tolist() == [[0, 1.5, 7], [2, 3, 8.25]]
    features = attributes["properties"]
    assert features["class"].tolist() == [name, name]
    assert features["confidence"].tolist() == [0.5, 0.25]
    assert features["label"].tolist() == [4, 9]
