"""Nikon's ND2, Leica's LIF, Olympus's OIF, Zeiss's CZI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import make_czi
from microscope_files import write_lif, write_nd2, write_oib, write_oif
from napari_unet.io.images import find, read_image
from napari_unet.io.provenance import content_stamp
from napari_unet.io.readers import file_image
from napari_unet.io.readers.catalogue import READERS

if TYPE_CHECKING:
    from collections.abc import Callable

# Written by pylibCZIrw, a library of Zeiss; see the test.
CZI = Path(__file__).with_name("two_scenes.czi")


def grid(*shape: int, dtype: str = "<u2") -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


class TestNd2:
    @pytest.fixture(autouse=True)
    def needed(self) -> None:
        pytest.importorskip("nd2")

    def test_all_axes_with_the_pixel_size(self, tmp_path: Path) -> None:
        import nd2

        data = grid(2, 4, 5, 6, 3)
        path = write_nd2(tmp_path / "a.nd2", data, "TZ")
        image = read_image(path)
        assert (image.axes, image.spacing_um) == ("tzcyx", (0.5, 0.2, 0.2))
        frames = np.moveaxis(data, -1, 2)
        np.testing.assert_array_equal(nd2.imread(path), frames)
        np.testing.assert_array_equal(image.read(), frames)
        part = image.read((slice(None), 1, slice(0, 2), slice(1, 4), slice(2, 9)))
        np.testing.assert_array_equal(part, frames[:, 1, :2, 1:4, 2:])
        assert image.read((1, 2, 0, 3, 4)) == frames[1, 2, 0, 3, 4]

    def test_a_single_plane(self, tmp_path: Path) -> None:
        image = read_image(write_nd2(tmp_path / "a.nd2", grid(5, 6, 1), ""))
        assert (image.axes, image.spacing_um) == ("yx", (0.2, 0.2))
        np.testing.assert_array_equal(image.read(), grid(5, 6))

    def test_positions_are_listed_and_asked_for(self, tmp_path: Path) -> None:
        data = grid(2, 3, 4, 5, 6, 1)
        path = write_nd2(tmp_path / "a.nd2", data, "TPZ")
        with pytest.raises(
            ValueError,
            match=r"a\.nd2: it holds 3 images: #1 'position 1' \(2 × 4 × 5 × 6, uint16"
            r"\), .*; name one, as in a\.nd2#2, or all with a\.nd2#\*\.$",
        ):
            read_image(path)
        files = find([f"{path}#*"])
        assert [f.name for f in files] == ["a.nd2#1", "a.nd2#2", "a.nd2#3"]
        for k, file in enumerate(files):
            image = read_image(file)
            assert (image.axes, image.name) == ("tzyx", f"a#{k + 1}")
            np.testing.assert_array_equal(image.read(), data[:, k, ..., 0])

    def test_uncalibrated_pixels_have_no_size(self, tmp_path: Path) -> None:
        path = write_nd2(tmp_path / "a.nd2", grid(5, 6, 1), "", calibrated=False)
        assert read_image(path).spacing_um is None

    def test_lost_frames_are_not_read_as_black(self, tmp_path: Path) -> None:
        path = write_nd2(tmp_path / "a.nd2", grid(4, 5, 6, 1), "T", lost=[2])
        with pytest.raises(ValueError, match="1 of the 4 frames that it tells of are"):
            read_image(path)

    def test_a_frame_beyond_the_end_is_not_read_as_black(self, tmp_path: Path) -> None:
        path = write_nd2(tmp_path / "a.nd2", grid(4, 5, 6, 1), "T")
        content = path.read_bytes()
        entry = content.rindex(b"ImageDataSeq|2!") + len("ImageDataSeq|2!")
        beyond = np.array([len(content)], "<u8").tobytes()
        path.write_bytes(content[:entry] + beyond + content[entry + 8 :])
        with pytest.raises(ValueError, match="1 of the 4 frames that it tells of are"):
            read_image(path)

    @pytest.mark.parametrize("length", [-300, 8000, 100, 10])
    def test_a_cut_file_is_refused(self, tmp_path: Path, length: int) -> None:
        path = write_nd2(tmp_path / "a.nd2", grid(4, 5, 6, 1), "T")
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises((ValueError, OSError), match=r"a\.nd2: cannot be.*\.$"):
            read_image(path)


class TestLif:
    @pytest.fixture(autouse=True)
    def needed(self) -> None:
        pytest.importorskip("liffile")

    def test_all_axes_with_the_pixel_size(self, tmp_path: Path) -> None:
        import liffile

        data = grid(2, 3, 4, 5, 6)
        path = write_lif(tmp_path / "a.lif", {"one": ("tczyx", data)})
        np.testing.assert_array_equal(liffile.imread(path), data)
        image = read_image(path)
        assert image.axes == "tczyx"
        assert image.spacing_um == pytest.approx((0.5, 0.2, 0.2))
        np.testing.assert_array_equal(image.read(), data)

    def test_images_of_all_sizes_are_listed(self, tmp_path: Path) -> None:
        images = {
            "stack": ("zyx", grid(4, 5, 6)),
            "time/series": ("tyx", grid(2, 7, 8, dtype="u1")),
        }
        path = write_lif(tmp_path / "a.lif", images)
        with pytest.raises(
            ValueError,
            match=r"it holds 2 images: #1 'stack' \(4 × 5 × 6, uint16\), "
            r"#2 'time/series' \(2 × 7 × 8, uint8\); name one",
        ):
            read_image(path)
        for k, (axes, data) in enumerate(images.values(), start=1):
            image = read_image(f"{path}#{k}")
            assert image.axes == axes
            np.testing.assert_array_equal(image.read(), data)

    @pytest.mark.parametrize("mapped_from", [0, 2**26])
    def test_tiles_of_a_mosaic_are_images(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped_from: int
    ) -> None:
        monkeypatch.setattr(file_image, "MAPPED_FROM_BYTES", mapped_from)
        data = grid(3, 2, 5, 6)
        path = write_lif(tmp_path / "a.lif", {"whole": ("mcyx", data)})
        files = find([f"{path}#*"])
        assert len(files) == 3
        for k, file in enumerate(files):
            image = read_image(file)
            assert image.axes == "cyx"
            np.testing.assert_array_equal(image.read(), data[k])
        with pytest.raises(ValueError, match="#2 'whole, tile 2'"):
            read_image(path)

    def test_an_image_that_is_not_understood_hides_no_other(
        self, tmp_path: Path
    ) -> None:
        images = {k: ("yx", grid(5, 6)) for k in ("odd", "fine")}
        path = write_lif(tmp_path / "a.lif", images)
        name = 'Resolution="16"'.encode("utf-16-le")
        wrong = 'Resolution="99"'.encode("utf-16-le")
        path.write_bytes(path.read_bytes().replace(name, wrong, 1))
        np.testing.assert_array_equal(read_image(f"{path}#2").data, grid(5, 6))
        with pytest.raises(ValueError, match="cannot be read as an image: invalid res"):
            read_image(f"{path}#1")

    def test_a_description_that_leads_to_other_files_is_not_followed(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "a.lif").write_text(
            '<?xml version="1.0"?><LMSDataContainerHeader Version="2"><Element '
            'Name="a"><Memory Size="4" MemoryBlockID="b"><Frame File="../secret.tif" '
            'Offset="0" Size="4"/></Memory></Element></LMSDataContainerHeader>',
            encoding="utf-8",
        )
        with pytest.raises(ValueError, match="pixels are in other files"):
            read_image(tmp_path / "a.lif")

    def test_a_block_that_is_cut_off_is_refused(self, tmp_path: Path) -> None:
        images = {k: ("yx", grid(50, 60)) for k in ("first", "second")}
        path = write_lif(tmp_path / "a.lif", images)
        content = path.read_bytes()
        path.write_bytes(content[:-10])
        np.testing.assert_array_equal(read_image(f"{path}#1").data, grid(50, 60))
        with pytest.raises(ValueError, match=r"a\.lif#2: cannot be read.*"):
            read_image(f"{path}#2").read()
        path.write_bytes(content[:100])
        with pytest.raises(ValueError, match=r"a\.lif: cannot be read.*\.$"):
            read_image(path)


class TestOif:
    @pytest.fixture(autouse=True)
    def needed(self) -> None:
        pytest.importorskip("oiffile")

    @pytest.mark.parametrize("write", [write_oif, write_oib])
    def test_all_axes_with_the_pixel_size(
        self, write: Callable[[Path, np.ndarray], Path], tmp_path: Path
    ) -> None:
        import oiffile

        data = grid(2, 3, 5, 6)
        path = write(tmp_path / f"a.{write.__name__[-3:]}", data)
        np.testing.assert_array_equal(oiffile.imread(path), data)
        image = read_image(path)
        assert (image.axes, image.spacing_um) == ("czyx", (0.5, 0.2, 0.2))
        np.testing.assert_array_equal(image.read(), data)
        np.testing.assert_array_equal(
            image.read((slice(None), 2, slice(1, 3), 4)), data[:, 2, 1:3, 4]
        )
        assert image.notes == ("smaller pictures beside its planes are left out.",)

    def test_a_lost_plane_is_not_read_as_black(self, tmp_path: Path) -> None:
        path = write_oif(tmp_path / "a.oif", grid(2, 3, 5, 6))
        (tmp_path / "a.oif.files" / "s_C002Z002.tif").unlink()
        with pytest.raises(ValueError, match="1 plane of it cannot be found"):
            read_image(path)

    def test_another_content_of_the_folder_is_another_image(
        self, tmp_path: Path
    ) -> None:
        path = write_oif(tmp_path / "a.oif", grid(2, 3, 5, 6))
        before = content_stamp(path)
        (tmp_path / "a.oif.files" / "Thumbs.db").write_bytes(b"of Windows")
        assert content_stamp(path) == before
        (tmp_path / "a.oif.files" / "s_C002Z002.tif").write_bytes(b"other")
        assert content_stamp(path) != before

    @pytest.mark.parametrize(("first", "behind"), [(0, 128), (1, 2)])
    def test_sectors_that_lead_in_a_circle_are_not_followed_for_ever(
        self, tmp_path: Path, first: int, behind: int
    ) -> None:
        """So they do where a copy that broke off is filled up with zeros."""
        path = write_oib(tmp_path / "a.oib", grid(2, 3, 5, 6))
        content = bytearray(path.read_bytes())
        itself = np.full(behind - first, first, "<u4").tobytes()
        content[512 + 4 * first : 512 + 4 * behind] = itself
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"its sectors lead in a circle\.$"):
            read_image(path)

    @pytest.mark.parametrize("name", ["a.oif", "a.oib"])
    def test_damaged_files_are_refused(self, tmp_path: Path, name: str) -> None:
        for content in (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(900), b"[", b"xx"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises((ValueError, OSError), match=r"cannot be read.*\.$"):
                read_image(tmp_path / name)


class TestCzi:
    """Scenes in tiles; in the second a corner is covered by none."""

    @pytest.fixture(autouse=True)
    def needed(self) -> None:
        (reader,) = (one for one in READERS if one.name == "czi")
        if problem := reader.problem():
            pytest.skip(problem)

    def test_scenes_are_listed_and_put_together(self) -> None:
        with pytest.raises(
            ValueError,
            match=r"it holds 2 images: #1 'scene 1' \(2 × 2 × 2 × 8 × 10, uint16\), "
            r"#2 'scene 2' \(2 × 2 × 2 × 11 × 10, uint16\); name one",
        ):
            read_image(CZI)
        for k, pixels in enumerate(make_czi.pixels(), start=1):
            image = read_image(f"{CZI}#{k}")
            assert image.axes == "tczyx"
            assert image.spacing_um == pytest.approx((0.5, 0.2, 0.2))
            np.testing.assert_array_equal(image.read(), pixels)

    def test_boxes_are_read_across_tiles_and_where_there_is_none(self) -> None:
        image, pixels = read_image(f"{CZI}#2"), make_czi.pixels()[1]
        for box in (
            (1, slice(None), 0, slice(2, 9), slice(4, 8)),
            (0, 1, 1, slice(9, 11), slice(0, 5)),  # below the left tile
            (0, 1, 1, slice(0, 2), 7),
            (0, 1, slice(None), 4, slice(None)),
        ):
            np.testing.assert_array_equal(image.read(box), pixels[box])

    def test_a_cut_file_is_refused(self, tmp_path: Path) -> None:
        content = CZI.read_bytes()
        for length in (40, 900, len(content) // 2):
            (tmp_path / "a.czi").write_bytes(content[:length])
            with pytest.raises((ValueError, OSError), match=r"a\.czi.*\.$"):
                read_image(f"{tmp_path / 'a.czi'}#2").read()
