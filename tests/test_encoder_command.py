"""`napari-unet encoder`, with a server on this computer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import torch

from napari_unet.cli.main import main
from napari_unet.core.network.vgg import convolutions
from napari_unet.io import encoder_weights
from napari_unet.io.encoder_weights import PUBLISHED, encoder_folder, kept_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of random weights that a server publishes as VGG11's."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "site"
    folder.mkdir()
    path = folder / PUBLISHED["vgg11"].file
    weights = {}
    for conv in convolutions("vgg11"):
        weights[f"{conv.feature}.weight"] = torch.rand(conv.width, conv.channels, 3, 3)
        weights[f"{conv.feature}.bias"] = torch.rand(conv.width)
    torch.save(weights, path)
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(folder))
    ) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        source = replace(
            PUBLISHED["vgg11"],
            sha256=sha256(path.read_bytes()).hexdigest()[:8],
            site=f"http://127.0.0.1:{running.server_address[1]}/",
        )
        monkeypatch.setitem(encoder_weights.PUBLISHED, "vgg11", source)  # type: ignore[arg-type]
        yield path
        running.shutdown()
        thread.join()


def test_the_weights_are_fetched_once(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encoder", "vgg11"]) == 0
    told = capsys.readouterr().err
    assert f"/{file.name} (507 MB)" in told
    assert f"{kept_file('vgg11')}: the convolutions of VGG11 (37 MB)." in told
    # the rest is not needed any more
    assert list(encoder_folder().iterdir()) == [kept_file("vgg11")]
    file.unlink()
    assert main(["encoder", "vgg11"]) == 0
    assert "is here already" in capsys.readouterr().err
    kept = kept_file("vgg11")
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    assert main(["encoder", "vgg11"]) == 1
    assert "delete it, and fetch it again" in capsys.readouterr().err


def test_a_file_that_is_there_is_taken_and_stays(file: Path) -> None:
    assert main(["encoder", "vgg11", "--file", str(file)]) == 0
    assert kept_file("vgg11").is_file()
    assert file.is_file()


def test_a_file_put_by_hand_is_not_fetched_again(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder_folder().mkdir(parents=True)
    by_hand = file.rename(encoder_folder() / file.name)
    assert main(["encoder", "vgg11"]) == 0
    assert "fetching" not in capsys.readouterr().err
    assert by_hand.is_file()
    assert kept_file("vgg11").is_file()


def test_another_file_is_refused_in_one_sentence(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"x")
    for path, words in ((other, "as published"), (tmp_path / "none", "no file")):
        assert main(["encoder", "vgg11", "--file", str(path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
        assert str(path) in line
    assert not kept_file("vgg11").exists()


def test_without_the_file_on_the_site_it_is_told(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.unlink()
    assert main(["encoder", "vgg11"]) == 1
    assert "could not be fetched" in capsys.readouterr().err.splitlines()[-1]
