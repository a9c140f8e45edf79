"""Finding, fetching and keeping weights, with a server on this computer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save

from napari_unet.io import encoder_weights
from napari_unet.io.encoder_weights import (
    PUBLISHED,
    encoder_folder,
    fetch,
    find_weights,
    keep_weights,
    kept_file,
    read_kept,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = np.random.default_rng(0).bytes(3_000_000)
FILE = "vgg11-8a719046.pth"
NAME = {"encoder": "vgg11"}
ORIGIN = "8a719046" + 56 * "0"


class Server(ThreadingHTTPServer):
    """Serves one content; says that it is larger, or that there is none."""

    content = CONTENT
    missing = 0
    status = 200


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.content) + server.missing))
        self.end_headers()
        try:
            self.wfile.write(server.content)
        except ConnectionError:
            assert self.path == f"/{FILE}"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of a file that is published with the hash of `CONTENT`."""
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        publish(monkeypatch, running.server_address[1])
        yield running
        running.shutdown()
        thread.join()


def publish(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    source = replace(
        PUBLISHED["vgg11"],
        sha256=sha256(CONTENT).hexdigest()[:8],
        size=len(CONTENT),
        site=f"http://127.0.0.1:{port}/",
    )
    monkeypatch.setattr(encoder_weights, "PUBLISHED", {"vgg11": source})


def left() -> list[str]:
    return [path.name for path in encoder_folder().iterdir()]


def test_the_published_files_are_torchvisions() -> None:
    # the names hold the hashes
    for source in PUBLISHED.values():
        assert source.file.endswith(f"-{source.sha256}.pth")
        assert len(source.sha256) == 8


def test_a_file_is_fetched_whole(server: Server) -> None:
    steps = list(fetch("vgg11"))
    assert steps == sorted(steps)
    assert steps[-1] == len(CONTENT)
    assert len(steps) >= 3
    assert (encoder_folder() / FILE).read_bytes() == CONTENT
    assert left() == [FILE]


def test_another_file_is_refused_and_not_kept(server: Server) -> None:
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(ValueError, match=f"127.0.0.1.*{FILE}: is not {FILE} as publ"):
        list(fetch("vgg11"))
    assert left() == []


def test_a_connection_that_breaks_off_leaves_nothing(server: Server) -> None:
    server.content, server.missing = CONTENT[:2_000_000], 1_000_000
    with pytest.raises(ValueError, match=r"could not be fetched.*2000000 of 3000000"):
        list(fetch("vgg11"))
    assert left() == []


def test_what_the_server_refuses_is_told(server: Server) -> None:
    server.status = 404
    with pytest.raises(ValueError, match=r"127\.0\.0\.1 \(HTTP Error 404"):
        list(fetch("vgg11"))
    assert left() == []


def test_without_a_connection_the_sentence_says_what_can_be_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Server(("127.0.0.1", 0), Handler) as gone:
        port = gone.server_address[1]
    publish(monkeypatch, port)
    with pytest.raises(ValueError, match=r"no connection to 127\.0\.0\.1") as caught:
        list(fetch("vgg11"))
    sentence = str(caught.value)
    assert "VGG11 (3 MB) could not be fetched" in sentence
    assert f"put {FILE} into {encoder_folder()}" in sentence
    assert sentence.endswith("begin with random weights (encoder none).")
    assert left() == []


def test_stopped_midway_nothing_is_left(server: Server) -> None:
    with closing(fetch("vgg11")) as job:
        assert 0 < next(job) < len(CONTENT)
    assert left() == []


def test_the_file_that_was_there_stays_if_another_cannot_be_fetched(
    server: Server,
) -> None:
    list(fetch("vgg11"))
    server.content = b"something else"
    with pytest.raises(ValueError, match="not all of it"):
        list(fetch("vgg11"))
    assert (encoder_folder() / FILE).read_bytes() == CONTENT


def test_weights_are_looked_for_in_our_folder_first(tmp_path: Path) -> None:
    hub = tmp_path / "torch" / "hub" / "checkpoints" / FILE
    by_hand = encoder_folder() / FILE
    for place in (hub, by_hand, kept_file("vgg11")):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert find_weights("vgg11") == place


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"XDG_CACHE_HOME": "cache"}, "cache/torch"),
        ({"HOME": "person", "USERPROFILE": "person"}, "person/.cache/torch"),
    ],
)
def test_the_cache_of_torch_is_where_torch_has_it(
    variables: dict[str, str],
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    hub = tmp_path / folder / "hub" / "checkpoints" / FILE
    hub.parent.mkdir(parents=True)
    hub.touch()
    assert find_weights("vgg11") == hub


def test_nothing_is_fetched_unasked(server: Server) -> None:
    with pytest.raises(FileNotFoundError, match="napari-unet encoder vgg11") as caught:
        find_weights("vgg11")
    assert "(3 MB)" in str(caught.value)
    assert f"put {FILE} into {encoder_folder()}" in str(caught.value)
    assert not encoder_folder().exists()


def test_what_is_kept_is_read_again() -> None:
    weights = {"features.0.bias": np.arange(3, dtype=np.float32)}
    file = keep_weights("vgg11", weights, ORIGIN)
    assert file == kept_file("vgg11")
    found = read_kept("vgg11", file)
    np.testing.assert_array_equal(found.pop("features.0.bias"), [0, 1, 2])
    assert not found


def test_another_or_a_damaged_file_is_refused() -> None:
    file = keep_weights("vgg11", {"a": np.zeros(9, np.float32)}, ORIGIN)
    with pytest.raises(ValueError, match="does not hold the weights of vgg16"):
        read_kept("vgg16", file)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match="cannot be read"):
        read_kept("vgg11", file)


def test_what_changed_since_it_was_kept_is_refused() -> None:
    file = keep_weights("vgg11", {"a": np.zeros(9, np.float32)}, ORIGIN)
    whole = file.read_bytes()
    # a bit of the last value
    file.write_bytes(whole[:-1] + b"\x40")
    with pytest.raises(ValueError, match=f"is not what was kept of {FILE}: its hash"):
        read_kept("vgg11", file)
    # the same values under another name
    file.write_bytes(whole.replace(b'"a":', b'"b":'))
    with pytest.raises(ValueError, match="fetch it again with 'napari-unet encoder"):
        read_kept("vgg11", file)
    # as by another program, or of another file
    for about in ({}, {"sha256": "0" * 64, "origin": ORIGIN}):
        file.write_bytes(save({"a": np.zeros(9, np.float32)}, NAME | about))
        with pytest.raises(ValueError, match=r"noted is (none|00000000); delete it"):
            read_kept("vgg11", file)
    other = keep_weights("vgg11", {"a": np.zeros(9, np.float32)}, "abc")
    with pytest.raises(ValueError, match="noted to be of another file, abc; delete"):
        read_kept("vgg11", other)
