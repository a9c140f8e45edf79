"""Which label file goes with which image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.pairing import pair_files
from napari_unet.io.export import write_weights
from napari_unet.io.ome_zarr import create_zarr

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, names: str) -> Path:
    """Write files; their content does not matter here."""
    for name in names.split():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return folder


def paired(folder: Path, images: str, labels: str, **how: str) -> dict[str, str]:
    """Pair what lies in two folders; return the image of each label."""
    left, right = put(folder / "images", images), put(folder / "labels", labels)
    found = pair_files([left], [right], **how)
    return {str(b.relative_to(right)): str(a.relative_to(left)) for a, b in found.pairs}


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("a.tif", "a.tif"),
        ("a.tif", "a.png"),
        ("a.ome.tif", "a.tif"),
        ("a.tif", "a.ome.tiff"),
        ("a.b.tif", "a.b.tif"),
        ("a.tif", "a_mask.tif"),
        ("a.tif", "a_cp_masks.png"),
        ("a.ome.tif", "a_labels.ome.tif"),
        ("a.tif", "a-seg.tif"),
        ("a.tif", "a.mask.tif"),
        ("a.tif", "a Simple Segmentation.tif"),
        ("a.tif", "a_nuclei.tif"),
        ("a.tif", "mask_a.tif"),
        ("a.tif", "A_Mask.tif"),
        ("img_1.tif", "mask_1.tif"),
        ("img_1.tif", "lab_1.tif"),
        ("image1.tif", "label1.tif"),
        ("1135_raw.tif", "1135_label.tif"),
        ("pos3_img_1.tif", "gt_pos3_1.tif"),
        ("t007.tif", "man_seg007.tif"),
        ("t007.tif", "mask007.tif"),
        ("t007.tif", "man_track007.tif"),
        ("img_01.tif", "mask_1.tif"),
        ("7.tif", "0007.tif"),
        ("imgA.tif", "maskA.tif"),
        ("drug+.tif", "mask_drug+.tif"),
        ("img DAPI+GFP 1.tif", "mask DAPI+GFP 1.tif"),
        ("Größe 1.tif", "Gro\u0308ße 1_mask.tif"),
    ],
)
def test_names_that_belong_together(tmp_path: Path, image: str, label: str) -> None:
    left, right = tmp_path / "images", tmp_path / "labels"
    for folder, name in ((left, image), (right, label)):
        folder.mkdir()
        (folder / name).write_bytes(b"")
    # another image, so that it is not found for want of a choice
    (left / "other_99.tif").write_bytes(b"")
    found = pair_files([left], [right])
    assert found.pairs == ((left / image, right / label),)
    assert found.alone == (left / "other_99.tif",)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("img_1.tif", "img_2_mask.tif"),
        ("img_1.tif", "img_10_mask.tif"),
        ("img_10.tif", "img_1_mask.tif"),
        ("img_1.tif", "img_1_2_mask.tif"),  # of the image img_1_2
        ("img_1.tif", "2_img_1.tif"),
        ("cellA_1.tif", "cellB_1.tif"),  # a number alone tells nothing
        ("t007.tif", "man_seg_007_012.tif"),
        ("image.tif", "mask.tif"),
        ("ab.tif", "abmask.tif"),
        ("drug+.tif", "mask_drug-.tif"),
        ("drug-.tif", "mask_drug+.tif"),
    ],
)
def test_names_that_do_not_belong_together(
    tmp_path: Path, image: str, label: str
) -> None:
    message = re.escape(f"without a partner: {label}; found {image}")
    with pytest.raises(ValueError, match=message):
        paired(tmp_path, image, label)


def test_the_longest_name_is_the_image_s(tmp_path: Path) -> None:
    assert paired(
        tmp_path,
        "img.tif img_a.tif img_1.tif img_10.tif",
        "img_a_mask.tif img_mask.tif",
    ) == {"img_a_mask.tif": "img_a.tif", "img_mask.tif": "img.tif"}
    assert paired(tmp_path / "b", "img_1.tif img_10.tif", "img_10_mask.tif") == {
        "img_10_mask.tif": "img_10.tif"
    }


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ("a.tif a.png", "a.tif", r"^a\.tif: may belong to a\.png or a\.tif"),
        ("a.tif a.png b.tif", "a_mask.tif", r"^a_mask\.tif: may belong to a\.png or"),
        (
            "img_1.tif raw_1.tif",
            "mask_1.tif",
            r"may belong to img_1\.tif or raw_1\.tif",
        ),
        ("a.tif b.tif", "a_b.tif", r"^a_b\.tif: may belong to a\.tif or b\.tif"),
        ("a.tif", "a_mask.tif a_seg.tif", r"^a\.tif: has two label files, a_mask\.tif"),
        ("a.tif", "a.tif a_mask.tif", r"has two label files, a\.tif and a_mask\.tif"),
        ("img_001.tif img_01.tif", "mask_1.tif", r"belong to img_001\.tif or img_01"),
        (
            "a.tif b.tif",
            "b.tif c.tif d.tif",
            "2 of 3 label files.*: c.tif, d.tif; found",
        ),
    ],
)
def test_what_may_be_meant_in_two_ways_is_refused(
    tmp_path: Path, images: str, labels: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired(tmp_path, images, labels)


def test_order_has_to_be_asked_for(tmp_path: Path) -> None:
    images, labels = "a2.tif a10.tif", "x.tif y.tif"
    with pytest.raises(ValueError, match="--pair-by order"):
        paired(tmp_path, images, labels)
    assert paired(tmp_path, "", "", by="order") == {
        "x.tif": "a2.tif",
        "y.tif": "a10.tif",
    }
    with pytest.raises(ValueError, match="as many files of both, found 3 and 2"):
        paired(tmp_path, "a3.tif", "", by="order")


PATTERNS = [
    ("images/*/scan.tif", "labels/*/scan.tif", "images/{}/scan.tif labels/{}/scan.tif"),
    ("images/*/*.tif", "labels/*/*.tif", "images/{}/s1.tif labels/{}/s1_mask.tif"),
    ("d/*/image.tif", "d/*/mask.tif", "d/{}/image.tif d/{}/mask.tif"),
    ("d/*/raw.tif", "d/*/cells.tif", "d/{}/raw.tif d/{}/cells.tif"),
    ("d/*/i/*.tif", "d/*/m/*.tif", "d/{}/i/x.tif d/{}/m/x.tif"),
    ("d/**/i/*.tif", "d/**/m/*.tif", "d/u/{}/i/x.tif d/u/{}/m/x.tif"),
    ("i/**/*.tif", "l/**/*.tif", "i/{}/x.tif l/{}/x.tif"),
    ("images/*/scan.tif", "flat", "images/{}/scan.tif flat/{}_scan_mask.tif"),
    ("*/t*.tif", "*_GT/SEG/man_seg*.tif", "{}/t000.tif {}_GT/SEG/man_seg000.tif"),
    ("*_img.tif", "*_lab.tif", "{}_img.tif {}_lab.tif"),
]


@pytest.mark.parametrize(("images", "labels", "files"), PATTERNS)
def test_folders_tell_files_of_one_name_apart(
    tmp_path: Path, images: str, labels: str, files: str
) -> None:
    for folder in ("B", "A7"):
        put(tmp_path, files.format(folder, folder))
    put(tmp_path, files.format("C", "C").split()[0])
    found = pair_files([f"{tmp_path}/{images}"], [f"{tmp_path}/{labels}"])
    expected = {
        tuple(tmp_path / name for name in files.format(folder, folder).split())
        for folder in ("A7", "B")
    }
    assert set(found.pairs) == expected
    assert [str(f.relative_to(tmp_path)) for f in found.alone] == [
        files.format("C", "C").split()[0]
    ]


def test_a_pattern_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "i/A/s.tif i/B/s.tif l/B/s.tif")
    monkeypatch.chdir(tmp_path)
    ((image, label),) = pair_files(["./i/*/s.tif"], ["l/*/s.tif"]).pairs
    assert (str(image), str(label)) == ("i/B/s.tif", "l/B/s.tif")


def test_one_name_in_two_folders_is_no_name(tmp_path: Path) -> None:
    put(tmp_path, "i/A/s.tif i/B/s.tif l/s.tif")
    with pytest.raises(ValueError, match="without a partner"):
        pair_files([f"{tmp_path}/i/*/s.tif"], [tmp_path / "l"])


def test_masks_beside_the_images_are_no_images(tmp_path: Path) -> None:
    put(tmp_path, "a.tif a_masks.tif b.tif b_masks.tif c.tif")
    found = pair_files([tmp_path], [f"{tmp_path}/*_masks.tif"])
    assert [(a.name, b.name) for a, b in found.pairs] == [
        ("a.tif", "a_masks.tif"),
        ("b.tif", "b_masks.tif"),
    ]
    assert [f.name for f in found.alone] == ["c.tif"]


def test_two_files_that_are_named_are_a_pair(tmp_path: Path) -> None:
    put(tmp_path, "i/day1.tif l/cells.tif l/more.tif")
    image, label = tmp_path / "i" / "day1.tif", tmp_path / "l" / "cells.tif"
    assert pair_files([image], [label]).pairs == ((image, label),)
    # but not what happens to be alone in its folder
    with pytest.raises(ValueError, match="without a partner"):
        pair_files([tmp_path / "i"], [label])
    with pytest.raises(ValueError, match="without a partner"):
        pair_files([image], [label, tmp_path / "l" / "more.tif"])


def test_named_files_of_several_folders_are_told_apart_by_these(tmp_path: Path) -> None:
    put(tmp_path, "i/A/s.tif i/B/s.tif l/A/s.tif l/B/s.tif")
    labels = [tmp_path / "l" / folder / "s.tif" for folder in "BA"]
    found = pair_files([f"{tmp_path}/i/*/s.tif"], labels)
    assert [a.parent.name for a, _ in found.pairs] == ["B", "A"]


def test_images_of_zarr_go_with_tiffs(tmp_path: Path) -> None:
    plane = np.zeros((4, 4), np.float32)
    (tmp_path / "i").mkdir()
    (tmp_path / "l").mkdir()
    write_weights(tmp_path / "i" / "a.ome.zarr", plane, "yx")
    tifffile.imwrite(tmp_path / "l" / "a_mask.tif", plane)
    ((image, _),) = pair_files([tmp_path / "i"], [tmp_path / "l"]).pairs
    assert image.name == "a.ome.zarr"


def test_pairs_are_told(tmp_path: Path) -> None:
    names = [f"{n}.tif" for n in range(7)]
    left = put(tmp_path / "i", " ".join(names))
    right = put(tmp_path / "l", " ".join(names[:5]))
    found = pair_files([left], [right])
    assert found.sentence == (
        "5 pairs: 0.tif with 0.tif, 1.tif with 1.tif, 2.tif with 2.tif and 2 more; "
        "2 without labels left out: 5.tif, 6.tif."
    )
    assert found.record("image", "labels")[4] == {
        "image": str(left / "4.tif"),
        "labels": str(right / "4.tif"),
    }
    assert set(found.files) == {
        *(left / n for n in names),
        *(right / n for n in names[:5]),
    }
    assert pair_files([left / "0.tif"], [right / "1.tif"]).sentence == (
        "1 pair: 0.tif with 1.tif."
    )


def test_folders_that_two_systems_wrote_are_one(tmp_path: Path) -> None:
    """macOS takes é apart, others do not."""
    put(tmp_path, "images/pre\u0301/1.tif images/apre\u0300s/1.tif")
    put(tmp_path, "labels/pr\u00e9/1.tif labels/apr\u00e8s/1.tif")
    found = pair_files([f"{tmp_path}/images/**"], [f"{tmp_path}/labels/**"])
    assert {(a.parent.name, b.parent.name) for a, b in found.pairs} == {
        ("pre\u0301", "pr\u00e9"),
        ("apre\u0300s", "apr\u00e8s"),
    }


def test_files_may_be_compared_with_themselves(tmp_path: Path) -> None:
    put(tmp_path, "a.tif b.tif")
    found = pair_files([tmp_path], [tmp_path])
    assert [a.name for a, b in found.pairs if a == b] == ["a.tif", "b.tif"]


def test_folders_that_are_there_are_no_part_of_a_pattern(tmp_path: Path) -> None:
    put(tmp_path, "data[a]/x.tif data[a]/y.tif masks/x.tif masks/y.tif")
    found = pair_files([f"{tmp_path}/data[a]/*.tif"], [f"{tmp_path}/masks/*.tif"])
    assert [a.name for a, _ in found.pairs] == ["x.tif", "y.tif"]
    # one image in a file whose name has brackets is named itself
    put(tmp_path, "i[1].tif l.tif")
    image, label = tmp_path / "i[1].tif#1", tmp_path / "l.tif"
    assert pair_files([image], [label]).pairs == ((image, label),)


def test_all_images_of_two_files_that_are_named_are_pairs(tmp_path: Path) -> None:
    for name in ("scan.tif", "cells.tif"):
        with tifffile.TiffWriter(tmp_path / name) as file:
            for width in (4, 5):
                file.write(np.zeros((4, width), np.uint8), metadata=None)
    found = pair_files([f"{tmp_path}/scan.tif#*"], [f"{tmp_path}/cells.tif#*"])
    assert [(a.name, b.name) for a, b in found.pairs] == [
        ("scan.tif#1", "cells.tif#1"),
        ("scan.tif#2", "cells.tif#2"),
    ]


@pytest.mark.parametrize("name", ["cells", "0"])
def test_labels_in_an_ome_zarr_are_called_as_their_image(
    tmp_path: Path, name: str
) -> None:
    for image in ("d1/a_1.zarr", "d2/a_1.zarr", "d2/a_2.zarr"):
        folder = tmp_path / image
        for one in (folder, folder / "labels" / name):
            one.parent.mkdir(parents=True, exist_ok=True)
            with create_zarr(one, (4, 4), "yx", np.uint8):
                pass
    found = pair_files([f"{tmp_path}/*/*.zarr"], [f"{tmp_path}/*/*.zarr/labels/{name}"])
    assert len(found.pairs) == 3
    assert all(b == a / "labels" / name for a, b in found.pairs)
    # a field, or labels, may be named itself
    image, labels = found.pairs[0]
    assert pair_files([image], [labels]).pairs == ((image, labels),)


def test_files_of_two_folders_are_told_apart_in_messages(tmp_path: Path) -> None:
    first, second = (put(tmp_path / name, "a.tif") for name in ("i", "j"))
    labels = put(tmp_path / "l", "a.tif")
    told = rf"a\.tif: may belong to {first / 'a.tif'} or {second / 'a.tif'};"
    with pytest.raises(ValueError, match=told):
        pair_files([first, second], [labels])
