from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from skimage.measure import points_in_poly

from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image
from napari_unet.io.images import read_labels
from napari_unet.io.objects import imagej_roi
from napari_unet.io.objects.found import SMALLEST
from object_cases import ids, objects, random_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

roifile = pytest.importorskip("roifile")

SAMPLES = Path(__file__).parents[4] / "shared" / "samples" / "formats" / "rois"


def inside(rings: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres an odd number of rings has around it."""
    y, x = np.indices(shape).reshape(2, -1) + 0.5
    found = [points_in_poly(np.stack([x, y], 1), ring) for ring in rings]
    return (np.sum(found, axis=0) % 2 == 1).reshape(shape)


def polygon(*corners: tuple[float, float], **fields: object) -> roifile.ImagejRoi:
    kind = float if fields.pop("exact", False) else int
    roi = roifile.ImagejRoi.frompoints(np.array(corners, kind), name="0001-0002")
    roi.roitype = roifile.ROI_TYPE.POLYGON
    for name, value in fields.items():
        setattr(roi, name, value)
    return roi


SQUARE = ((1, 1), (3, 1), (3, 3), (1, 3))


def zipped(path: Path, *rois: roifile.ImagejRoi) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for number, roi in enumerate(rois):
            file.writestr(f"{number}.roi", roi.tobytes())
    return path


@pytest.mark.parametrize("seed", range(10))
def test_roifile_finds_the_pixels_names_and_places(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.zip"
    axes, labels = random_labels(seed)
    written = objects(axes, labels)
    imagej_roi.write(path, written)
    rois = roifile.roiread(path) if labels.any() else []
    planes = {(p.t, p.z): p.ids for p in written.planes()}
    several = len(planes) > 1
    found = []
    for roi in rois:
        label = int(roi.name.partition("#")[2].partition("-")[0])
        place = (
            max(roi.t_position, roi.position, 1) - 1,
            max(roi.z_position, 1) - 1,
        )
        found.append((*place, label))
        plane = planes[place]
        rings = roi.coordinates(multi=True)
        np.testing.assert_array_equal(inside(rings, plane.shape), plane == label)
        number = place[0] * labels.shape[axes.find("z")] if "z" in axes else place[0]
        behind = f"-{number + place[1] + 1}" if several else ""
        kind = written.class_named(label)
        assert kind is not None
        assert roi.name == f"{kind.name}#{label}{behind}"
        assert roi.group == 1 + label % 2
    assert found == [
        (t, z, label)
        for (t, z), plane in planes.items()
        for label in np.unique(plane[plane > 0]).tolist()
    ]


def test_a_plain_outline_is_what_the_wand_of_imagej_makes(tmp_path: Path) -> None:
    imagej_roi.write(tmp_path / "a.zip", objects("yx", ids("000", "011", "010")))
    (roi,) = roifile.roiread(tmp_path / "a.zip")
    assert roi.roitype == roifile.ROI_TYPE.TRACED
    assert (roi.left, roi.top, roi.right, roi.bottom) == (1, 1, 3, 3)
    assert sorted(roi.coordinates().tolist()) == [
        [1, 1],
        [1, 3],
        [2, 2],
        [2, 3],
        [3, 1],
        [3, 2],
    ]
    assert roi.stroke_color == roifile.ROI_COLOR_NONE
    assert roi.properties == {"class": "Zellen, große", "class_probability": 0.25}


def test_time_points_of_a_hyperstack_are_frames_and_of_a_plain_stack_positions(
    tmp_path: Path,
) -> None:
    labels = Image(np.ones((2, 1, 1), int), "tyx")
    for channels, wanted in ((1, [(1, 0), (2, 0)]), (2, [(0, 1), (0, 2)])):
        imagej_roi.write(tmp_path / "a.zip", Objects(labels, channels=channels))
        rois = roifile.roiread(tmp_path / "a.zip")
        assert [(roi.position, roi.t_position) for roi in rois] == wanted


def test_names_of_classes_lead_to_no_other_place(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    names = ("../../up", "C:\\x", "two\nlines", "😀", "a#3")
    labels = Image(np.arange(1, 6)[np.newaxis], "yx")
    classes = tuple(ObjectClass(name) for name in names)
    imagej_roi.write(path, Objects(labels, classes, {k: k for k in range(1, 6)}))
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == [
            "_.._up#1.roi",
            "C__x#2.roi",
            "two lines#3.roi",
            "_#4.roi",
            "a#3#5.roi",
        ]
        file.extractall(path.parent)
    read = imagej_roi.read(path)
    np.testing.assert_array_equal(read.labels.read(), labels.read())
    found = [kind.name for kind in read.classes]
    assert found == ["../../up", "C:\\x", "two lines", "_", "a#3"]


def test_objects_of_the_plugin_of_fiji_are_read_by_class_and_number(
    tmp_path: Path,
) -> None:
    rois = [
        polygon(*SQUARE),
        polygon((4, 0), (5, 0), (5, 1), (4, 1)),
        polygon((0, 4), (1, 4), (1, 5), (0, 5)),
    ]
    for roi, name in zip(rois, ("cells#2", "cells#2-7", "debris#1"), strict=True):
        roi.name = name
    read = imagej_roi.read(zipped(tmp_path / "a.zip", *rois))
    np.testing.assert_array_equal(
        read.labels.read(), ids("00002", "02200", "02200", "00000", "10000")
    )
    assert [read.class_named(n).name for n in (1, 2)] == ["debris", "cells"]  # type: ignore[union-attr]


def test_the_same_number_in_two_classes_is_two_objects(tmp_path: Path) -> None:
    rois = [polygon(*SQUARE), polygon((4, 0), (5, 0), (5, 1), (4, 1))]
    rois[0].name, rois[1].name = "cells#2", "debris#2"
    read = imagej_roi.read(zipped(tmp_path / "a.zip", *rois))
    np.testing.assert_array_equal(read.labels.read(), ids("00002", "01100", "01100"))
    assert read.labels.notes == (
        "Objects of different classes had the same id: all have new ids.",
        SMALLEST,
    )


def test_imagejs_own_names_are_no_ids_and_later_objects_are_on_top(
    tmp_path: Path,
) -> None:
    rois = [polygon(*SQUARE), polygon((2, 2), (4, 2), (4, 4), (2, 4))]
    read = imagej_roi.read(zipped(tmp_path / "a.zip", *rois))
    np.testing.assert_array_equal(
        read.labels.read(), ids("0000", "0110", "0122", "0022")
    )
    assert read.labels.notes == (
        "Objects overlap in 1 pixel; the later ones are on top there.",
        SMALLEST,
    )


def test_fractions_are_filled_by_centres_and_cut_off_at_the_border(
    tmp_path: Path,
) -> None:
    roi = polygon((-2.0, 0.4), (1.6, 0.4), (1.6, 2.4), (-2.0, 2.4), exact=True)
    like = Image(np.zeros((3, 4)), "yx")
    read = imagej_roi.read(zipped(tmp_path / "a.zip", roi), like)
    np.testing.assert_array_equal(read.labels.read(), ids("1100", "1100", "0000"))
    assert read.labels.notes == (
        "1 object reaches beyond the image and is cut off there.",
    )


def test_lines_are_left_out_and_said(tmp_path: Path) -> None:
    others = [
        polygon(*SQUARE, roitype=kind)
        for kind in (roifile.ROI_TYPE.ANGLE, roifile.ROI_TYPE.FREELINE)
    ]
    area, like = polygon(*SQUARE, z_position=1), Image(np.zeros((2, 4, 4)), "zyx")
    read = imagej_roi.read(zipped(tmp_path / "a.zip", area, *others), like)
    assert np.unique(read.labels.read()).tolist() == [0, 1]
    assert read.labels.notes == ("2 ROIs are no areas and left out.",)
    assert read.unknown is None


def test_texts_and_bars_are_left_out_and_masks_refused(tmp_path: Path) -> None:
    text = polygon(*SQUARE, roitype=roifile.ROI_TYPE.RECT, name="scale")
    text.subtype = roifile.ROI_SUBTYPE.TEXT
    bar = polygon(*SQUARE, name="|SB|")
    like = Image(np.zeros((4, 4)), "yx")
    path = zipped(tmp_path / "a.zip", polygon(*SQUARE), text, bar)
    read = imagej_roi.read(path, like)
    assert np.unique(read.labels.read()).tolist() == [0, 1]
    assert read.labels.notes == ("2 ROIs are no areas and left out.",)
    mask = polygon(*SQUARE, name="mask")
    content = bytearray(mask.tobytes())
    content[6], content[49] = roifile.ROI_TYPE.RECT, roifile.ROI_SUBTYPE.IMAGE
    (tmp_path / "b.roi").write_bytes(content)
    with pytest.raises(ValueError, match=r"ROI mask is an image.*--labels sparse"):
        imagej_roi.read(tmp_path / "b.roi", like)


def test_rois_in_a_stack_of_channels_are_on_their_slice(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (3, 2, 9, 9)).astype(np.uint8)
    kept = [polygon(*SQUARE, name="a#1", position=5).tobytes()]
    kept += [polygon(*SQUARE, name="a#2", z_position=2, t_position=1).tobytes()]
    path = tmp_path / "a.tif"
    metadata = {"axes": "ZCYX", "Overlays": kept}
    tifffile.imwrite(path, pixels, imagej=True, metadata=metadata)
    labels = imagej_roi.read(path).labels
    metadata["Overlays"] = [polygon(*SQUARE, name="|SB|", position=1).tobytes()]
    tifffile.imwrite(path, pixels, imagej=True, metadata=metadata)
    with pytest.raises(ValueError, match="none of the ROIs that ImageJ keeps in it"):
        imagej_roi.read(path)
    assert labels.axes == "zyx"
    assert [np.unique(one).tolist() for one in labels.read()] == [[0], [0, 2], [0, 1]]


def point(*places: tuple[float, float], **fields: object) -> roifile.ImagejRoi:
    return polygon(*places, roitype=roifile.ROI_TYPE.POINT, **fields)


@pytest.mark.parametrize("exact", [False, True])
def test_points_are_discs_in_rings_of_which_nothing_is_known(
    tmp_path: Path, exact: bool
) -> None:
    at = 4.5 if exact else 4  # the middle of that pixel
    rois = [point((at, at), exact=exact), polygon((7, 3), (8, 3), (8, 5), (7, 5))]
    rois[0].name, rois[1].name = "mitosis#7", "cells#3"
    like = Image(np.zeros((9, 10)), "yx")
    read = imagej_roi.read(zipped(tmp_path / "a.zip", *rois), like)
    y, x = np.indices((9, 10)) - 4
    disc = y**2 + x**2 <= 4
    assert disc.sum() == 13
    other = np.zeros((9, 10), bool)
    other[3:5, 7] = True
    np.testing.assert_array_equal(read.labels.read(), disc * 7 + other * 3)
    ring = (y**2 + x**2 <= 16) & ~disc & ~other
    np.testing.assert_array_equal(read.unknown, ring)
    assert [read.class_named(n).name for n in (7, 3)] == ["mitosis", "cells"]  # type: ignore[union-attr]
    assert read.labels.notes == (
        "1 point is a disc with a radius of 2 pixels; within 4 nothing else is known.",
    )


def test_each_of_several_points_is_an_object_in_its_plane(tmp_path: Path) -> None:
    several = point((4, 4), (14, 4), (24, 4), name="cells", z_position=2)
    like = Image(np.zeros((3, 9, 30)), "zyx")
    labels = imagej_roi.read(zipped(tmp_path / "a.zip", several), like).labels.read()
    assert [np.unique(plane).tolist() for plane in labels] == [[0], [0, 1, 2, 3], [0]]
    several.counters = np.zeros(3, np.uint8)
    several.counter_positions = np.array([1, 3, 3], np.uint32)
    labels = imagej_roi.read(zipped(tmp_path / "b.zip", several), like).labels.read()
    assert [np.unique(plane).tolist() for plane in labels] == [[0, 1], [0], [0, 2, 3]]


@pytest.mark.parametrize("name", ["Ignore-1", "ignore", "IGNORE#4.roi"])
def test_of_what_the_plugin_of_fiji_ignores_nothing_is_known(
    tmp_path: Path, name: str
) -> None:
    rois = [polygon(*SQUARE), polygon((0, 0), (4, 0), (4, 3), (0, 3))]
    rois[0].name, rois[1].name = "cells#3", name
    read = imagej_roi.read(zipped(tmp_path / "a.zip", *rois))
    np.testing.assert_array_equal(read.labels.read(), ids("0000", "0330", "0330"))
    np.testing.assert_array_equal(read.unknown, ids("1111", "1001", "1001"))
    assert read.labels.notes == (
        "1 ROI is named ignore: nothing is known there.",
        SMALLEST,
    )
    beyond = polygon((90, 90), (94, 90), (94, 94), name="ignore")
    with pytest.raises(ValueError, match="lies outside the image"):
        imagej_roi.read(
            zipped(tmp_path / "b.zip", rois[0], beyond), Image(np.zeros((4, 4)), "yx")
        )


@pytest.mark.parametrize(
    ("names", "found"),
    [
        # as the ROI Manager makes names that are there already different
        (["cells", "cells-1", "mitosis", "cells-2"], ["cells", "mitosis"]),
        # those of single objects
        (["left one", "right one", "small"], []),
        (["0001-0017-0023", "0001-0042-0007", "17", "17-1"], []),
        (["cells", "ignore", "cells"], ["cells"]),
    ],
)
def test_names_that_come_again_are_of_classes(
    tmp_path: Path, names: list[str], found: list[str]
) -> None:
    rois = []
    for number, name in enumerate(names):
        left = 3 * number
        corners = ((left, 0), (left + 1, 0), (left + 1, 1), (left, 1))
        rois.append(polygon(*corners, name=name))
    read = imagej_roi.read(zipped(tmp_path / "a.zip", *rois))
    assert [kind.name for kind in read.classes] == found
    told = f"Names of ROIs are taken for classes: {', '.join(found)}."
    assert (told in read.labels.notes) == bool(found)
    ignored = sum(name == "ignore" for name in names)
    assert len(np.unique(read.labels.read())) == 1 + len(names) - ignored


def test_what_macos_adds_to_a_zip_is_no_roi(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", polygon(*SQUARE))
    wanted = imagej_roi.read(path).labels.read()
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("__MACOSX/._0001.roi", b"\0\5\26\7")
    np.testing.assert_array_equal(imagej_roi.read(path).labels.read(), wanted)


def test_a_roi_file_that_is_no_zip_is_one_object(tmp_path: Path) -> None:
    roi = roifile.ImagejRoi()
    roi.roitype, roi.name = roifile.ROI_TYPE.RECT, "a#7"
    roi.left, roi.top, roi.right, roi.bottom = 1, 0, 3, 2
    (tmp_path / "a.roi").write_bytes(roi.tobytes())
    read = imagej_roi.read(tmp_path / "a.roi")
    np.testing.assert_array_equal(read.labels.read(), ids("077", "077"))


@pytest.mark.parametrize(
    ("fields", "axes", "shape", "wanted"),
    [
        ({"position": 2}, "zyx", (3, 5, 5), (1,)),
        ({"position": 2}, "tyx", (3, 5, 5), (1,)),
        ({"position": 5}, "tzyx", (2, 3, 5, 5), (1, 1)),
        ({"position": 2}, "cyx", (2, 5, 5), ()),
        ({"position": 8}, "tczyx", (2, 2, 3, 5, 5), (1, 0)),
        ({"position": 4}, "tcyx", (3, 2, 5, 5), (1,)),
        ({"position": 2}, "tyxc", (2, 5, 5, 3), (1,)),
        ({"z_position": 3}, "zyx", (3, 5, 5), (2,)),
        (
            {"c_position": 2, "z_position": 1, "t_position": 2},
            "tzyx",
            (2, 3, 5, 5),
            (1, 0),
        ),
        ({"c_position": 2}, "cyx", (2, 5, 5), ()),
    ],
)
def test_a_roi_is_on_its_slice(
    tmp_path: Path,
    fields: dict[str, int],
    axes: str,
    shape: tuple[int, ...],
    wanted: tuple[int, ...],
) -> None:
    path = zipped(tmp_path / "a.zip", polygon(*SQUARE, **fields))
    read = imagej_roi.read(path, Image(np.zeros(shape), axes)).labels
    assert read.axes == axes.replace("c", "")
    assert read.read()[wanted].sum() == read.read().sum() == 4


@pytest.mark.parametrize(
    ("fields", "axes", "shape"),
    [
        ({}, "zyx", (3, 5, 5)),
        ({"t_position": 1}, "tzyx", (2, 3, 5, 5)),
        ({"z_position": 1}, "tzyx", (2, 3, 5, 5)),
    ],
)
def test_a_roi_on_no_slice_of_a_stack_is_refused(
    tmp_path: Path, fields: dict[str, int], axes: str, shape: tuple[int, ...]
) -> None:
    path = zipped(tmp_path / "a.zip", polygon(*SQUARE, **fields))
    with pytest.raises(ValueError, match="the ROI 0001-0002 is on no slice of"):
        imagej_roi.read(path, Image(np.zeros(shape), axes))


def test_an_image_wider_than_single_precision_counts_is_refused_before_writing(
    tmp_path: Path,
) -> None:
    labels = np.broadcast_to(np.uint8(0), (1, 2**24 + 1))
    with pytest.raises(
        ValueError, match=r"up to 16777216 pixels .* found 1 × 16777217"
    ):
        imagej_roi.write(tmp_path / "a.zip", Objects(Image(labels, "yx")))
    assert not list(tmp_path.iterdir())


def test_outlines_that_lead_nowhere_and_huge_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = polygon(*SQUARE, exact=True)
    nowhere.subpixel_coordinates[3, 0] = np.nan
    with pytest.raises(ValueError, match="an outline in it leads nowhere"):
        imagej_roi.read(zipped(tmp_path / "a.zip", nowhere))
    far = (*SQUARE[:3], (1e8, 1e8))
    with pytest.raises(ValueError, match="1 × 1 × 100000000 × 100000000 pixels"):
        imagej_roi.read(zipped(tmp_path / "b.zip", polygon(*far, exact=True)))
    monkeypatch.setattr(imagej_roi, "_LARGEST", 2**20)
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.roi", bytes(3 * 2**20))
    with pytest.raises(ValueError, match="have 3 MiB, more than the 1 MiB"):
        imagej_roi.read(tmp_path / "c.zip")


@pytest.mark.skipif(not SAMPLES.exists(), reason="needs the shared samples")
def test_a_sample_of_another_program_has_the_objects_of_its_label_image() -> None:
    labels = read_labels(SAMPLES / "labels_imagej.tif")
    read = imagej_roi.read(SAMPLES / "labels_RoiSet.zip", labels).labels
    pairs = np.unique(np.stack([labels.read().ravel(), read.read().ravel()]), axis=1)
    # the same parts of the image, under other ids in each slice
    assert pairs.shape[1] == len(np.unique(read.read())) == 8
    assert (pairs[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("place", "guessed"), [("position", True), ("z_position", False)]
)
def test_a_position_that_is_taken_for_a_slice_is_said(
    tmp_path: Path, place: str, guessed: bool
) -> None:
    read = imagej_roi.read(zipped(tmp_path / "a.zip", polygon(*SQUARE, **{place: 3})))
    assert read.labels.data.shape[0] == 3
    note = "Positions that name no time point are taken for slices."
    assert (note in read.labels.notes) == guessed


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a_RoiSet.zip", r"a_RoiSet\.zip: is no zip of ROIs of ImageJ, or is damaged"),
        ("a.roi", r"a\.roi: is no ROI of ImageJ, or is damaged"),
    ],
)
def test_a_file_of_something_else_is_told_as_it_is_named(
    tmp_path: Path, name: str, told: str
) -> None:
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(ValueError, match=told):
        imagej_roi.read(tmp_path / name)
