"""Projects are found again by the pixels of their images."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.io.project_record import ImageSource, ProjectImage
from napari_unet.session.project.recovery import find_projects, fingerprint
from napari_unet.session.project.store import ProjectStore

if TYPE_CHECKING:
    from pathlib import Path


def pixels(*shape: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.random.default_rng(0).integers(0, 9999, shape).astype(np.uint16)


class TestFingerprint:
    """Equal for equal images, whatever holds them."""

    def test_it_tells_shape_and_type(self) -> None:
        assert fingerprint(pixels(3, 40, 50), "zyx").startswith("3x40x50 uint16 ")

    def test_it_is_the_same_for_any_kind_of_array(self, tmp_path: Path) -> None:
        import dask.array as da
        import zarr

        data = pixels(5, 200, 300)
        mark = fingerprint(data, "zyx")
        stored = zarr.create_array(
            store=str(tmp_path / "z"), shape=data.shape, chunks=(1, 64, 64), dtype="u2"
        )
        stored[...] = data
        assert fingerprint(stored, "zyx") == mark
        assert fingerprint(da.from_array(data, (1, 50, 50)), "zyx") == mark
        assert fingerprint(data.astype(">u2"), "zyx") == mark
        assert fingerprint(np.asfortranarray(data), "tyx") == mark

    @pytest.mark.parametrize("place", [(0, 0, 0), (2, 100, 150), (4, 199, 299)])
    def test_it_differs_where_a_sampled_pixel_does(self, place: Any) -> None:
        data = pixels(5, 200, 300)
        mark = fingerprint(data, "zyx")
        data[place] += 1
        assert fingerprint(data, "zyx") != mark

    def test_it_differs_with_shape_type_and_order(self) -> None:
        data = pixels(4, 64, 64)
        others = [data[:, :, ::-1], data.astype(np.int32), data[:3], data[::-1]]
        marks = {fingerprint(array, "zyx") for array in [data, *others]}
        assert len(marks) == 5

    def test_it_reads_little(self) -> None:
        class Counting:
            shape = (10, 20, 30000, 40000)
            dtype = np.dtype(np.float64)
            read = 0

            def __getitem__(self, key: Any) -> Any:
                size = [s.stop - s.start for s in key if isinstance(s, slice)]
                self.read += 8 * int(np.prod(size))
                return np.zeros(size)

        data = Counting()
        fingerprint(data, "tzyx")
        assert 0 < data.read <= 10**6

    def test_colours_and_tiny_images_have_one(self) -> None:
        assert fingerprint(pixels(1, 1), "yx") != fingerprint(pixels(1, 1) + 1, "yx")
        colours = pixels(9, 9, 3)
        mark = fingerprint(colours, "yxc")
        colours[4, 4, 1] += 1
        assert fingerprint(colours, "yxc") != mark


class TestFindProjects:
    """What is offered for restoring."""

    def make(self, root: Path, mark: str = "mark", painted: int = 2) -> ProjectStore:
        store = ProjectStore.create(root, "work")
        image = ProjectImage(
            id="a",
            name="a",
            sources=(ImageSource(),),
            axes="zyx",
            shape=(4, 6, 6),
            fingerprint=mark,
        )
        store.update(store.project.with_image(image))
        for z in range(painted):
            values = np.array([[0, 1, 2 + z, 9]])
            store.annotation("a").write(0, z, (slice(0, 1), slice(0, 4)), values)
        store.flush()
        return store

    def test_an_image_is_found_with_what_was_done(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        self.make(tmp_path, "another image")
        (found,) = find_projects(tmp_path, "mark")
        assert (found.folder, found.name, found.image_id) == (
            store.folder,
            "work",
            "a",
        )
        assert (found.slices, found.cells) == (2, 3)  # ids 2, 3 and 9
        assert found.locked
        assert found.modified.tzinfo is not None
        store.close()
        assert not find_projects(tmp_path, "mark")[0].locked

    def test_huge_ids_are_counted_too(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        values = np.array([[2**31 - 1]])
        store.annotation("a").write(0, 3, (slice(5, 6), slice(5, 6)), values)
        (found,) = find_projects(tmp_path, "mark")
        assert (found.slices, found.cells) == (3, 4)

    def test_the_latest_comes_first(self, tmp_path: Path) -> None:
        stores = [self.make(tmp_path) for _ in range(3)]
        for store, time in zip(stores, (2000, 3000, 1000), strict=True):
            store.close()
            for path in store.folder.iterdir():
                if path.is_file():
                    os.utime(path, (time, time))
        found = [project.folder for project in find_projects(tmp_path, "mark")]
        assert found == [stores[i].folder for i in (1, 0, 2)]

    def test_projects_without_annotation_are_not_offered(self, tmp_path: Path) -> None:
        self.make(tmp_path, painted=0)
        erased = self.make(tmp_path, painted=1)
        file = erased.annotation("a")
        file.write(0, 0, (slice(0, 1), slice(0, 4)), np.zeros((1, 4), int))
        erased.close()
        assert find_projects(tmp_path, "mark") == []

    def test_what_cannot_be_read_is_passed_over(self, tmp_path: Path) -> None:
        good = self.make(tmp_path)
        for number, text in enumerate(["", "{}", '{"project": {"version": 9}}']):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "project.json").write_text(text)
        torn = self.make(tmp_path)
        torn.close()
        (torn.folder / "annotation-a.raw").write_bytes(b"short")
        assert [p.folder for p in find_projects(tmp_path, "mark")] == [good.folder]

    @pytest.mark.parametrize(
        "places",
        [
            "+ 0 99\nh 7\n",
            "+ 0 -9\nh -5\n",
            "h\n",
            "h 1099511627776\n",
            "spam\n+ 0\n+\n\nh 7\n",
            "+ 0 1\nh 7\nh+ 0 1\n",
        ],
    )
    def test_a_log_of_planes_that_is_damaged_hides_nothing(
        self, places: str, tmp_path: Path
    ) -> None:
        store = self.make(tmp_path)
        store.close()
        log = store.folder / "annotation-a.places"
        log.write_text(f"napari-unet places 1\n{places}")
        (found,) = find_projects(tmp_path, "mark")
        assert (found.slices, found.cells) == (2, 3)

    @pytest.mark.parametrize(
        "change",
        [
            {"shape": [10**12] * 3},
            {"shape": [2**31 - 1] * 3},
            {"shape": [4, 6, 7]},
            {"axes": "zyyx"},
            {"axes": "zyxx", "shape": [4, 6, 6, 1]},
            {"axes": "zyq"},
            {"shape": [1e300, 6, 6]},
            {"class_of": {"a": "b"}},
            {"id": "../../a"},
            {"sources": []},
        ],
    )
    def test_one_that_is_damaged_keeps_no_other_from_being_found(
        self, change: dict[str, Any], tmp_path: Path
    ) -> None:
        bad, good = self.make(tmp_path), self.make(tmp_path)
        bad.close()
        kept = json.loads((bad.folder / "project.json").read_text())
        kept["project"]["images"][0].update(change)
        (bad.folder / "project.json").write_text(json.dumps(kept))
        self.only(good, bad, tmp_path)

    @pytest.mark.parametrize("what", ["nested", "huge", "bytes", "folder", "short"])
    def test_nor_does_one_that_is_no_record(self, what: str, tmp_path: Path) -> None:
        bad, good = self.make(tmp_path), self.make(tmp_path)
        bad.close()
        path = bad.folder / "project.json"
        if what == "nested":
            path.write_text('{"project":' * 5000 + "1" + "}" * 5000)
        elif what == "huge":
            path.write_bytes(b" " * (2**26 + 1))
        elif what == "bytes":
            path.write_bytes(b"\xff" * 99)
        elif what == "short":
            (bad.folder / "annotation-a.raw").write_bytes(b"short")
        else:
            path.unlink()
            path.mkdir()
        self.only(good, bad, tmp_path)

    @staticmethod
    def only(good: ProjectStore, bad: ProjectStore, root: Path) -> None:
        told: list[str] = []
        found = find_projects(root, "mark", told.append)
        assert [project.folder for project in found] == [good.folder]
        assert len(told) == 1
        assert told[0].startswith(f"{bad.folder}: this project was passed over. ")
        assert told[0].endswith(".")
        assert "\n" not in told[0]
        assert len(told[0]) < 900

    def test_a_folder_that_is_not_there_has_no_projects(self, tmp_path: Path) -> None:
        assert find_projects(tmp_path / "none", "mark") == []
