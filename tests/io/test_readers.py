"""Which reader a file is for, where each of them leads, and what is missing."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from importlib import util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet import DISTRIBUTION
from napari_unet.cli.main import main
from napari_unet.core.images.image import Image
from napari_unet.io.images import SUFFIXES, find, read_image
from napari_unet.io.names import image_name
from napari_unet.io.readers import catalogue
from napari_unet.io.readers.file_image import OnDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.io.pixels import Pixels

PLANE = np.arange(20, dtype=np.uint8).reshape(4, 5)


def test_no_library_is_loaded_before_the_first_file_of_its_kind() -> None:
    code = "import napari_unet.io.images, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "napari_unet.io.readers.catalogue" in loaded
    libraries = {r.imported or r.package for r in catalogue.READERS} | {"bioio"}
    assert not loaded & libraries


def test_every_reader_has_its_module_and_suffixes_of_its_own() -> None:
    suffixes = [suffix for reader in catalogue.READERS for suffix in reader.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert set(suffixes) < set(SUFFIXES)
    for name in ("bioio", *(reader.name for reader in catalogue.READERS)):
        assert util.find_spec(f"napari_unet.io.readers.{name}") is not None


@pytest.mark.parametrize("reader", catalogue.READERS, ids=lambda reader: reader.name)
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    reader: catalogue.Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    path = tmp_path / f"a{reader.suffixes[0]}"
    path.write_bytes(b"anything")
    wanted = (
        rf'needs the package {reader.package}: pip install "{DISTRIBUTION}\[readers'
    )
    with pytest.raises(ValueError, match=wanted):
        read_image(path)


def test_a_library_that_is_too_old_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Python 3.11 pip silently installs czifile of 2019."""
    path = tmp_path / "a.czi"
    path.write_bytes(b"anything")
    monkeypatch.setattr(catalogue, "has_bioio", lambda: False)
    monkeypatch.setattr(sys, "version_info", (3, 11, 4))
    with pytest.raises(ValueError, match=r"which needs Python 3\.12 or newer, found"):
        read_image(path)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(catalogue, "find_spec", lambda _: object())
    monkeypatch.setattr(catalogue, "version", lambda _: "2019.7.2")
    with pytest.raises(ValueError, match=r"czifile of 2026 or newer, found 2019\.7\.2"):
        read_image(path)


def test_names_have_no_suffix_of_a_format() -> None:
    assert image_name("a/scan.1.nii.gz") == "scan.1"
    assert image_name("a/scan.1.nd2#3") == "scan.1#3"


def test_folders_and_patterns_find_the_files_of_microscopes(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.ND2", "c.czi", "d.gz", "e.txt", ".hidden.nd2"):
        (tmp_path / name).write_bytes(b"x")
    assert [f.name for f in find([tmp_path])] == ["a.ND2", "b.nii.gz", "c.czi"]
    assert [f.name for f in find([tmp_path / "*z*"])] == ["b.nii.gz", "c.czi"]
    with pytest.raises(
        ValueError, match=r"images are read from \.tif, .* found '\.gz'"
    ):
        find([tmp_path / "d.gz"])


def test_the_command_line_predicts_an_image_of_a_file_of_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("one", "two"):
            file[name] = rng.integers(0, 255, (3, 60, 70), dtype=np.uint8)
            file[name].attrs["element_size_um"] = [1, 0.3, 0.3]
    options = [
        "--output",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--averaging",
        "none",
    ]
    assert main(["predict", "nuclei", str(tmp_path / "a.h5"), *options]) == 1
    assert "it holds 2 images: #1 '/one'" in capsys.readouterr().err
    assert main(["predict", "nuclei", str(tmp_path / "a.h5#2"), *options]) == 0
    cells = read_image(tmp_path / "out" / "instances" / "a#2.tif")
    assert (cells.axes, cells.spacing_um) == ("zyx", (1, 0.3, 0.3))


class TestOnDisk:
    """An array whose outer axes are read one by one, the inner ones in parts."""

    @pytest.mark.parametrize("seed", range(20))
    def test_any_index_gives_what_numpy_gives(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        data = rng.integers(0, 99, rng.integers(1, 5, 4)).astype(np.uint16)
        outer = int(rng.integers(0, 5))
        array = on_disk(data, outer)
        index: list[Any] = []
        for n in data.shape:
            start, stop = sorted(rng.integers(0, n + 1, 2))
            choices = [int(rng.integers(-n, n)), slice(None), slice(start, n + 2)]
            index.append(choices[rng.integers(3)] if stop > start else slice(None))
        for key in (tuple(index), tuple(index[:2]), (..., index[-1]), index[0]):
            np.testing.assert_array_equal(array[key], data[key])
        np.testing.assert_array_equal(np.asarray(array), data)

    def test_only_the_planes_that_are_asked_for_are_read(self) -> None:
        read: list[tuple[int, ...]] = []
        data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
        image = Image(on_disk(data, 2, read), "tzyx")
        fields = list(image.fields(2))
        np.testing.assert_array_equal(fields[4].read()[0], data[1, 1])
        assert read == [(1, 1)]

    def test_a_plane_of_another_size_is_no_plane(self) -> None:
        data = np.zeros((2, 4, 5))
        array = OnDisk((2, 4, 6), data.dtype, 1, on_disk(data, 1).opened)
        with pytest.raises(ValueError, match=r"has the shape \(4, 5\)"):
            array[...]


def on_disk(
    data: np.ndarray, outer: int, read: list[tuple[int, ...]] | None = None
) -> OnDisk:
    @contextmanager
    def opened() -> Iterator[Any]:
        def part(at: tuple[int, ...], inside: tuple[int | slice, ...]) -> Any:
            if read is not None:
                read.append(at)
            return data[at][inside]

        yield part

    return OnDisk(data.shape, data.dtype, outer, opened)


class TestBioio:
    """Formats that only a person's bioio knows."""

    @pytest.fixture(autouse=True)
    def needed(self) -> None:
        pytest.importorskip("bioio")
        pytest.importorskip("bioio_tifffile")

    def test_what_it_reads_is_read(self, tmp_path: Path) -> None:
        import tifffile

        from napari_unet.io.readers import bioio

        data = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
        tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
        (one,) = bioio.images(tmp_path / "a.tif")
        pixels: Pixels = one.pixels()
        image = pixels.image("a")
        assert image.axes == "zyx"
        np.testing.assert_array_equal(image.read(), data)

    def test_what_it_does_not_read_is_refused_in_a_sentence(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "a.oir").write_bytes(b"x" * 100)
        with pytest.raises(
            (ValueError, OSError), match=r"a\.oir: .* no plugin of bioio .*\.$"
        ):
            read_image(tmp_path / "a.oir")
