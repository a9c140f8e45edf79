"""Arrays lie where another process reads them, copied only where they must be."""

from __future__ import annotations

import errno
import gc
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_unet.session.future import Future
from napari_unet.session.images import shared_arrays as module
from napari_unet.session.images.shared_arrays import SharedArrays
from waiting import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.session.conftest import Pump


@pytest.fixture
def sharing(tmp_path: Path, pump: Pump) -> Iterator[SharedArrays]:
    sharing = SharedArrays(tmp_path / "scratch", pump.post)
    yield sharing
    sharing.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one byte be too much to be copied at once."""
    monkeypatch.setattr(module, "_AT_ONCE", 0)


def numbers(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.arange(1, np.prod(shape) + 1).astype(dtype).reshape(shape)


def files_in(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "scratch").glob("*"))


def test_an_array_in_memory_is_copied_when_it_is_needed(
    sharing: SharedArrays, tmp_path: Path
) -> None:
    array = numbers(4, 5)
    stored = sharing.share(array)
    assert (stored.kind, stored.shape, stored.dtype) == ("raw", (4, 5), "uint16")
    assert stored.open().max() == 0
    assert sharing.ensure(array, "yx").done
    assert stored.open().tolist() == array.tolist()
    assert sharing.share(array) == stored
    assert files_in(tmp_path) == [Path(stored.path)]


@pytest.mark.parametrize("axes", ["tczyx", "ctzyx", "tzcyx", "tzyxc", "zctyx"])
def test_only_the_planes_asked_for_are_copied_with_all_channels(
    sharing: SharedArrays, axes: str
) -> None:
    sizes = dict(zip("tczyx", (2, 2, 3, 4, 5), strict=True))
    array = numbers(*(sizes[a] for a in axes))
    stored = sharing.share(array)
    sharing.ensure(array, axes, [(1, 2)])
    copied = np.moveaxis(stored.open(), [axes.index("t"), axes.index("z")], [0, 1])
    wanted = np.moveaxis(array, [axes.index("t"), axes.index("z")], [0, 1])
    assert copied[1, 2].tolist() == wanted[1, 2].tolist()
    copied = copied.copy()
    copied[1, 2] = 0
    assert copied.max() == 0
    sharing.ensure(array, axes, [(0, None)])
    assert (stored.open() > 0).sum() == (1 + 3) * 2 * 20
    sharing.ensure(array, axes)
    assert stored.open().tolist() == array.tolist()


def test_planes_across_the_order_of_the_file_are_copied(
    sharing: SharedArrays,
) -> None:
    array = numbers(4, 5, 3)
    stored = sharing.share(array)
    sharing.ensure(array, "yxz", [(0, 1)])
    assert stored.open()[..., 1].tolist() == array[..., 1].tolist()


def test_a_view_is_copied_in_its_own_order(sharing: SharedArrays) -> None:
    array = numbers(6, 8)[::2, ::-1].T
    stored = sharing.share(array)
    sharing.ensure(array, "yx")
    assert stored.open().tolist() == array.tolist()


def test_the_order_of_bytes_is_kept(sharing: SharedArrays) -> None:
    array = numbers(4, 5, dtype=">u2")
    stored = sharing.share(array)
    sharing.ensure(array, "yx")
    assert stored.open().tolist() == array.tolist()


def test_a_plane_is_copied_once_until_its_array_changes(sharing: SharedArrays) -> None:
    array = numbers(2, 4, 5)
    stored = sharing.share(array)
    sharing.ensure(array, "zyx", [(0, 1)])
    before = array.copy()
    array[:] = 7
    sharing.ensure(array, "zyx", [(0, 1)])
    assert stored.open()[1].tolist() == before[1].tolist()
    sharing.changed(array)
    sharing.ensure(array, "zyx", [(0, 1)])
    assert stored.open().tolist() == [np.zeros((4, 5)).tolist(), array[1].tolist()]


def test_arrays_that_were_never_shared_may_change(sharing: SharedArrays) -> None:
    sharing.changed(numbers(4, 5))


def test_a_memory_map_is_read_from_its_own_file(
    sharing: SharedArrays, tmp_path: Path
) -> None:
    numbers(3, 4, 5).tofile(tmp_path / "image.raw")
    whole = np.memmap(tmp_path / "image.raw", np.uint16, "r", 40, (2, 4, 5))
    for array in (whole, np.asarray(whole), whole[1], np.asarray(whole)[1, 2:]):
        stored = sharing.share(array)
        assert Path(stored.path) == tmp_path / "image.raw"
        assert stored.open().tolist() == array.tolist()
        assert sharing.ensure(array, "zyx"[-array.ndim :]).done
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("how", ["strided", "private", "gone", "short"])
def test_a_memory_map_that_another_process_cannot_read_is_copied(
    sharing: SharedArrays, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "image.raw"
    numbers(4, 5).tofile(path)
    array: np.ndarray = np.memmap(
        path, np.uint16, "c" if how == "private" else "r+", 0, (4, 5)
    )
    if how == "strided":
        array = array[:, ::2]
    elif how == "gone":
        path.unlink()
    elif how == "short":
        path.unlink()
        path.write_bytes(b"ab")
    stored = sharing.share(array)
    sharing.ensure(array, "yx")
    assert Path(stored.path).parent == tmp_path / "scratch"
    assert stored.open().tolist() == array.tolist()


def test_a_local_zarr_array_is_read_from_where_it_is(
    sharing: SharedArrays, tmp_path: Path
) -> None:
    group = zarr.open_group(tmp_path / "image.zarr", mode="w")
    inner = group.create_array("s0/pixels", shape=(2, 4, 5), dtype="uint16")
    outer = zarr.open_array(tmp_path / "plain.zarr", mode="w", shape=(3, 4), dtype="u1")
    inner[:] = numbers(2, 4, 5)
    outer[:] = numbers(3, 4)
    for array, axes in ((inner, "zyx"), (outer, "yx")):
        stored = sharing.share(array)
        assert (stored.kind, stored.shape) == ("zarr", array.shape)
        assert stored.open()[:].tolist() == array[:].tolist()
        assert sharing.ensure(array, axes).done
    assert files_in(tmp_path) == []


def test_a_zarr_array_in_memory_is_copied(sharing: SharedArrays, pump: Pump) -> None:
    array = zarr.create_array({}, shape=(4, 5), dtype="uint16")
    array[:] = numbers(4, 5)
    stored = sharing.share(array)
    ready = sharing.ensure(array, "yx")
    pump.until(lambda: ready.done)
    assert stored.open().tolist() == numbers(4, 5).tolist()


def test_only_the_planes_asked_for_of_a_lazy_array_are_computed(
    sharing: SharedArrays, pump: Pump
) -> None:
    computed = []

    def plane(block_info: Any = None) -> np.ndarray:
        computed.append(block_info[None]["chunk-location"][0])
        return np.full((1, 4, 5), 7, np.uint16)

    array = da.map_blocks(plane, chunks=((1, 1, 1), (4,), (5,)), dtype=np.uint16)
    computed.clear()
    stored = sharing.share(array)
    main = threading.current_thread()
    called: list[bool] = []
    ready = sharing.ensure(array, "zyx", [(0, 2), (0, 1)])
    assert not ready.done
    ready.then(lambda: called.append(threading.current_thread() is main))
    pump.until(lambda: called)
    assert called == [True]
    assert sorted(computed) == [1, 2]
    assert (stored.open() == 7).all(axis=(1, 2)).tolist() == [False, True, True]


def test_much_is_copied_in_the_background_and_a_plane_is_not_copied_twice(
    sharing: SharedArrays, pump: Pump, small: None
) -> None:
    array = numbers(3, 4, 5)
    stored = sharing.share(array)
    first, second = sharing.ensure(array, "zyx"), sharing.ensure(array, "zyx", [(0, 1)])
    pump.until(lambda: first.done and second.done)
    assert stored.open().tolist() == array.tolist()
    assert sharing.ensure(array, "zyx", [(0, 2)]).done


def test_what_is_asked_for_last_is_copied_first(
    sharing: SharedArrays, pump: Pump
) -> None:
    order: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    class Lazy:
        shape, dtype = (4, 2, 2), np.dtype("u1")

        def __getitem__(self, key: Any) -> np.ndarray:
            order.append(key[0])
            begun.set()
            go_on.wait(DEADLINE)
            return np.ones((2, 2), np.uint8)

    array = Lazy()
    first = sharing.ensure(array, "zyx")
    assert begun.wait(DEADLINE)
    second = sharing.ensure(array, "zyx", [(0, 3)])
    go_on.set()
    pump.until(lambda: first.done and second.done)
    assert order == [0, 3, 1, 2]


def test_pixels_that_change_while_they_are_copied_are_copied_again(
    sharing: SharedArrays, pump: Pump
) -> None:
    class Lazy:
        shape, dtype = (2, 2), np.dtype("u1")

        def __getitem__(self, key: Any) -> np.ndarray:
            sharing.changed(self)
            return np.full((2, 2), 1, np.uint8)

    array = Lazy()
    ready = sharing.ensure(array, "yx")
    pump.until(lambda: ready.done)
    assert not sharing.ensure(array, "yx").done


def test_one_who_asks_after_the_end_is_called_soon_but_not_at_once(
    sharing: SharedArrays, pump: Pump
) -> None:
    called: list[int] = []
    ready = sharing.ensure(numbers(4, 5), "yx")
    ready.then(lambda: called.append(1))
    ready.then(lambda: called.append(2))
    assert called == []
    pump.until(lambda: len(called) == 2)
    assert called == [1, 2]


def test_a_plane_that_takes_longer_to_copy_does_not_delay_the_gui(
    sharing: SharedArrays, pump: Pump
) -> None:
    array = np.ones((2048, 2048), np.uint16)
    stored = sharing.share(array)
    ready = sharing.ensure(array, "yx")
    assert not ready.done
    pump.until(lambda: ready.done)
    assert stored.open().min() == 1


@pytest.mark.parametrize("at_once", [2**20, 0])
def test_a_full_disk_is_told_in_a_sentence(
    sharing: SharedArrays, pump: Pump, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    array = numbers(4, 5)
    sharing.share(array)
    heard: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        ready = sharing.ensure(array, "yx")
        ready.then(lambda: pytest.fail("not all is copied"), heard.append)
        pump.until(lambda: heard)
    assert heard == [ready.failed]
    assert ready.failed == (
        "The image could not be copied for the worker: No space left on device."
    )
    assert not ready.done
    # With space again it works.
    again = sharing.ensure(array, "yx")
    pump.until(lambda: again.done)


def test_an_array_that_cannot_be_read_is_told_in_a_sentence(
    sharing: SharedArrays, pump: Pump
) -> None:
    class Broken:
        shape, dtype = (2, 2), np.dtype("u1")

        def __getitem__(self, key: Any) -> np.ndarray:
            raise ValueError("bad chunk.")

    ready = sharing.ensure(Broken(), "yx")
    pump.until(lambda: ready.failed)
    assert ready.failed == "The image could not be read: bad chunk."


def test_a_scratch_file_that_cannot_be_made_is_told_in_a_sentence(
    pump: Pump, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    sharing = SharedArrays(tmp_path / "file", pump.post)
    heard: list[str] = []
    ready = sharing.ensure(numbers(4, 5), "yx")
    ready.then(lambda: pytest.fail("nothing is copied"), heard.append)
    pump.until(lambda: heard)
    assert heard == ["The image could not be copied for the worker: File exists."]


def test_the_file_of_an_array_that_nobody_has_is_removed(
    sharing: SharedArrays, tmp_path: Path
) -> None:
    array = numbers(4, 5)
    path = Path(sharing.share(array).path)
    assert path.exists()
    del array
    gc.collect()
    assert not path.exists()


def test_closing_removes_scratch_files_and_no_others(
    tmp_path: Path, pump: Pump
) -> None:
    sharing = SharedArrays(tmp_path / "scratch", pump.post)
    numbers(4, 5).tofile(tmp_path / "image.raw")
    mapped = np.memmap(tmp_path / "image.raw", np.uint16, "r", 0, (4, 5))
    array = numbers(4, 5)
    sharing.share(mapped)
    sharing.ensure(array, "yx")
    sharing.close()
    assert files_in(tmp_path) == []
    assert (tmp_path / "image.raw").exists()


def test_closing_stops_a_long_copy(tmp_path: Path, pump: Pump) -> None:
    sharing = SharedArrays(tmp_path / "scratch", pump.post)
    begun, go_on = threading.Event(), threading.Event()
    read: list[int] = []

    class Lazy:
        shape, dtype = (9, 2, 2), np.dtype("u1")

        def __getitem__(self, key: Any) -> np.ndarray:
            read.append(key[0])
            begun.set()
            go_on.wait(DEADLINE)
            return np.ones((2, 2), np.uint8)

    ready = sharing.ensure(Lazy(), "zyx")
    assert begun.wait(DEADLINE)

    def let_go() -> None:
        until(lambda: sharing._copier._closed)
        go_on.set()

    threading.Thread(target=let_go).start()
    sharing.close()
    assert read == [0]
    assert not ready.done


def test_a_future_calls_back_in_order_when_it_finishes(pump: Pump) -> None:
    called: list[str] = []
    ready = Future(pump.post)
    ready.then(lambda: called.append("done"))
    ready.then(lambda: called.append("done too"), called.append)
    ready.finish()
    assert called == ["done", "done too"]
    ready.finish("too late")
    assert called == ["done", "done too"]
