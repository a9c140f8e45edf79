from __future__ import annotations

from glob import glob
from pathlib import Path

import pytest

from napari_unet.io.names import file_stem, glob_pattern, image_name, split_number


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/scan.tif", "scan"),
        ("scan.ome.tif", "scan"),
        ("SCAN.OME.TIFF", "SCAN"),
        ("scan.v2.png", "scan.v2"),
        ("scan.ome.zarr", "scan"),
        ("home.tif", "home"),
        ("scan.ome.tif#2", "scan#2"),
        ("scan.tif#12", "scan#12"),
    ],
)
def test_an_image_is_called_as_its_file_without_suffix(path: str, name: str) -> None:
    assert image_name(path) == name


def test_fields_of_a_plate_are_named_by_their_place_in_it(tmp_path: Path) -> None:
    for suffix in ("plate.zarr", "plate.ome.zarr"):
        for well in ("A/1/0", "A/2/0"):
            (tmp_path / suffix / well).mkdir(parents=True)
        assert image_name(tmp_path / suffix / "A/1/0") == "plate_A_1_0"
        assert image_name(tmp_path / suffix / "A/2/0") == "plate_A_2_0"


def test_a_converters_folder_counts_as_one_by_its_marker(tmp_path: Path) -> None:
    (tmp_path / "converted" / "0").mkdir(parents=True)
    (tmp_path / "converted" / ".zgroup").touch()
    assert image_name(tmp_path / "converted" / "0") == "converted_0"


def test_a_number_is_parted_from_the_file(tmp_path: Path) -> None:
    assert split_number("a/b.tif#2") == (Path("a/b.tif"), 2)
    assert split_number("a/b.tif") == (Path("a/b.tif"), None)
    assert split_number("a#2/b.tif") == (Path("a#2/b.tif"), None)
    own = tmp_path / "b.tif#2"
    own.touch()
    assert split_number(own) == (own, None)


def test_folders_that_are_there_stand_for_themselves_in_a_pattern(
    tmp_path: Path,
) -> None:
    for name in ("a[b]", "ab"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "img1.tif").touch()
    (tmp_path / "a[b]" / "deep" / "img[1].tif").touch()

    def found(pattern: str) -> list[str]:
        files = map(Path, glob(glob_pattern(tmp_path / pattern), recursive=True))
        return sorted(f.relative_to(tmp_path).as_posix() for f in files)

    both = ["a[b]/deep/img1.tif", "a[b]/deep/img[1].tif"]
    assert found("a[b]/**/*.tif") == both
    assert found("a[b]/deep/img?.tif") == both[:1]
    assert found("a[b]/deep/img[1].tif") == both[:1]
    assert found("*/deep/*.tif") == [*both, "ab/deep/img1.tif"]
    assert found("a[bc]/deep/*") == ["ab/deep/img1.tif"]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("nuclei", "nuclei"),
        ("a/b:c", "a_b_c"),
        ("../..", "_"),
        (" . ", "image"),
        ("abcdefgh", "abcdef"),
    ],
)
def test_a_title_becomes_a_name_that_every_system_takes(
    title: str, expected: str
) -> None:
    assert file_stem(title, "image", longest=6) == expected
