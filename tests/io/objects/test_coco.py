from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image, ImageFile
from napari_unet.io.objects import coco
from object_cases import CASES, ids, objects, random_labels

if TYPE_CHECKING:
    from pathlib import Path

SQUARE = [[0, 0, 2, 0, 2, 1, 0, 1]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a_coco.json"


def picture(number: int, name: str, **size: int) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 4, "height": 2, **size}


def annotation(
    segmentation: Any = SQUARE, image: int = 1, **said: Any
) -> dict[str, Any]:
    return {"id": 5, "image_id": image, "segmentation": segmentation, **said}


def store(path: Path, images: list[Any], *annotations: Any) -> Path:
    categories = [{"id": 3, "name": "nuclei"}]
    path.write_text(
        json.dumps(
            {"images": images, "annotations": annotations, "categories": categories}
        )
    )
    return path


def read(path: Path, *annotations: Any, like: Image | None = None) -> Objects:
    return coco.read(store(path, [picture(1, "a.png")], *annotations), like)


def test_objects_have_polygons_or_where_there_are_holes_run_lengths(path: Path) -> None:
    labels = Image(ids("2220", "2021", "2221"), "yx", name="picture")
    coco.write(path, Objects(labels, probability_of={1: 0.5}))
    content = json.loads(path.read_text())
    assert content["images"] == [
        {"id": 1, "file_name": "picture", "width": 4, "height": 3}
    ]
    assert content["categories"] == [{"id": 1, "name": "object", "no_class": True}]
    one, two = content["annotations"]
    assert one == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "label": 1,
        "bbox": [3, 1, 1, 2],
        "area": 2,
        "iscrowd": 0,
        "segmentation": [[4, 1, 4, 3, 3, 3, 3, 1]],
        "score": 0.5,
    }
    assert two["segmentation"] == {"size": [3, 4], "counts": [0, 4, 1, 4, 3]}
    assert (two["area"], two["iscrowd"]) == (8, 0)


def test_pictures_have_the_names_of_their_files(path: Path) -> None:
    """Under which other programs look for them."""
    plane = ids("12")
    for labels, axes, names in (
        (plane, "yx", ["a b.png"]),
        (np.stack([plane, plane]), "tyx", ["a b.png#t0z0", "a b.png#t1z0"]),
    ):
        file = ImageFile(str(path.with_name("a b.png")))
        coco.write(path, Objects(Image(labels, axes, name="a b", file=file)))
        found = [one["file_name"] for one in json.loads(path.read_text())["images"]]
        assert found == names
        assert coco.read(path, Image(labels, axes, name="a b")).labels.axes == axes


def test_objects_without_a_class_have_none_again(path: Path) -> None:
    labels = Image(ids("1023"), "yx", name="picture")
    classes = (ObjectClass("object"), ObjectClass("nuclei"))
    coco.write(path, Objects(labels, classes, {1: 1, 2: 2}))
    found = coco.read(path)
    assert found.classes == classes
    assert found.class_of == {1: 1, 2: 2}


def test_each_plane_of_a_stack_is_a_picture_and_ids_are_unique(path: Path) -> None:
    coco.write(path, objects(*CASES["time and slices"]))
    content = json.loads(path.read_text())
    assert [p["file_name"] for p in content["images"]] == [
        f"picture#t{t}z{z}" for t in range(2) for z in range(3)
    ]
    numbers = [a["id"] for a in content["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {a["label"] for a in content["annotations"]} == {1, 2, 3, 4}
    names = [category["name"] for category in content["categories"]]
    assert names == ["nuclei", "Zellen, große"]


@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # pycocotools'
@pytest.mark.parametrize("case", [*CASES, *range(10)])
def test_pycocotools_finds_pixels_areas_and_boxes(path: Path, case: str | int) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools import mask
    from pycocotools.coco import COCO

    written = objects(*(CASES[case] if isinstance(case, str) else random_labels(case)))
    coco.write(path, written)
    dataset = COCO(path)
    planes = {number: p.ids for number, p in enumerate(written.planes(), start=1)}
    found = {number: np.zeros_like(plane) for number, plane in planes.items()}
    for one in dataset.loadAnns(dataset.getAnnIds()):
        inside = dataset.annToMask(one) > 0
        assert one["area"] == np.count_nonzero(inside)
        runs = dataset.annToRLE(one)
        assert mask.toBbox(runs).tolist() == one["bbox"]
        found[one["image_id"]][inside] += one["label"]
    for number, plane in planes.items():
        np.testing.assert_array_equal(found[number], plane)


@pytest.mark.parametrize("seed", range(10))
def test_run_lengths_as_text_are_read(path: Path, seed: int) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 400, 2).tolist())
    inside = rng.random(shape) < rng.random()
    runs = mask.encode(np.asfortranarray(inside, np.uint8))
    runs["counts"] = runs["counts"].decode()
    sizes = {"height": shape[0], "width": shape[1]}
    store(path, [picture(1, "a.png", **sizes)], annotation(runs))
    np.testing.assert_array_equal(coco.read(path).labels.read(), inside)


def test_polygons_of_one_object_are_joined_and_objects_numbered(path: Path) -> None:
    joined = [[0, 0, 2, 0, 2, 1, 0, 1], [1, 0, 3, 0, 3, 1, 1, 1]]
    last = annotation([[3, 1, 4, 1, 4, 2, 3, 2]], category_id=3, score=0.5)
    found = read(path, annotation(joined), last)
    np.testing.assert_array_equal(found.labels.read(), ids("1110", "0002"))
    assert [kind.name for kind in found.classes] == ["nuclei"]
    assert (dict(found.class_of), dict(found.probability_of)) == ({2: 1}, {2: 0.5})


def test_crowds_and_boxes_are_left_out_and_said(path: Path) -> None:
    crowd = annotation({"size": [2, 4], "counts": [0, 8]}, iscrowd=1)
    found = read(path, crowd, annotation([]), annotation()).labels
    np.testing.assert_array_equal(found.read(), ids("1100", "0000"))
    assert found.notes == ("2 crowds and boxes are left out.",)


def test_of_several_images_one_is_named_and_none_taken_in_silence(path: Path) -> None:
    other = annotation([[0, 1, 1, 1, 1, 2, 0, 2]], image=8)
    store(
        path, [picture(7, "b/a.png"), picture(8, "c.png")], annotation(image=7), other
    )
    with pytest.raises(
        ValueError, match=r"of 2 images: #1 b/a.png, #2 c.png; name one"
    ):
        coco.read(path)
    first, second = ids("1100", "0000"), ids("0000", "1000")
    for name in ("a", "results/instances/a.tif"):
        like = Image(np.zeros((2, 4)), "yx", name=name)
        np.testing.assert_array_equal(coco.read(path, like).labels.read(), first)
    named = path.with_name("a_coco.json#2")
    np.testing.assert_array_equal(coco.read(named).labels.read(), second)
    with pytest.raises(ValueError, match="of 2 images"):
        coco.read(path.with_name("a_coco.json#3"))


def test_an_image_of_another_size_is_refused(path: Path) -> None:
    like = Image(np.zeros((4, 2)), "yx")
    with pytest.raises(ValueError, match="of an image of 2 × 4 pixels, not of 4 × 2"):
        read(path, annotation(), like=like)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [2, 4], "counts": [0, 9]},
        {"size": [2, 4], "counts": [9, -1]},
        {"size": [4, 2], "counts": [0, 8]},
        {"size": [2, 4], "counts": [2**70, 8]},
        {"size": [2, 4], "counts": "PP" * 100},
        {"size": [2, 4], "counts": "o" * 100},
        {"size": [2, 4], "counts": "é"},
        {"size": [2, 4]},
        [[0, 0, 1]],
        [[]],
        [["a", "b"]],
        "text",
    ],
)
def test_outlines_that_are_none_are_refused(path: Path, segmentation: Any) -> None:
    with pytest.raises(ValueError, match=f"^{path}: .* damaged"):
        read(path, annotation(segmentation))


def test_sizes_that_no_image_has_are_refused(path: Path) -> None:
    for height in (0, -2, 10**9):
        store(path, [picture(1, "a.png", height=height)])
        with pytest.raises(ValueError, match="says that its image has"):
            coco.read(path)
    store(path, [picture(1, "a#t0z0"), picture(2, "a#t0z1")])
    with pytest.raises(ValueError, match="has no instances"):
        coco.read(path)  # two pictures of one plane


@pytest.mark.parametrize("numbers", [[], [1, 1], [2, 3]])
def test_objects_of_no_picture_or_of_two_are_refused(
    path: Path, numbers: list[int]
) -> None:
    pictures = [picture(n, f"{at}.png") for at, n in enumerate(numbers)]
    store(path, pictures, annotation(image=1))
    with pytest.raises(ValueError, match=r"damaged"):
        coco.read(path.with_name(f"{path.name}#1"))
