from __future__ import annotations

import gc
import io
import json
import pathlib
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from example_architectures import ODD
from example_models import random_model
from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.kept_planes import KeptPlanes
from napari_unet.core.images.normalisation import measure
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.core.training.training_settings import Training
from napari_unet.io.asked_prediction import AskedFile, AskedPrediction
from napari_unet.io.bundle import Bundle, is_bundle, write_bundle, write_images
from napari_unet.io.images import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_unet.core.annotation.annotations import Kind

RNG = np.random.default_rng(0)
STACK = Image(
    RNG.integers(0, 4000, (6, 20, 2, 24), np.uint16),
    "zycx",
    (0.5, 0.1, 0.1),
    "stäck",
)
CLASSES = (ClassInfo(name="nuclei"), ClassInfo(name="tissue", kind="regions"))


def known(z: int) -> Annotation:
    labels = np.zeros((20, 24), np.int32)
    labels[3:6, 2 : 4 + z], labels[10:12] = 70_000, 1
    return Annotation(labels, CLASSES, {70_000: 2})


def pairs(ndim: Literal[2, 3]) -> Iterator[tuple[Field, Annotation]]:
    planes = {z: known(z) for z in (1, 4)}
    if ndim == 2:
        yield from ((Field(STACK, 0, z), plane) for z, plane in planes.items())
    else:
        empty = np.zeros((20, 24), np.int32)
        labels = [planes[z].labels if z in planes else empty for z in range(6)]
        yield Field(STACK, 0, None), Annotation(np.stack(labels), CLASSES, {70_000: 2})


def written(path: Path, settings: Training | None = None, **rest: Any) -> Bundle:
    for _ in write_bundle(path, pairs, settings or Training.quick(), **rest):
        pass
    return Bundle(path)


def test_a_bundle_holds_the_planes_that_are_learnt_from_and_no_others(
    tmp_path: Path,
) -> None:
    bundle = written(tmp_path / "b.zip", notes=["so"])
    found, before = list(bundle.pairs(2)), list(pairs(2))
    assert len(found) == len(before) == 2
    for (field, annotation), (own, told) in zip(found, before, strict=True):
        assert (field.t, field.z, field.shape) == (own.t, own.z, own.shape)
        np.testing.assert_array_equal(field.read(), own.read())
        np.testing.assert_array_equal(annotation.labels, told.labels)
        assert annotation.classes == CLASSES
        assert annotation.class_of == told.class_of
    image = found[0][0].image
    assert (image.name, image.axes, image.known_um) == (
        "stäck",
        "czyx",
        (0.5, 0.1, 0.1),
    )
    assert image.channels == 2
    assert not Field(image, 0, 0).read().any()
    # the grey values are those of the whole stack
    assert measure(image) == measure(STACK)
    assert bundle.record.notes == ("so",)
    assert bundle.start() is None
    with pytest.raises(ValueError, match="other networks than 3-D"):
        next(bundle.pairs(3))


def test_of_settings_that_are_open_there_are_slices_and_volumes(tmp_path: Path) -> None:
    bundle = written(tmp_path / "b.zip", Training.automatic())
    assert len(list(bundle.pairs(2))) == 2
    ((field, annotation),) = bundle.pairs(3)
    ((own, told),) = pairs(3)
    np.testing.assert_array_equal(field.read(), own.read())
    np.testing.assert_array_equal(annotation.labels, told.labels)


@pytest.mark.parametrize("kind", ["binary", "semantic", "sparse"])
def test_slices_and_volumes_have_the_annotation_of_a_training_here(
    tmp_path: Path, kind: Kind
) -> None:
    # two areas of a slice that are one in the volume, and one that is of class 2
    mask = np.zeros((6, 20, 24), np.uint8)
    mask[0, 2:6, 2:6], mask[0, 2:6, 12:16], mask[1, 2:6, 2:16] = 1, 1, 1
    mask[4, 12:16, 2:6] = 1 if kind == "binary" else 2
    if kind == "sparse":
        mask += 1
        mask[5] = 0

    def here(ndim: Literal[2, 3]) -> list[tuple[Field, Annotation]]:
        return annotated_fields([STACK], [Image(mask, "zyx")], ndim, kind)

    for _ in write_bundle(tmp_path / "b.zip", here, Training.automatic()):
        pass
    bundle = Bundle(tmp_path / "b.zip")
    dimensions: tuple[Literal[2, 3], ...] = (2, 3)
    for ndim in dimensions:
        found = list(bundle.pairs(ndim))
        for (_, annotation), (_, own) in zip(found, here(ndim), strict=True):
            targets, wanted = annotation.targets(), own.targets()
            np.testing.assert_array_equal(targets.classes, wanted.classes)
            np.testing.assert_array_equal(targets.instances, wanted.instances)


def test_a_bundle_of_the_first_version_has_the_volume_in_planes(tmp_path: Path) -> None:
    def as_before(entries: dict[str, bytes]) -> None:
        volume = np.load(io.BytesIO(entries.pop("labels-0-0.npy")))
        entries |= {f"labels-0-0-{z}.npy": npy(p) for z, p in enumerate(volume)}
        record(lambda r: r.update(version=1))(entries)

    path = rewritten(tmp_path / "b.zip", as_before, Training.automatic())
    dimensions: tuple[Literal[2, 3], ...] = (2, 3)
    for ndim in dimensions:
        found, before = list(Bundle(path).pairs(ndim)), list(pairs(ndim))
        for (_, annotation), (_, own) in zip(found, before, strict=True):
            np.testing.assert_array_equal(annotation.labels, own.labels)


def test_the_model_to_start_from_is_in_it(tmp_path: Path) -> None:
    model = random_model(ODD)
    start = written(tmp_path / "b.zip", start=model).start()
    assert start is not None
    assert start.card == model.card
    for name, weight in model.weights.items():
        np.testing.assert_array_equal(start.weights[name], weight)


def test_targets_come_with_their_images(tmp_path: Path) -> None:
    target = Image(
        RNG.normal(size=(6, 20, 24)).astype(np.float32), "zyx", name="target"
    )
    settings = Training.quick().with_task("regress")
    for _ in write_bundle(
        tmp_path / "b.zip",
        lambda _: [(Field(STACK, 0, 2), Field(target, 0, 3))],
        settings,
    ):
        pass
    ((field, wanted),) = Bundle(tmp_path / "b.zip").pairs(2)
    np.testing.assert_array_equal(field.read(), Field(STACK, 0, 2).read())
    np.testing.assert_array_equal(wanted.read(), Field(target, 0, 3).read())


def test_nothing_annotated_leaves_no_file(tmp_path: Path) -> None:
    empty = Annotation(np.zeros((20, 24), np.int32), CLASSES)
    with pytest.raises(ValueError, match="nothing is annotated"):
        for _ in write_bundle(
            tmp_path / "b.zip",
            lambda _: [(Field(STACK, 0, 2), empty)],
            Training.quick(),
        ):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("axes", ["tczyx", "zyx", "cyx", "yx"])
def test_kept_planes_read_as_an_array(axes: str) -> None:
    sizes = dict(zip("tczyx", (2, 3, 4, 5, 6), strict=True))
    whole = RNG.integers(1, 99, [sizes[a] for a in axes])
    image = Image(whole, axes)
    places = [(t, z) for t in range(image.size("t")) for z in range(image.size("z"))]
    planes = {(t, z): Field(image, t, z).read() for t, z in places}
    kept = KeptPlanes(axes, whole.shape, whole.dtype, planes)
    keys: list[Any] = [..., 0, -1, slice(1, 3), (..., slice(1, 4, 2)), (..., 2, 3)]
    keys += [(0, slice(None)), (slice(None), -1)]
    for key in keys:
        np.testing.assert_array_equal(kept[key], whole[key])


def rewritten(
    path: Path,
    change: Callable[[dict[str, bytes]], None],
    settings: Training | None = None,
) -> Path:
    """Write a bundle anew with other entries."""
    written(path, settings)
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def record(changes: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def change(entries: dict[str, bytes]) -> None:
        found = json.loads(entries["bundle.json"])
        changes(found)
        entries["bundle.json"] = json.dumps(found).encode()

    return change


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "no plane": (lambda e: e.pop("image-0-0.npy") and None, "has no image-0-0.npy"),
    "no labels": (lambda e: e.pop("labels-0-0-1.npy") and None, "has no labels-0"),
    "short": (
        lambda e: e.update({"image-0-0.npy": e["image-0-0.npy"][:-2]}),
        "has not the size of its pixels",
    ),
    "long": (
        lambda e: e.update({"image-0-0.npy": e["image-0-0.npy"] + b"more"}),
        "has not the size of its pixels",
    ),
    "another shape": (
        lambda e: e.update({"image-0-0.npy": npy(np.zeros((2, 20, 25), "<u2"))}),
        "expected are uint16",
    ),
    "objects": (
        record(lambda r: r["images"][0].update(dtype="|O")),
        "pixels are numbers",
    ),
    "labels of reals": (
        lambda e: e.update({"labels-0-0-1.npy": npy(np.zeros((20, 24)))}),
        "it holds float64",
    ),
    "a giant": (
        record(lambda r: r["images"][0].update(shape=[2, 6, 2**30, 2**30])),
        "expected are uint16",
    ),
    "axes": (record(lambda r: r["images"][0].update(axes="cc")), "not its axes"),
    "no image": (record(lambda r: r["fields"]["2"][0].update(image=7)), "no image 8"),
    "a plane outside": (
        record(lambda r: r["fields"]["2"][0].update(z=5)),
        "no plane at t=0, z=5",
    ),
    "a deep giant": (
        record(
            lambda r: (
                r["images"][0].update(shape=[2, 2**31 - 1, 20, 24]),
                r["fields"].update({"2": [{"image": 0, "t": 0, "z": None}]}),
            )
        ),
        "no plane at t=0, z=0",
    ),
    "later": (record(lambda r: r.update(version=3)), "of a newer napari-unet"),
    "unknown": (record(lambda r: r.update(command="rm")), "of a newer napari-unet"),
    "no record": (lambda e: e.update({"bundle.json": b"["}), "is no JSON"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    change, told = HOSTILE[name]
    path = rewritten(tmp_path / "b.zip", change)
    with pytest.raises(ValueError, match=told) as refused:
        list(Bundle(path).pairs(2))
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_names_that_lead_elsewhere_are_never_looked_at(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()

    def add(entries: dict[str, bytes]) -> None:
        entries |= {"../outside.txt": b"x", "/tmp/root": b"x", "a/b": b"x"}

    bundle = Bundle(rewritten(inner / "b.zip", add))
    assert len(list(bundle.pairs(2))) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["inner"]


def test_an_entry_that_unpacks_to_more_than_it_says_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    written(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("start.safetensors", bytes(10**7))
    content = path.read_bytes().replace((10**7).to_bytes(4, "little"), b"\x10\0\0\0")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|longer than it says"):
        Bundle(path)._zip.read("start.safetensors")


def asked_for(path: Path, **changes: Any) -> Path:
    """Write a bundle for a prediction of two planes, with another record."""
    two = Image(STACK.data[:2, :, :1], "zycx", name="two")
    asked = AskedPrediction(
        model="m.safetensors",
        sha256="",
        settings=Prediction(),
        segmentation=Segmentation(),
        kinds=("classes",),
        files=(AskedFile(name="two"),),
    )
    for _ in write_images(path, [two], random_model(ODD), asked):
        pass
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    found = json.loads(entries["bundle.json"])
    found["asked"] |= changes.pop("asked", {})
    found["images"][0] |= changes
    entries["bundle.json"] = json.dumps(found).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("kind", ["../../x", "/home/me/data", "", "made"])
def test_the_kind_of_a_result_leads_nowhere(tmp_path: Path, kind: str) -> None:
    path = asked_for(tmp_path / "b.zip", asked={"kinds": [kind]})
    with pytest.raises(ValueError, match="should be a kind of result"):
        Bundle(path)


def test_an_image_that_lacks_a_plane_is_not_predicted_as_zeros(tmp_path: Path) -> None:
    whole = Bundle(asked_for(tmp_path / "b.zip"))
    assert len(whole.sent(tmp_path)) == 1
    for planes in ([[0, 0]], []):
        lacks = Bundle(asked_for(tmp_path / "c.zip", planes=planes))
        with pytest.raises(ValueError, match="has no plane at t=0"):
            lacks.sent(tmp_path)
        lacks.record = lacks.record.replace(asked=None)
        with pytest.raises(ValueError, match="has no plane at t=0"):
            lacks.unpack(tmp_path)


def test_a_model_that_unpacks_to_more_than_the_bundle_is_not_read(
    tmp_path: Path,
) -> None:
    path = rewritten(
        tmp_path / "b.zip", record(lambda r: r.update(start="m.safetensors"))
    )
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("start.safetensors", bytes(10**7))
    with pytest.raises(ValueError, match="has 10000000 bytes, expected are at most"):
        Bundle(path).start()


def test_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(b"no zip")
    assert not is_bundle(tmp_path / "b.zip")
    assert not is_bundle(tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        Bundle(tmp_path / "b.zip")
    assert is_bundle(written(tmp_path / "c.zip").path)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    bundle = written(tmp_path / "b.zip")
    bundle.check()
    content = bytearray(bundle.path.read_bytes())
    content[400] ^= 1
    bundle.path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        Bundle(bundle.path).check()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into Linux's /proc")
def test_a_bundle_that_was_checked_is_open_no_longer(tmp_path: Path) -> None:
    """Windows would not let it have its name then."""
    path = tmp_path / "b.zip"
    written(path)
    gc.disable()
    try:
        Bundle(path).check()
        assert str(path) not in pathlib.Path("/proc/self/maps").read_text()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "names", [("a-3", "b", "a", "a"), ("a", "a", "a-2"), ("A-3", "a", "a", "a-3-3")]
)
def test_images_that_are_called_alike_are_all_unpacked(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    images = [
        Image(np.full((4, 5), k, np.int64), "yx", name=name)
        for k, name in enumerate(names)
    ]
    path = tmp_path / "b.zip"
    for _ in write_images(path, images, random_model(ODD)):
        pass
    _, files = Bundle(path).unpack(tmp_path)
    assert len({file.name.casefold() for file in files}) == len(names)
    found = [int(np.asarray(read_image(file).data)[0, 0]) for file in files]
    assert found == list(range(len(names)))


def test_grey_may_be_taken_for_colours_as_that_of_the_file(tmp_path: Path) -> None:
    grey = Image(STACK.data[0, :, 0], "yx", name="grey", grey=True)
    model = random_model(u_shape(ndim=2, channels=3, classes=2, width=4, depth=1))
    path = tmp_path / "b.zip"
    for _ in write_images(path, [grey], model):
        pass
    bundle = Bundle(path)
    _, (file,) = bundle.unpack(tmp_path)
    for image in (bundle.images[0].with_channels(3), read_image(file)):
        assert image.channels == 3
        for channel in Field(image).read():
            np.testing.assert_array_equal(channel, grey.data)


def test_an_image_is_unpacked_into_the_same_file_each_time(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    for _ in write_images(path, [STACK], random_model(ODD)):
        pass
    contents = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        _, (file,) = Bundle(path).unpack(tmp_path / name)
        contents.append(file.read_bytes())
    assert contents[0] == contents[1]
