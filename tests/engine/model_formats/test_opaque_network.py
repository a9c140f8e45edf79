from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.model_formats.opaque_models import (
    Filter,
    filtered,
    opaque_model,
    script_of,
)
from napari_unet.core.events import PredictionFinished
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.settings import Prediction
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.model import Model

CPU = Prediction(device="cpu")
TILES = {
    "it loses its border": (
        {"padded": False},
        {"smallest": (5, 5), "growth": (1, 1), "lost": (2, 2), "border": (2, 2)},
    ),
    "it keeps the size": (
        {"padded": True},
        {"smallest": (8, 8), "growth": (4, 4), "border": (2, 2)},
    ),
    "its border is larger than needed": (
        {"padded": True},
        {"smallest": (16, 16), "growth": (4, 4), "border": (5, 5)},
    ),
    "it has one size": (
        {"padded": True, "only_size": 20},
        {"smallest": (20, 20), "growth": (0, 0), "border": (3, 3)},
    ),
    "it has one odd size and loses its border": (
        {"padded": False, "only_size": 21},
        {
            "smallest": (21, 21),
            "growth": (0, 0),
            "lost": (2, 2),
            "border": (2, 2),
        },
    ),
}


def pixels(shape: tuple[int, ...] = (50, 71), seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0, 9, shape).astype(np.float32)


def made(model: Model, image: Any, **settings: Any) -> NDArray[np.float32]:
    *_, last = predict(model, image, settings=CPU.replace(**settings))
    assert isinstance(last, PredictionFinished)
    return np.asarray(last.probabilities)


@pytest.mark.parametrize("case", TILES)
@pytest.mark.parametrize("tile", [0, 24])
def test_tiles_give_what_the_whole_mirrored_image_would(case: str, tile: int) -> None:
    details, sizes = TILES[case]
    model = opaque_model(script_of(Filter(**details)), image=True, **sizes)
    image = Image(pixels(), "yx")
    scale = measure(image, 0, model.card.normalisation)
    seen = scale.apply(image.data[None])[0]  # type: ignore[index]
    found = made(model, image, tile=tile)
    np.testing.assert_allclose(found[0], filtered(seen), atol=1e-5)


def test_without_a_border_the_plan_of_tiles_changes_nothing() -> None:
    sizes: dict[str, Any] = {"smallest": (4, 4), "growth": (4, 4), "border": (0, 0)}
    model = opaque_model(script_of(Filter(padded=True)), image=True, **sizes)
    assert model.card.architecture.window == (256, 256)
    image = pixels((300, 40))
    whole = made(model, image)
    np.testing.assert_array_equal(made(model, image, tile=64), whole)


class Given(nn.Module):
    """Gives the image's channels back."""

    def forward(self, x: Tensor) -> Tensor:
        return x


PIXEL = {"smallest": (1, 1), "growth": (1, 1), "border": (0, 0)}


@pytest.mark.parametrize(
    ("fields", "values", "expected"),
    [
        # shares of each class, also if they do not add up to 1
        ({"classes": 3}, [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
        ({"classes": 2}, [0.0, 1.0], [0.0, 1.0]),
        ({"classes": 2}, [0.2, 0.6], [0.25, 0.75]),
        ({"classes": 2}, [0.0, 0.0], [0.5, 0.5]),
        # beyond 0 and 1 by rounding
        ({"classes": 2}, [-1e-7, 1.0000001], [0.0, 1.0]),
        ({"classes": 2, "activation": "softmax"}, [1, 1 + np.log(3)], [0.25, 0.75]),
        ({"classes": 2, "only_foreground": True}, [0.7], [0.3, 0.7]),
        (
            {"classes": 2, "only_foreground": True, "activation": "sigmoid"},
            [np.log(4)],
            [0.2, 0.8],
        ),
        (
            {"classes": 2, "only_foreground": True, "activation": "sigmoid"},
            [-200],
            [1.0, 0.0],
        ),
    ],
)
def test_what_comes_out_becomes_probabilities(
    fields: dict[str, Any], values: list[float], expected: list[float]
) -> None:
    window = np.array(values, np.float32).reshape(-1, 1, 1) + np.zeros((1, 4, 4))
    model = opaque_model(
        script_of(Given()), channels=len(values), **{**PIXEL, **fields}
    )
    found = prepare(model, "cpu").of_patch(window.astype(np.float32))
    np.testing.assert_allclose(found[:, 1, 2], expected, atol=1e-6)


def test_an_image_keeps_its_values_but_for_the_activation() -> None:
    content = script_of(Given())
    window = pixels((2, 4, 4)) - 4
    for activation, expected in (
        ("none", window),
        ("sigmoid", 1 / (1 + np.exp(-window))),
    ):
        model = opaque_model(
            content, image=True, channels=2, classes=2, activation=activation, **PIXEL
        )
        found = prepare(model, "cpu").of_patch(window)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_one_file_of_ours_holds_it(tmp_path: Path) -> None:
    details, sizes = TILES["it keeps the size"]
    model = opaque_model(script_of(Filter(**details)), **sizes)
    save_model(model, tmp_path / "foreign.safetensors")
    again = load_model(tmp_path / "foreign.safetensors")
    assert again.card == model.card.replace(name="foreign")
    image = pixels()
    np.testing.assert_array_equal(made(again, image), made(model, image))


def test_it_runs_in_32_bits() -> None:
    model = opaque_model(script_of(Filter(padded=True)), **PIXEL)
    assert prepare(model, "cpu").precision == "fp32"
    with pytest.raises(ValueError, match="in fp32; found precision 'bf16'"):
        prepare(model, "cpu", "bf16")


def test_what_is_not_as_described_is_refused() -> None:
    content = script_of(Filter(padded=False))
    model = opaque_model(content, smallest=(8, 8), growth=(1, 1), border=(2, 2))
    with pytest.raises(ValueError, match=r"gives an array of 1 × 1 × .*, its desc"):
        made(model, pixels())
    content = script_of(Filter(padded=True, only_size=30))
    model = opaque_model(content, smallest=(20, 20), growth=(0, 0), border=(2, 2))
    with pytest.raises(ValueError, match=r"cannot be run .* of 20 × 20 pixels: .*size"):
        made(model, pixels())


class Writes(nn.Module):
    """Would write a file whenever it is run."""

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "written.pt")
        return x


class WritesWhenLoaded(nn.Module):
    """Would write a file as soon as it is loaded."""

    @torch.jit.export
    def __getstate__(self) -> Tensor:
        return torch.zeros(1)

    @torch.jit.export
    def __setstate__(self, state: Tensor) -> None:
        torch.save(state, "written.pt")

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("kind", [Writes, WritesWhenLoaded])
def test_a_script_that_writes_files_is_not_even_loaded(
    kind: type[nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = opaque_model(script_of(kind()), **PIXEL)
    with pytest.raises(ValueError, match="reads or writes files, and is not run"):
        prepare(model, "cpu", file="foreign.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (".py", 'torch.save(x, "written")'),
        (".py", 'torch .save(x, "written")'),
        (".py", 'ops.aten. save(x, "written")'),
        (".py", 'torch. from_file("written", True, 16)'),
        # torch finds it by its name in small letters
        (".PY", 'torch.save(x, "written")'),
    ],
)
def test_no_spelling_lets_a_script_write_files(
    end: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        BytesIO() as buffer,
        ZipFile(BytesIO(script_of(Given()))) as given,
        ZipFile(buffer, "w") as made,
    ):
        for part in given.namelist():
            inside = given.read(part)
            if part.endswith(".py"):
                made.writestr("archive/code/other.py", inside)
                inside = inside.replace(b"return", f"_0 = {line}\n    return".encode())
                part = part.replace(".py", end)
            if not part.endswith(".debug_pkl"):
                made.writestr(part, inside)
        made.close()
        content = buffer.getvalue()
    with pytest.raises(ValueError, match="reads or writes files, and is not run"):
        prepare(opaque_model(content, **PIXEL), "cpu", file="foreign.pt")
    assert list(tmp_path.iterdir()) == []


def _damaged_inside() -> bytes:
    """A zip whose list of parts is whole, but not what they are packed into."""
    content = bytearray(_zip(code__x=b"x = 1\n" * 100))
    start = content.index(b"code/x.py") + len("code/x.py")
    content[start : start + 4] = b"\xff" * 4
    return bytes(content)


def _zip(**parts: bytes) -> bytes:
    with BytesIO() as buffer:
        with ZipFile(buffer, "w", ZIP_DEFLATED) as file:
            for name, content in parts.items():
                file.writestr(name.replace("__", "/") + ".py", content)
        return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip at all",
        _zip(),
        _zip(code__x=b"x = 1"),
        _damaged_inside(),
        script_of(Filter(padded=True))[:-300],
        script_of(Filter(padded=True))[:2000],
    ],
)
def test_broken_files_are_one_sentence(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^bad\.pt: is no TorchScript[^\n]*\.$"):
        prepare(opaque_model(content, **PIXEL), "cpu", file="bad.pt")


class Flattened(nn.Module):
    """Convolves, and depends on how its map lies in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).view(-1).view(1, 3, x.shape[2], x.shape[3])


def test_a_script_that_bears_no_other_layout_runs_as_it_is() -> None:
    network = Flattened().eval()
    model = opaque_model(
        script_of(network), image=True, channels=2, classes=3, **{**PIXEL}
    )
    window = pixels((2, 6, 5))
    ready = prepare(model, "cpu")
    with torch.inference_mode():
        expected = network(torch.from_numpy(window)[None])[0].numpy()
    for _ in range(2):
        np.testing.assert_allclose(ready.of_patch(window), expected, atol=1e-5)
