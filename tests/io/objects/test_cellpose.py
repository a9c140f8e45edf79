from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from example_labels import objects_of
from napari_unet.core.images.image import Image
from napari_unet.io.objects import cellpose

MASKS = np.array([[0, 1, 1], [300, 0, 2]], np.uint16)


def seg(folder: Path, masks: np.ndarray) -> Path:
    """Save as Cellpose does."""
    path = folder / "a_seg.npy"
    content = {
        "outlines": masks * 0,
        "masks": masks,
        "flows": [np.zeros((2, 3), np.float32), [1, None]],
        "ismanual": np.zeros(3, bool),
        "chan_choose": [0, 0],
        "filename": "C:\\images\\a.tif",
        "diameter": np.float64(30.0),
        "manual_changes": [["today", "added mask", [1]]],
    }
    np.save(path, content, allow_pickle=True)
    return path


def saved(folder: Path, content: bytes) -> Path:
    """Save bytes where the pickle of an array of one object would be."""
    head = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(head, header)
    path = folder / "a_seg.npy"
    path.write_bytes(head.getvalue() + content)
    return path


@pytest.mark.parametrize(
    "masks", [MASKS, MASKS[None].repeat(2, 0), MASKS.astype("<i4")]
)
def test_the_masks_of_cellposes_window_are_read(
    masks: np.ndarray, tmp_path: Path
) -> None:
    labels = cellpose.read(seg(tmp_path, masks)).labels
    assert labels.data.dtype == masks.dtype
    np.testing.assert_array_equal(labels.data, masks)
    assert labels.axes == "zyx"[-masks.ndim :]


def test_a_stack_is_of_times_where_the_image_is(tmp_path: Path) -> None:
    like = Image(np.zeros((2, 3, 2, 3), np.uint8), "tcyx")
    stack = seg(tmp_path, np.stack([MASKS, MASKS * 2]))
    labels = cellpose.read(stack, like).labels
    assert labels.axes == "tyx"
    assert labels.data[1].tolist() == (MASKS * 2).tolist()


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickles_of_older_numpy_are_read(protocol: int, tmp_path: Path) -> None:
    content = {"masks": MASKS, "diameter": np.float32(3)}
    whole = pickle.dumps(np.array(content, object), protocol=protocol)
    old = b"".join(
        whole[start:stop].replace(b"numpy._core", b"numpy.core")
        if opcode.name == "GLOBAL"
        else whole[start:stop]
        for opcode, start, stop in opcodes(whole)
    )
    # numpy 1 is an older one itself
    assert (old != whole) == (protocol == 3 and np.__version__ >= "2")
    labels = cellpose.read(saved(tmp_path, old)).labels
    np.testing.assert_array_equal(labels.data, MASKS)


def opcodes(content: bytes) -> list[tuple[pickletools.OpcodeInfo, int, int]]:
    found = [(op, at) for op, _, at in pickletools.genops(content)]
    ends = [at for _, at in found[1:]] + [len(content)]
    return [(op, at, end) for (op, at), end in zip(found, ends, strict=True)]


class Runs:
    """Calls what it names when it is loaded."""

    def __init__(self, call: object, *given: object) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call, self.given


@pytest.mark.parametrize(
    "content",
    [
        Runs(Path.touch, Path("ran")),
        {"masks": MASKS, "filename": Runs(print, "ran")},
        {"masks": Runs(eval, "open('ran', 'w')")},
        {"masks": Runs(np.load, "other.npy")},
        {"masks": Runs(np.ndarray, (10**9,), "O")},
    ],
)
def test_nothing_that_a_file_names_is_run(
    content: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, pickle.dumps(content))
    with pytest.raises(
        ValueError, match="cannot be read as masks of Cellpose"
    ) as found:
        cellpose.read(path)
    assert str(found.value).isprintable()
    assert [p.name for p in tmp_path.iterdir()] == ["a_seg.npy"]
    assert not capsys.readouterr().out


class Claims:
    """A dtype of objects that says of itself that it holds none."""

    def __reduce__(self) -> tuple[object, ...]:
        return np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0)


class Restored:
    """An array of objects whose values are bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce__(self) -> tuple[object, ...]:
        make, given, _ = np.empty(0).__reduce__()
        return make, given, (1, (1,), Claims(), False, self.content)


@pytest.mark.parametrize("single", [True, False])
def test_bytes_of_a_file_are_no_addresses_in_memory(
    single: bool, tmp_path: Path
) -> None:
    masks: object = Runs(np.uint8(0).__reduce__()[0], Claims(), b"A" * 8)
    if not single:
        masks = Restored(b"A" * 8)
    whole = pickle.dumps(np.array({"masks": masks}, object), protocol=4)
    with pytest.raises(ValueError, match="OBJECT array from memory"):
        cellpose.read(saved(tmp_path, whole))


def test_sizes_that_are_claimed_take_no_memory(tmp_path: Path) -> None:
    make = np.empty(0).__reduce__()[0]  # numpy's own, which reserves what it is told
    huge = {"masks": Runs(make, np.ndarray, (10**13,), b"b")}
    with pytest.raises(ValueError, match="cannot be read as masks of Cellpose"):
        cellpose.read(saved(tmp_path, pickle.dumps(np.array(huge, object))))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"flows": []}, "there are no masks in it"),
        ([1, 2], "there are no masks in it"),
        ({"masks": MASKS / 2}, "masks of float64 and shape"),
        ({"masks": MASKS[0]}, r"shape \(3,\)"),
        ({"masks": -MASKS.astype(int)}, "masks of int64"),
        ({"masks": "text"}, "masks of <U4"),
        ({"masks": np.zeros((0, 3), int)}, "cannot be read as masks"),
    ],
)
def test_other_content_is_refused_in_a_sentence(
    content: object, found: str, tmp_path: Path
) -> None:
    array = np.empty((), object)
    array[()] = content
    with pytest.raises(ValueError, match=found):
        cellpose.read(saved(tmp_path, pickle.dumps(array)))


def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a_seg.npy"
    with pytest.raises(FileNotFoundError, match="cannot be read, No such file"):
        cellpose.read(path)
    whole = seg(tmp_path, MASKS).read_bytes()
    for end in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="cannot be read as masks of Cellpose"):
            cellpose.read(path)
    np.save(path, MASKS)
    with pytest.raises(ValueError, match="an array of uint16, not Cellpose's"):
        cellpose.read(path)


def test_masks_beside_images_are_read(tmp_path: Path) -> None:
    PIL.Image.fromarray(MASKS).save(tmp_path / "a_cp_masks.png")
    tifffile.imwrite(tmp_path / "a_cp_masks.tif", MASKS)
    for suffix in ("png", "tif"):
        labels = cellpose.read(tmp_path / f"a_cp_masks.{suffix}").labels
        np.testing.assert_array_equal(labels.data, MASKS)


@pytest.mark.parametrize("most", [200, 300, 70_000])
def test_cellposes_own_readers_see_the_ids(most: int, tmp_path: Path) -> None:
    masks = np.minimum(MASKS.astype(int), 200)
    masks[0, 0] = most
    path = tmp_path / "a_cp_masks.tif"
    cellpose.write(path, objects_of(masks, "yx"))
    np.testing.assert_array_equal(tifffile.imread(path), masks)


def test_movies_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are of one time point, found 2"):
        cellpose.write(tmp_path / "a_cp_masks.tif", objects_of(MASKS[:, None], "tyx"))
    assert list(tmp_path.iterdir()) == []
