"""OME-Zarr on an S3 server that the tests start, and by HTTP."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.events import FilePredicted
from napari_unet.engine.uploading import uploaded
from napari_unet.io.export import write_labels
from napari_unet.io.images import find, read_image
from napari_unet.io.names import image_name
from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.provenance import Provenance, content_stamp
from napari_unet.io.remote import is_remote, sizes, upload, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket."""
    server_module = pytest.importorskip("moto.server")
    obstore = pytest.importorskip("obstore")
    del obstore
    import boto3

    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
        }.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="lab")
        yield "s3://lab"
    server.stop()


def write(path: Path, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 9, (600, 700)).astype(np.uint8)
    write_labels(path, pixels, "yx", (0.5, 0.25))
    return pixels


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://lab/a.zarr", "s3://lab/a.zarr"),
        (Path("https://host/plate/a.zarr"), "https://host/plate/a.zarr"),
    ],
)
def test_a_url_stays_one_as_a_path(text: str | Path, url: str) -> None:
    assert is_remote(text)
    assert url_of(text) == url
    assert find([str(text)]) == [Path(text)]
    assert image_name(Path(text)) == "a"


@pytest.mark.parametrize("text", ["a.zarr", "/s3/a.zarr", "C:/a.zarr", "s4://a"])
def test_a_path_is_no_url(text: str) -> None:
    assert not is_remote(text)
    with pytest.raises(ValueError, match="a URL begins with one of s3"):
        url_of(text)


def test_an_image_goes_to_s3_and_comes_back(tmp_path: Path, bucket: str) -> None:
    pixels = write(tmp_path / "a.zarr")
    target = f"{bucket}/there/a.zarr"
    shares = list(upload(tmp_path / "a.zarr", target))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    image = read_image(target)
    assert (image.spacing_um, image.axes, image.name) == ((0.5, 0.25), "yx", "a")
    np.testing.assert_array_equal(image.read(), pixels)
    before = content_stamp(Path(target))
    assert content_stamp(Path(target)) == before
    # another one in its place leaves nothing of the first
    other = write(tmp_path / "b.zarr", seed=1)
    list(upload(tmp_path / "b.zarr", target))
    np.testing.assert_array_equal(read_image(target).read(), other)
    assert content_stamp(Path(target)) != before


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_an_upload_replaces_only_results_and_only_on_demand(
    tmp_path: Path, bucket: str, suffix: str
) -> None:
    file, url = tmp_path / f"a.{suffix}", f"{bucket}/{suffix}"
    if suffix == "zarr":
        file.mkdir()
    folder = PredictionFolder(tmp_path / "out", ("instances", "table", "ctc"))

    def make(seed: int) -> None:
        made = Provenance(file.name, "1", "m", "2", {"seed": seed})
        labels = np.random.default_rng(seed).integers(0, 9, (60, 70))
        write_labels(folder.ready_target(file, "instances"), labels, "yx", made=made)
        with folder.placed(file, "table", made) as path:
            path.write_text("label\n" * (seed + 1))
        with folder.placed(file, "ctc", made) as path:
            path.mkdir()
            (path / "res_track.txt").write_text("1 0 0 0\n" * (seed + 1))

    def problem(*, overwrite: bool = False) -> str:
        done = FilePredicted(str(file), 1, 1.0)
        *_, last = uploaded(iter([done]), folder, url, overwrite=overwrite)
        assert isinstance(last, FilePredicted)
        return last.problem or ""

    make(0)
    assert problem() == problem() == ""
    before = sizes(url)
    make(1)
    assert f"{url}/instances/a.{suffix}: is there already and is not" in problem()
    assert sizes(url) == before
    assert problem(overwrite=True) == ""
    assert sizes(url) == sizes(folder.folder)
    # what people put there
    make(2)
    write_labels(tmp_path / f"mine.{suffix}", np.ones((3, 4), int), "yx")
    (tmp_path / "mine.csv").write_text("mine")
    (tmp_path / "mine.txt").write_text("mine")
    for source, name in (
        (f"mine.{suffix}", f"instances/a.{suffix}"),
        ("mine.csv", "table/a.csv"),
        ("mine.txt", "ctc/a_RES/res_track.txt"),
    ):
        list(upload(tmp_path / source, f"{url}/{name}"))
        before = sizes(url)
        told = problem(overwrite=True)
        place = f"{url}/{name.removesuffix('/res_track.txt')}"
        assert f"{place}: is there already and does not tell that napari-" in told
        assert sizes(url) == before
        list(upload(folder.folder / name, f"{url}/{name}"))


def test_an_upload_that_broke_off_is_done_again(tmp_path: Path, bucket: str) -> None:
    write(tmp_path / "a.zarr")
    url = f"{bucket}/broken/instances/a.zarr"
    target = tmp_path / "out" / "instances" / "a.zarr"
    made = Provenance("a.zarr", "1", "m", "2", {})
    target.parent.mkdir(parents=True)
    write_labels(target, np.ones((600, 700), int), "yx", made=made)
    half = upload(target, url)
    next(half)
    half.close()
    assert 0 < len(sizes(url)) < len(sizes(target))
    folder = PredictionFolder(tmp_path / "out", ("instances",))
    done = FilePredicted(str(tmp_path / "a.zarr"), 1, 1.0)
    *_, last = uploaded(iter([done]), folder, f"{bucket}/broken/")
    assert last == done
    assert sizes(url) == sizes(target)


def test_what_is_not_on_s3_is_told(bucket: str) -> None:
    with pytest.raises(ValueError, match=r"none\.zarr: .*holds no OME-Zarr image"):
        read_image(f"{bucket}/none.zarr")


def test_an_image_is_read_by_http(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    pixels = write(tmp_path / "a.zarr")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/a.zarr"
        np.testing.assert_array_equal(read_image(url).read(), pixels)
        assert content_stamp(Path(url)) == content_stamp(Path(url))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_host_that_is_not_there_is_told_in_a_sentence() -> None:
    """Of the class that a disk's errors have: a cluster tries such again."""
    pytest.importorskip("obstore")
    with pytest.raises(OSError, match=r"x\.zarr: cannot be read, .* cannot be reached"):
        read_image("http://127.0.0.1:9/x.zarr")
