"""What every format of objects must do that writes outlines."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet import DISTRIBUTION
from napari_unet.core.cells.objects import Objects
from napari_unet.core.images.image import Image
from napari_unet.io.objects.catalogue import FORMATS, ObjectFormat, format_of
from object_cases import CASES, objects, random_labels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OUTLINES = ("rois", "geojson", "coco")


@pytest.fixture(params=OUTLINES)
def format_(request: pytest.FixtureRequest) -> ObjectFormat:
    if FORMATS[request.param].package is not None:
        pytest.importorskip(FORMATS[request.param].package)
    return FORMATS[request.param]


@pytest.fixture
def path(format_: ObjectFormat, tmp_path: Path) -> Path:
    return tmp_path / f"picture{format_.suffixes[0]}"


def check_identity(format_: ObjectFormat, path: Path, written: Objects) -> None:
    format_.write(path, written)
    read = format_.read(path, written.labels)
    assert read.labels.axes == written.labels.axes
    np.testing.assert_array_equal(read.labels.read(), written.labels.read())
    assert read.labels.spacing_um == written.labels.spacing_um
    assert read.labels.notes == ()
    assert read.probability_of == written.probability_of
    for label in written.class_of:
        found, kind = read.class_named(label), written.class_named(label)
        assert found is not None
        assert kind is not None
        assert found.name == kind.name
        # COCO has no colours
        assert found.colour == (None if "coco" in path.name else kind.colour)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("case", CASES)
def test_labels_come_back(format_: ObjectFormat, path: Path, case: str) -> None:
    check_identity(format_, path, objects(*CASES[case]))


@pytest.mark.parametrize("seed", range(40))
def test_random_labels_come_back(format_: ObjectFormat, path: Path, seed: int) -> None:
    check_identity(format_, path, objects(*random_labels(seed)))


def test_objects_of_which_nothing_is_known_come_back(
    format_: ObjectFormat, path: Path
) -> None:
    labels = Image(CASES["all borders"][1], "yx")
    format_.write(path, Objects(labels))
    read = format_.read(path, labels)
    np.testing.assert_array_equal(read.labels.read(), labels.read())
    assert not read.classes


def test_objects_far_from_the_corner_come_back(
    format_: ObjectFormat, path: Path
) -> None:
    labels = np.zeros((4, 70_000), int)
    for label, left in enumerate((32_760, 60_530, 60_600, 65_530, 69_996), start=1):
        labels[:, left : left + 4] = label
        labels[1, left + 2] = 0
        labels[:, left - 9 : left - 6] = label + 10
    check_identity(format_, path, objects("yx", labels))


def test_without_the_image_the_least_one_is_made(
    format_: ObjectFormat, path: Path
) -> None:
    labels = np.zeros((2, 3, 5, 7), int)
    labels[1, 2, 4, 6] = 9
    format_.write(path, objects("tzyx", labels))
    read = format_.read(path).labels
    assert (read.axes, read.spacing_um) == ("tzyx", None)
    np.testing.assert_array_equal(read.read(), labels)


def test_labels_are_read_plane_by_plane(format_: ObjectFormat, path: Path) -> None:
    class Planes:
        shape, dtype = (5, 2, 3), np.dtype(int)

        def __init__(self) -> None:
            self.read: list[int] = []

        def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
            assert isinstance(key[0], int)
            self.read.append(key[0])
            return np.full((2, 3), key[0])[key[1:]]

    planes = Planes()
    format_.write(path, Objects(Image(planes, "zyx")))
    assert planes.read == [0, 1, 2, 3, 4]


def test_what_cannot_be_written_leaves_the_old_file(
    format_: ObjectFormat, path: Path
) -> None:
    path.write_bytes(b"old")
    for wrong in (-1, 2**32):
        labels = Image(np.array([[[0, 1]], [[0, wrong]]]), "zyx")
        with pytest.raises(ValueError, match="ids of objects are from 0"):
            format_.write(path, Objects(labels))
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b"old"]
    with pytest.raises(OSError, match="its folder does not exist"):
        format_.write(path.parent / "none" / path.name, Objects(labels))


def test_objects_of_another_image_are_refused(
    format_: ObjectFormat, path: Path
) -> None:
    labels = np.zeros((3, 20, 20), int)
    labels[2, 15, 15] = 1
    format_.write(path, objects("zyx", labels))
    other = Image(np.zeros((3, 10, 10), int), "zyx")
    with pytest.raises(ValueError, match=f"^{path}: .*(outside|of 20 × 20)"):
        format_.read(path, other)
    with pytest.raises(
        ValueError, match="outside the image, which has 1 × 2 × 20 × 20"
    ):
        format_.read(path, Image(np.zeros((2, 20, 20), int), "zyx"))


def damaged(content: bytes) -> Callable[[int], bytes]:
    """Return what makes the content wrong by a seed: cut off, or bytes changed."""

    def wrong(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        if seed % 2:
            return content[: rng.integers(len(content))]
        changed = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(changed.size, size=1 + seed % 5)
        changed[places] = rng.integers(256, size=places.size)
        return changed.tobytes()

    return wrong


def complaint(format_: ObjectFormat, path: Path) -> str:
    """Return why a file cannot be read, a sentence with its name; "" if it can."""
    try:
        format_.read(path)
    except ValueError as error:
        said = str(error)
    else:
        return ""
    assert said.startswith(f"{path}: ")
    assert said.endswith(".")
    assert "\n" not in said
    return said


def test_a_damaged_file_is_one_sentence(format_: ObjectFormat, path: Path) -> None:
    format_.write(path, objects(*CASES["time and slices"]))
    wrong = damaged(path.read_bytes())
    said = []
    for seed in range(100):
        path.write_bytes(wrong(seed))
        said.append(complaint(format_, path))
    assert sum(map(bool, said)) > 50


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 1000,
        b"PK\x05\x06" + b"\x00" * 18,
        b"null",
        b"[]",
        b"{}",
        b"[1]",
        b'{"features": 1}',
        b'{"features": [{}]}',
        b'{"features": [[]]}',
        b'{"images": [], "annotations": []}',
        b'{"images": [{}], "annotations": [{}]}',
    ],
)
def test_a_foreign_file_is_one_sentence_or_has_no_objects(
    format_: ObjectFormat, path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    if not complaint(format_, path):
        assert not format_.read(path).labels.read().any()


def test_a_missing_file_is_said(format_: ObjectFormat, path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"^{path}: there is no such file"):
        format_.read(path)


def test_a_format_is_found_by_the_end_of_a_name() -> None:
    names = {
        "a_RoiSet.zip": "rois",
        "A_ROISET.ZIP": "rois",
        "a.roi": "rois",
        "a.geojson": "geojson",
        "a_coco.json": "coco",
        "a.json#2": "coco",
        "a.tif.gz": None,
    }
    for name, wanted in names.items():
        assert format_of(name) is (FORMATS[wanted] if wanted else None)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path,
) -> None:
    missing = replace(FORMATS["rois"], package="no_such_package")
    wanted = (
        r"need the package no_such_package.*pip install "
        rf'"{DISTRIBUTION}\[formats\]"'
    )
    path, written = tmp_path / "a.zip", objects(*CASES["hole"])
    with pytest.raises(ModuleNotFoundError, match=wanted):
        missing.write(path, written)
    with pytest.raises(ModuleNotFoundError, match=wanted):
        missing.read(path)
    assert not list(tmp_path.iterdir())


def test_formats_load_nothing_heavy_before_they_are_used() -> None:
    statement = (
        "import sys, importlib\n"
        "from napari_unet.io.objects.catalogue import FORMATS\n"
        "for one in FORMATS.values():\n"
        "    importlib.import_module(f'napari_unet.io.objects.{one.module}')\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, text=True, check=True
    )
    packages = {"roifile", "skimage", "zarr", "h5py", "tifffile", "pandas", "torch"}
    assert not packages & set(done.stdout.split())
