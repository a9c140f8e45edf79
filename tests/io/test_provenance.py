from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import tifffile

from napari_unet.io import provenance
from napari_unet.io.export import write_labels, write_probabilities
from napari_unet.io.images import read_image
from napari_unet.io.prediction_folder import PredictionFolder, distinct_files
from napari_unet.io.provenance import Provenance, content_stamp, read_provenance

MADE = Provenance(
    "Zellen µm\n<1>.tif",
    "sha256:12",
    "cells.safetensors",
    "34",
    {"threshold": 0.5, "axes": None, "rescale": True},
)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
@pytest.mark.parametrize("most", [3, 300, 70_000])
def test_a_result_tells_what_it_was_made_from(tmp_path, suffix, most):
    labels = np.zeros((2, 5, 6), int)
    labels[1, 2, 3] = most
    path = tmp_path / f"a{suffix}"
    write_labels(path, labels, "zyx", (2.0, 0.5, 0.5), MADE)
    assert read_provenance(path) == MADE
    image = read_image(path)
    np.testing.assert_array_equal(image.data[...], labels)
    assert image.spacing_um == (2.0, 0.5, 0.5)
    moved = path.rename(tmp_path / f"b{suffix}")
    assert read_provenance(moved) == MADE


@pytest.mark.parametrize("most", [300, 70_000])
def test_a_result_that_is_made_again_has_the_same_bytes(tmp_path, most):
    paths = tmp_path / "a.tif", tmp_path / "b" / "a.tif"
    paths[1].parent.mkdir()
    for path in paths:
        write_labels(path, np.full((5, 6), most), "yx", (0.5, 0.5), MADE)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 7), (7, 3), (3, 4)])
@pytest.mark.parametrize("axes", ["cyx", "zcyx"])
def test_a_map_of_any_width_comes_back(tmp_path, suffix, shape, axes):
    shape = (2, *shape) if axes == "cyx" else (3, 2, *shape)
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    path = tmp_path / f"a{suffix}"
    write_probabilities(path, values, axes, made=MADE)
    image = read_image(path)
    order = [image.axes.index(a) for a in axes]
    found = np.asarray(image.data[...]).transpose(order)
    np.testing.assert_array_equal(found, values)
    assert read_provenance(path) == MADE


def test_what_does_not_tell_is_not_ours(tmp_path):
    path = tmp_path / "a.tif"
    assert read_provenance(path) is None
    for data in (b"", b"II*\0garbage", b"text"):
        path.write_bytes(data)
        assert read_provenance(path) is None
    write_labels(path, np.zeros((4, 5), int), "yx")
    assert read_provenance(path) is None
    write_labels(path, np.zeros((4, 5), int), "yx", made=MADE)
    path.write_bytes(path.read_bytes()[:50])
    assert read_provenance(path) is None
    for info in ("by hand", "napari-unet result\n[]", "napari-unet result\n{"):
        tifffile.imwrite(
            path, np.zeros((4, 5), "u1"), imagej=True, metadata={"Info": info}
        )
        assert read_provenance(path) is None
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    for text in ("", "[]", "{}", '{"attributes": {"napari-unet": 3}}', "[" * 100_000):
        (folder / "zarr.json").write_text(text)
        assert read_provenance(folder) is None


def test_what_other_programs_add_to_the_text_does_no_harm(tmp_path):
    info = f"Title: a\n{MADE.text()}\nsaved again"
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((4, 5), "u1"),
        imagej=True,
        metadata={"Info": info},
    )
    assert read_provenance(tmp_path / "a.tif") == MADE


def test_the_stamp_of_a_set_changes_with_each_file(tmp_path):
    planes = "".join(
        f'<TiffData FirstT="{k}"><UUID FileName="{k}.ome.tif">urn:uuid:{k}</UUID>'
        "</TiffData>"
        for k in range(3)
    )
    files = [tmp_path / f"{k}.ome.tif" for k in range(3)]
    for k, file in enumerate(files):
        xml = f"<OME><Image><Pixels>{planes}</Pixels></Image></OME>"
        pixels = np.full((4, 5), k, np.uint8)
        tifffile.imwrite(file, pixels, description=xml, metadata=None)
    stamps = [content_stamp(files[0])]
    for file in files[1:]:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        stamps.append(content_stamp(files[0]))
    files[2].unlink()
    stamps.append(content_stamp(files[0]))
    assert len(set(stamps)) == 4


def test_the_stamp_is_of_the_content(tmp_path):
    file = tmp_path / "a.tif"
    file.write_bytes(b"pixels")
    assert content_stamp(file) == f"sha256:{sha256(b'pixels').hexdigest()}"
    assert content_stamp(tmp_path / "a.tif#2") == content_stamp(file) + "#2"
    other = shutil.copy(file, tmp_path / "b.tif")
    assert content_stamp(other) == content_stamp(file)
    file.write_bytes(b"pixel2")
    assert content_stamp(other) != content_stamp(file)


@pytest.mark.parametrize("most", [10**6, 0])
def test_the_stamp_of_a_folder_changes_with_each_file(tmp_path, most, monkeypatch):
    monkeypatch.setattr(provenance, "_READ_BYTES", most)
    folder = tmp_path / "a.zarr"
    write_labels(folder, np.ones((4, 5), int), "yx")
    before = content_stamp(folder)
    assert content_stamp(folder) == before
    (folder / "0" / "c" / "1").mkdir(parents=True)
    (folder / "0" / "c" / "1" / "0").write_bytes(b"one")
    changed = content_stamp(folder)
    assert changed != before
    (folder / "0" / "c" / "1" / "0").write_bytes(b"four")
    assert content_stamp(folder) not in {before, changed}
    # read, a copy is the same image; else its times tell of another one
    shutil.copytree(folder, tmp_path / "b.zarr", copy_function=shutil.copyfile)
    assert (content_stamp(folder) == content_stamp(tmp_path / "b.zarr")) == (most > 0)


@pytest.mark.parametrize("most", [10**6, 0])
def test_what_a_system_leaves_is_no_content(tmp_path, most, monkeypatch):
    monkeypatch.setattr(provenance, "_READ_BYTES", most)
    folder = tmp_path / "a.zarr"
    write_labels(folder, np.ones((4, 5), int), "yx")
    (folder / ".zattrs").write_text("{}")
    before = content_stamp(folder)
    for seen in (folder, folder / "0", folder / "0" / "c"):
        for name in (".DS_Store", "._zarr.json", "Thumbs.db", "desktop.ini"):
            (seen / name).write_bytes(b"system")
        (seen / "@eaDir").mkdir()
        (seen / "@eaDir" / "thumbnail.jpg").write_bytes(b"system")
    assert content_stamp(folder) == before
    (folder / ".zattrs").write_text("[]")
    assert content_stamp(folder) != before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"input": "other.tif", "program": "napari-unet 99"}, None),
        ({"model": "renamed.safetensors"}, None),
        ({"stamp": "sha256:13"}, "of another image, or of this one before"),
        (
            {"model_sha256": "35"},
            "of another model of the same name, cells.safetensors",
        ),
        ({"model_sha256": "35", "model": "b.safetensors"}, "of b.safetensors"),
        (
            {"settings": {"threshold": 0.7, "axes": "tyx", "rescale": True}},
            "of other settings: threshold 0.7 instead of 0.5, axes tyx instead of None",
        ),
        (
            {"settings": {"threshold": 0.5, "axes": None}},
            "of other settings: rescale as usual instead of True",
        ),
    ],
)
def test_a_result_is_missing_unless_it_is_the_one_that_is_wanted(
    tmp_path, change, sentence
):
    folder = PredictionFolder(tmp_path, ("classes", "instances"))
    file = tmp_path / "img.tif"
    assert folder.missing(file, MADE) == ("classes", "instances")
    there = replace(MADE, **change)
    target = folder.ready_target(file, "instances")
    write_labels(target, np.zeros((4, 5), int), "yx", made=there)
    assert folder.missing(file, MADE, overwrite=True) == ("classes", "instances")
    if sentence is None:
        assert folder.missing(file, MADE) == ("classes",)
        return
    with pytest.raises(FileExistsError) as told:
        folder.missing(file, MADE)
    assert f"{target}: is there already and is a result {sentence}" in str(told.value)
    assert str(told.value).endswith("; use another folder or --overwrite.")


def a_file(path):
    tifffile.imwrite(path.with_suffix(".tif"), np.zeros((4, 5), "u1"))


def a_folder(path):
    path.with_suffix(".tif").mkdir()


def a_link(path):
    path.with_suffix(".tif").symlink_to(path / "nowhere")


no_links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


@pytest.mark.parametrize(
    "make", [a_file, a_folder, pytest.param(a_link, marks=no_links)]
)
def test_what_we_did_not_make_is_not_overwritten(tmp_path, make):
    folder = PredictionFolder(tmp_path, ("instances",))
    make(folder.ready_target(tmp_path / "img.tif", "instances"))
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="does not tell that napari-unet"):
            folder.missing(tmp_path / "img.tif", MADE, overwrite=overwrite)


@pytest.mark.parametrize("text", ["", "[1]", '{"model": "x"}', "[" * 100_000])
def test_a_record_that_is_not_ours_stays(tmp_path, text):
    record = tmp_path / "prediction.json"
    folder = PredictionFolder(tmp_path)
    run = {"model": "a", "sha256": "b", "prediction": {}}
    record.write_text(text)
    folder.note(run)
    assert record.read_text() == text
    record.unlink()
    folder.note(run)
    folder.note({**run, "model": "c"})
    assert json.loads(record.read_text())["model"] == "c"


def test_an_image_named_twice_is_one_and_two_of_one_name_are_refused(
    tmp_path, monkeypatch
):
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "img.tif").write_text(day)
    monkeypatch.chdir(tmp_path / "day1")
    file, other = tmp_path / "day1" / "img.tif", tmp_path / "day2" / "img.tif"
    same = [
        file,
        file.relative_to(tmp_path / "day1"),
        tmp_path / "day2/../day1/img.tif",
    ]
    assert distinct_files(same) == [file]
    parts = [tmp_path / "day1" / f"img.tif#{n}" for n in (1, 2)]
    assert distinct_files([*parts, *parts]) == parts
    with pytest.raises(ValueError, match="have the same name, 'img'") as told:
        distinct_files([file, other])
    assert str(file) in str(told.value)
    assert str(other) in str(told.value)


def test_outputs_never_lie_on_inputs(tmp_path):
    images = tmp_path / "instances"
    images.mkdir()
    for name in ("a.tif", "b.png"):
        (images / name).write_text("pixels")
    files = [images / "a.tif", images / "b.png"]
    with pytest.raises(ValueError, match="would be replaced"):
        PredictionFolder(tmp_path, ("instances",)).check_targets(files)
    PredictionFolder(tmp_path, ("classes",)).check_targets(files)
    write_labels(tmp_path / "c.zarr", np.zeros((4, 5), int), "yx")
    with pytest.raises(ValueError, match="lies in what is read"):
        PredictionFolder(tmp_path / "c.zarr" / "out").check_targets(
            [tmp_path / "c.zarr"]
        )
    # nor in an image that is not read
    with pytest.raises(ValueError, match=r"out: lies in the OME-Zarr .*c\.zarr"):
        PredictionFolder(tmp_path / "c.zarr" / "out").check_targets(files)


def test_results_are_told_apart_from_images(tmp_path):
    out, labels = tmp_path / "out", np.ones((4, 5), int)
    folder = PredictionFolder(out, ("instances",))
    made = [out / "instances" / "a.tif", out / "classes" / "c.zarr"]
    for path in made:
        path.parent.mkdir(parents=True)
        write_labels(path, labels, "yx", made=MADE)
    with folder.placed(tmp_path / "a.tif", "ctc", MADE) as path:
        path.mkdir()
        write_labels(path / "mask000.tif", labels, "yx")
    made += [out / "ctc" / "a_RES" / "mask000.tif", out / "classes" / "c.zarr" / "0"]
    # folders of people may have the names of kinds
    below = ("b.tif", "image/b.tif", "classes/b.tif", "ctc/b.tif", "points/b.tif")
    images = [tmp_path / "a.tif", *(out / name for name in below)]
    for path in images:
        path.parent.mkdir(exist_ok=True)
        write_labels(path, labels, "yx")
    assert folder.without_results([*made, *images]) == images


@pytest.mark.parametrize(
    ("name", "kinds", "refused"),
    [
        ("instances", ("instances",), True),
        ("instances", ("classes",), False),
        ("unfinished", ("classes",), True),
        ("made", ("geojson",), True),
        ("made", ("classes",), False),
        ("made/geojson", ("instances", "geojson"), True),
    ],
)
def test_a_file_in_place_of_a_folder_is_told_before_anything_is_computed(
    tmp_path, name, kinds, refused
):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    folder = PredictionFolder(tmp_path, kinds)
    if not refused:
        folder.check_targets([tmp_path / "a.tif"])
        return
    with pytest.raises(FileExistsError, match=f"{name}: is a file, and a folder"):
        folder.check_targets([tmp_path / "a.tif"])
