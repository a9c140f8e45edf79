"""What the file of a layer tells holds in napari as it does on the command line."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers._source import Source
from npe2 import PluginManager

from microscope_files import write_nd2
from napari_unet.io.ome_zarr import create_zarr
from napari_unet.session.images.interpretation import in_words
from napari_unet.session.images.source_files import SourceFiles
from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.layers import Layer

    from conftest import Pump
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.project.store import ProjectStore

HALF = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
PER_CM = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}  # 0.5 µm


@pytest.fixture(autouse=True)
def readers() -> None:
    """Let napari know its own readers, which its window does otherwise."""
    PluginManager.instance().discover()


class Bench(SessionBench):
    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.told: list[str] = []
        self.images.message.connect(lambda _, sentence: self.told.append(sentence))

    def show(self, path: Path | list[Path], **options: Any) -> Layer:
        paths = [str(p) for p in path] if isinstance(path, list) else str(path)
        layer: Layer = self.viewer.open(paths, layer_type="image", **options)[0]
        return layer

    def as_if_from(self, path: Path, data: np.ndarray) -> Layer:
        """Add what a plugin that reads the format would."""
        layer = self.viewer.add_image(data, name=path.stem)
        layer._source = Source(path=str(path))
        return layer

    def add_file(self, path: Path | list[Path], **options: Any) -> ProjectImage:
        return self.images.add([self.show(path, **options)])


@pytest.fixture
def bench(tmp_path: Path, pump: Pump) -> Iterator[Bench]:
    bench = Bench(tmp_path, pump.post)
    yield bench
    bench.close()


def pixels(*shape: int, dtype: type = np.uint16) -> Any:
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


def series(path: Path, **more: Any) -> Path:
    """Write a time series of 0.5 µm pixels, as microscopes do."""
    options = {"ome": True, "metadata": {"axes": "TYX", **HALF}}
    tifffile.imwrite(path, pixels(5, 40, 50), **(options | more))
    return path


@pytest.mark.parametrize(
    ("axes", "shape", "more", "spacing"),
    [
        ("TYX", (5, 40, 50), HALF, (0.5, 0.5)),
        ("ZYX", (5, 40, 50), {**HALF, "PhysicalSizeZ": 2}, (2, 0.5, 0.5)),
        ("CYX", (2, 40, 50), HALF, (0.5, 0.5)),
        ("TCYX", (5, 2, 40, 50), HALF, (0.5, 0.5)),
        ("TZYX", (5, 3, 40, 50), {**HALF, "PhysicalSizeZ": 2}, (2, 0.5, 0.5)),
        ("YX", (40, 50), {}, None),
    ],
)
def test_axes_and_pixel_size_of_an_ome_tiff(
    bench: Bench,
    axes: str,
    shape: tuple[int, ...],
    more: dict[str, Any],
    spacing: tuple[float, ...] | None,
) -> None:
    path = bench.folder / "a.ome.tif"
    tifffile.imwrite(path, pixels(*shape), ome=True, metadata={"axes": axes, **more})
    image = bench.add_file(path)
    # channels behind time points become layers
    parted = axes == "TCYX"
    known = axes.lower().replace("c", "") if parted else axes.lower()
    assert (image.axes, image.spacing_um) == (known, spacing)
    assert image.channels == dict(zip(axes, shape, strict=True)).get("C", 1)
    assert len(bench.told) == parted
    assert {source.path for source in image.sources} == {str(path)}


def test_axes_and_pixel_size_of_an_imagej_hyperstack(bench: Bench) -> None:
    meta = {"axes": "ZCYX", "unit": "um", "spacing": 2}
    path = bench.folder / "a.tif"
    tifffile.imwrite(
        path, pixels(5, 2, 40, 50), imagej=True, resolution=(4, 4), metadata=meta
    )
    image = bench.add_file(path)
    assert (image.axes, image.spacing_um) == ("zyx", (2, 0.25, 0.25))
    assert (image.name, image.channels) == ("a", 2)
    # all of them are there
    assert image.notes == ("Axes z, y, x and pixel size from the file.",)


def test_the_pixel_size_of_a_plane_reaches_the_worker(bench: Bench) -> None:
    tifffile.imwrite(bench.folder / "a.tif", pixels(40, 50), **PER_CM)
    image = bench.add_file(bench.folder / "a.tif")
    assert bench.images.reference(image.id).spacing_um == pytest.approx((0.5, 0.5))
    assert image.notes == ("Axes y, x and pixel size from the file.",)


def test_an_ome_zarr_keeps_its_axes_of_length_one(bench: Bench) -> None:
    path, stack = bench.folder / "a.zarr", pixels(1, 1, 5, 40, 50)
    with create_zarr(path, stack.shape, "tczyx", "uint16", (2, 0.5, 0.5)) as array:
        array[:] = stack
    image = bench.add_file(path)
    assert (image.axes, image.spacing_um) == ("tczyx", (2, 0.5, 0.5))


def test_a_coarse_level_has_larger_pixels(bench: Bench) -> None:
    stack, scales = pixels(5, 64, 64), [(1, 0.5, 0.5), (1, 1, 1)]
    units = [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    group = zarr.create_group(str(bench.folder / "a.zarr"), zarr_format=2)
    levels = [
        {
            "path": str(k),
            "coordinateTransformations": [{"type": "scale", "scale": list(scale)}],
        }
        for k, scale in enumerate(scales)
    ]
    axes = [{"name": "t", "type": "time"}, *units]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    for k in range(2):
        group.create_array(str(k), data=stack[:, :: k + 1, :: k + 1])
    layer = bench.show(bench.folder / "a.zarr")
    assert layer.multiscale
    image = bench.images.add([layer], level=1)
    assert (image.axes, image.shape) == ("tyx", (5, 32, 32))
    assert image.spacing_um == (1, 1)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_transparency_is_no_channel(bench: Bench, pump: Pump, name: str) -> None:
    colours = pixels(40, 50, 4, dtype=np.uint8)
    iio.imwrite(bench.folder / name, colours)
    image = bench.add_file(bench.folder / name)
    assert (image.axes, image.shape, image.channels) == ("yxc", (40, 50, 4), 3)
    pump.until(lambda: bench.images.share_frames(image.id).done)
    opened = bench.images.reference(image.id).open()
    assert opened.channels == 3
    np.testing.assert_array_equal(opened.data[...], colours[..., :3])
    # asked again, the pixels are those that were shared
    assert bench.images.reference(image.id) == bench.images.reference(image.id)


def test_transparency_of_dask_arrays_is_no_channel(bench: Bench, pump: Pump) -> None:
    import dask.array as da

    colours = pixels(3, 40, 50, 4, dtype=np.uint8)
    layer = bench.viewer.add_image(da.from_array(colours, chunks=(1, 40, 50, 4)))
    image = bench.images.add([layer])
    assert (image.axes, image.channels) == ("zyxc", 3)
    ready = bench.images.share_frames(image.id)
    pump.until(lambda: ready.done)
    opened = bench.images.reference(image.id).open()
    np.testing.assert_array_equal(opened.data[...], colours[..., :3])


@pytest.mark.parametrize("count", [3, 4])
def test_planes_that_may_be_colours_are_slices_if_a_person_says_so(
    bench: Bench, count: int
) -> None:
    path = bench.folder / "a.tif"
    tifffile.imwrite(path, pixels(count, 40, 50), photometric="rgb", **PER_CM)
    layer = bench.show(path)
    proposed = bench.images.interpret(layer)
    assert proposed is not None
    assert proposed.axes == "cyx"
    image = bench.images.add([layer], "zyx")
    assert (image.axes, image.shape, image.channels) == ("zyx", (count, 40, 50), 1)
    assert image.notes[0].startswith("Axes z, y, x as you chose")
    assert bench.told == []


def test_one_channel_of_a_file_has_its_pixel_size(bench: Bench) -> None:
    path = bench.folder / "a.ome.tif"
    meta = {"axes": "TCYX", **HALF}
    tifffile.imwrite(path, pixels(5, 2, 40, 50), ome=True, metadata=meta)
    both = bench.viewer.open(str(path), layer_type="image", channel_axis=1)
    image = bench.images.add(both)
    assert (image.axes, image.channels, image.spacing_um) == ("tyx", 2, (0.5, 0.5))


@pytest.mark.parametrize("as_folder", [True, False])
def test_the_axis_of_a_stack_of_files_is_told_as_a_guess(
    bench: Bench, as_folder: bool
) -> None:
    folder = bench.folder / "stack"
    folder.mkdir()
    paths = [folder / f"{k}.tif" for k in range(4)]
    for path in paths:
        tifffile.imwrite(path, pixels(40, 50), **PER_CM)
    image = bench.add_file(folder) if as_folder else bench.add_file(paths, stack=True)
    assert (image.axes, image.shape) == ("zyx", (4, 40, 50))
    assert "z is a guess (files opened as a stack)" in bench.told[0]


def test_a_stack_of_volumes_is_a_time_series(bench: Bench) -> None:
    meta = {"axes": "ZYX", "PhysicalSizeZ": 2, **HALF}
    paths = [bench.folder / f"{k}.ome.tif" for k in range(4)]
    for path in paths:
        tifffile.imwrite(path, pixels(3, 40, 50), ome=True, metadata=meta)
    image = bench.add_file(paths, stack=True)
    assert (image.axes, image.spacing_um) == ("tzyx", (2, 0.5, 0.5))


def test_a_layer_that_was_cropped_is_not_what_its_file_says(bench: Bench) -> None:
    layer = bench.show(series(bench.folder / "a.ome.tif"))
    layer.data = layer.data[:3, :20]
    image = bench.images.add([layer])
    assert (image.axes, image.spacing_um) == ("zyx", None)
    assert "3 × 20 × 50, its file 5 × 40 × 50 (tyx)" in bench.told[0]
    assert "guessed by their number" in bench.told[0]


def test_a_pixel_size_of_the_layer_wins_and_the_other_is_told(bench: Bench) -> None:
    layer = bench.show(series(bench.folder / "a.ome.tif"))
    layer.scale, layer.units = (1, 0.25, 0.25), ("s", "um", "um")
    image = bench.images.add([layer])
    assert (image.axes, image.spacing_um) == ("tyx", (0.25, 0.25))
    assert "the file says 0.5 × 0.5 µm" in bench.told[0]


@pytest.mark.parametrize("scale", [1, 0.25, 7])
def test_a_scale_in_pixels_is_no_pixel_size(bench: Bench, scale: float) -> None:
    layer = bench.show(series(bench.folder / "a.ome.tif"))
    layer.scale = (1, scale, scale)
    assert bench.images.add([layer]).spacing_um == (0.5, 0.5)


def test_axes_that_the_layer_names_win(bench: Bench) -> None:
    layer = bench.show(series(bench.folder / "a.ome.tif"))
    layer.axis_labels = ("z", "y", "x")
    image = bench.images.add([layer])
    assert image.axes == "zyx"
    assert "named by the layer" in image.notes[0]


def test_what_is_from_no_file_is_a_guess_that_is_told(bench: Bench) -> None:
    image = bench.images.add([bench.viewer.add_image(pixels(5, 40, 50), name="a")])
    assert (image.axes, image.spacing_um) == ("zyx", None)
    assert (
        "a: 5 slices, 40 × 50 pixels of unknown size. Axes z, y, x guessed"
        in bench.told[0]
    )
    assert "remove the image" in bench.told[0]
    plane = bench.images.add([bench.viewer.add_image(pixels(40, 50))])
    assert plane.axes == "yx"
    assert len(bench.told) == 1


def test_a_file_of_a_microscope_tells_axes_and_pixel_size(bench: Bench) -> None:
    """Some plugin of napari reads the pixels; here the test does."""
    pytest.importorskip("nd2")
    data = pixels(5, 40, 50, 2)
    path = write_nd2(bench.folder / "a.nd2", data, "T")
    image = bench.images.add([bench.as_if_from(path, np.moveaxis(data, -1, 1))])
    assert (image.axes, image.spacing_um) == ("tyx", (0.2, 0.2))
    assert image.channels == 2
    channel = bench.images.add([bench.as_if_from(path, data[..., 1])])
    assert (channel.axes, channel.spacing_um) == ("tyx", (0.2, 0.2))


def test_of_several_images_of_a_microscope_the_common_pixel_size_is_taken(
    bench: Bench,
) -> None:
    h5py = pytest.importorskip("h5py")
    data = pixels(40, 50)
    path = bench.folder / "a.h5"
    for size, known in ((0.5, (0.5, 0.5)), (0.2, None)):
        with h5py.File(path, "a") as file:
            for name in ("one", "two"):
                made = file.require_dataset(f"{name}", data.shape, data.dtype)
                if "element_size_um" not in made.attrs or name == "two":
                    made.attrs["element_size_um"] = [size, size]
        image = bench.images.add([bench.as_if_from(path, data)])
        assert image.spacing_um == known
        assert "holds" in bench.told[-1]


def test_a_damaged_file_is_no_reason_to_refuse_its_layer(bench: Bench) -> None:
    path = series(bench.folder / "a.ome.tif")
    layer = bench.show(path)
    path.write_bytes(b"II*\0 no more")
    image = bench.images.add([layer])
    assert image.axes == "zyx"
    assert "The file has no axes or pixel size" in bench.told[0]


@pytest.mark.parametrize(
    ("axes", "shape", "channels", "spacing", "words"),
    [
        ("tyx", (5, 40, 50), 1, (0.5, 0.5), "5 time points, 40 × 50 pixels of 0.5 µm."),
        (
            "zyx",
            (9, 40, 50),
            2,
            (2, 0.5, 0.25),
            "9 slices 2 µm apart, 2 channels, 40 × 50 pixels of 0.5 × 0.25 µm.",
        ),
        ("zyx", (1, 40, 50), 1, None, "1 slice, 40 × 50 pixels of unknown size."),
        (
            "zyx",
            (3, 4, 5),
            1,
            (0.5, 0.5),
            "3 slices an unknown distance apart, 4 × 5 pixels of 0.5 µm.",
        ),
        ("yxc", (40, 50, 4), 3, None, "3 channels, 40 × 50 pixels of unknown size."),
    ],
)
def test_what_an_image_is_taken_for_is_told_in_words(
    axes: str,
    shape: tuple[int, ...],
    channels: int,
    spacing: tuple[float, ...] | None,
    words: str,
) -> None:
    assert in_words(axes, shape, channels, spacing) == words


def test_what_was_taken_is_kept_with_the_project(bench: Bench) -> None:
    iio.imwrite(bench.folder / "a.png", pixels(40, 50, 4, dtype=np.uint8))
    image = bench.add_file(bench.folder / "a.png")
    bench.reopen()
    (kept,) = bench.store.project.images
    assert (kept.samples, kept.notes) == (3, image.notes)
    assert kept.notes


def test_a_large_file_is_read_in_a_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.session.images.source_files._AT_ONCE", 0)
    posted: queue.Queue[Any] = queue.Queue()
    files = SourceFiles(posted.put)
    layer = bench.show(series(bench.folder / "a.ome.tif"))
    done: list[str] = []
    files.when_read([layer], lambda: done.append("first"))
    files.when_read([layer], lambda: done.append("second"))
    assert files.metadata(layer) is None
    posted.get(timeout=60)()
    assert done == ["first", "second"]
    told = files.metadata(layer)
    assert told is not None
    assert told.axes == "tyx"
    files.when_read([layer], lambda: done.append("at once"))
    assert done[-1] == "at once"


def test_nobody_is_called_after_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.session.images.source_files._AT_ONCE", 0)
    posted: queue.Queue[Any] = queue.Queue()
    files = SourceFiles(posted.put)
    done: list[str] = []
    files.when_read(
        [bench.show(series(bench.folder / "a.tif"))], lambda: done.append("x")
    )
    files.close()
    posted.get(timeout=60)()
    assert done == []


@pytest.mark.parametrize("at_once", [True, False])
def test_the_only_image_is_taken_with_what_its_file_tells(
    tmp_path: Path, pump: Pump, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:
        monkeypatch.setattr("napari_unet.session.images.source_files._AT_ONCE", 0)
    viewer = ViewerModel()
    viewer.open(str(series(tmp_path / "a.ome.tif")), layer_type="image")
    workspace = Workspace(viewer, pump.post, Preferences(), tmp_path / "projects")
    workspace.begin()
    pump.until(lambda: workspace.store.project.images)
    (image,) = workspace.store.project.images
    assert (image.axes, image.spacing_um) == ("tyx", (0.5, 0.5))
    # once no earlier work was found, for which a thread looks
    pump.until(lambda: workspace.images.annotation_layer(image.id) is not None)
    workspace.close()


@pytest.mark.parametrize("count", [1, 2])
def test_labels_that_are_alone_in_a_file_are_its_only_image(
    bench: Bench, tmp_path: Path, count: int
) -> None:
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    for name in ("cells", "nuclei")[:count]:
        group = root.create_group(f"labels/{name}")
        group.attrs["multiscales"] = [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]
        group.create_array("0", data=np.ones((6, 7), np.uint8))
    layer = bench.as_if_from(tmp_path / "a.zarr", np.ones((6, 7), np.uint8))
    told = SourceFiles().read_now(layer)
    assert (told.axes, told.problem) == ("yx", "")
    assert any("several" in note for note in told.notes) == (count > 1)
