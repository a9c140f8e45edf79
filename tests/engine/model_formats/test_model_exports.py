from __future__ import annotations

import hashlib
import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
import yaml

from example_models import cropping_model, random_model
from napari_unet.cli.main import main
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.events import PredictionFinished
from napari_unet.core.images.grey_steps import Fixed, GreySteps, MinMax
from napari_unet.core.images.image import Image
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.opaque import Opaque
from napari_unet.core.publication import Publication
from napari_unet.core.settings import Prediction
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.model_formats.bioimageio.files import PackageFiles
from napari_unet.engine.model_formats.catalogue import (
    MODEL_FORMATS,
    format_of,
    read_model,
)
from napari_unet.engine.model_formats.plain_form import plain_network
from napari_unet.io.model_file import save_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

CPU = Prediction(device="cpu", precision="fp32")
NOBODY = Publication(authors=("A. Nobody", "B. Body"), licence="CC-BY-4.0")
DEEP = u_shape(ndim=2, channels=2, classes=3, width=2, depth=3, norm="batch")
FLAT = u_shape(ndim=3, channels=1, classes=2, width=2, depth=1, flat=(1, 0, 0))
SHAPES = {2: (70, 90), 3: (5, 40, 46)}


def image(table: Any, seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    shape = table.channels, *SHAPES[table.ndim]
    data = rng.uniform(30, 220, shape).astype(np.float32)
    return Image(data, "czyx" if table.ndim == 3 else "cyx")


def made(model: Model, seen: Image) -> NDArray[np.float32]:
    *_, last = predict(model, seen, settings=CPU)
    assert isinstance(last, PredictionFinished)
    return np.asarray(last.probabilities)


def written(name: str, model: Model, folder: Path) -> Path:
    """Write a model in a format, or skip where a package for that is not here."""
    if name != "torchscript":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    chosen = MODEL_FORMATS[name]
    path = folder / f"written{chosen.suffixes[0]}"
    chosen.write(model, path, NOBODY if chosen.is_published else None)
    return path


@pytest.mark.parametrize("table", [DEEP, FLAT], ids=["2d", "3d"])
@pytest.mark.parametrize("name", ["torchscript", "onnx"])
def test_one_file_says_what_it_needs(name: str, table: Any, tmp_path: Path) -> None:
    model = random_model(table)
    again = read_model(written(name, model, tmp_path))
    assert isinstance(again.card.architecture, Opaque)
    assert again.card.name == "written"
    assert again.card.classes == model.card.classes
    seen = image(table)
    np.testing.assert_allclose(made(again, seen), made(model, seen), atol=1e-5)


@pytest.mark.parametrize("name", ["torchscript", "onnx"])
def test_several_networks_are_one_file(name: str, tmp_path: Path) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
    members = [random_model(table, seed) for seed in (1, 2, 3)]
    weights = {
        f"{k}/{key}": weight
        for k, member in enumerate(members)
        for key, weight in member.weights.items()
    }
    model = Model(members[0].card.replace(members=3), weights)
    again = read_model(written(name, model, tmp_path))
    assert again.card.members == 1
    seen = image(table)
    np.testing.assert_allclose(made(again, seen), made(model, seen), atol=1e-5)


@pytest.mark.parametrize("name", ["torchscript", "onnx"])
def test_images_come_out_on_their_scale(name: str, tmp_path: Path) -> None:
    model = cropping_model(2, image=True)
    assert model.card.outputs is not None
    card = model.card.replace(
        outputs=model.card.outputs.replace(mean=(3.0, -1.0), sd=(2.0, 0.5)),
        training=model.card.training.with_task("regress"),
    )
    model = Model(card, model.weights)
    again = read_model(written(name, model, tmp_path))
    seen = image(card.architecture)
    np.testing.assert_allclose(made(again, seen), made(model, seen), atol=1e-4)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("more", [0, 1, 5])
def test_an_onnx_takes_any_size_and_batch(
    batch: int, more: int, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = random_model(DEEP)
    path = written("onnx", model, tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    size = (batch, 2, 104 + 8 * more, 104 + 16 * more)
    window = rng.normal(size=size).astype(np.float32)
    (found,) = session.run(["result"], {"image": window})
    with torch.inference_mode():
        expected = plain_network(model)(torch.from_numpy(window)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_onnx_is_valid_with_its_card(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = written("onnx", random_model(DEEP), tmp_path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [one.version for one in model.opset_import] == [17]
    assert [one.key for one in model.metadata_props] == ["napari_unet.json"]


@pytest.mark.parametrize("table", [DEEP, FLAT], ids=["2d", "3d"])
def test_a_package_of_ours_becomes_the_model_again(table: Any, tmp_path: Path) -> None:
    model = random_model(table)
    card = model.card.replace(spacing_um=(0.5,) * table.ndim, name="ä, model")
    path = written("bioimageio", Model(card, model.weights), tmp_path)
    again = read_model(path)
    assert again.card == card.replace(name="written")
    assert again.weights.keys() == model.weights.keys()
    for name, weight in model.weights.items():
        np.testing.assert_array_equal(again.weights[name], weight)
    with ZipFile(path) as package:
        package.extractall(tmp_path / "folder")
    assert read_model(tmp_path / "folder").card == card.replace(name="folder")


def test_a_package_describes_itself(tmp_path: Path) -> None:
    path = written("bioimageio", random_model(DEEP), tmp_path)
    files = PackageFiles(path)
    description = files.yaml()
    for part in (
        description["documentation"],
        description["covers"][0],
        description["inputs"][0]["test_tensor"],
        description["outputs"][0]["test_tensor"],
        *description["weights"].values(),
        description["weights"]["pytorch_state_dict"]["architecture"],
    ):
        content = files.read(part["source"])
        assert part["sha256"] == hashlib.sha256(content).hexdigest()
    assert [one["name"] for one in description["authors"]] == list(NOBODY.authors)
    assert description["license"] == "CC-BY-4.0"
    space = description["inputs"][0]["axes"][2:]
    assert [axis["size"] for axis in space] == [{"min": 104, "step": 8}] * 2
    assert [axis["halo"] for axis in description["outputs"][0]["axes"][2:]] == [48] * 2
    names = description["outputs"][0]["axes"][1]["channel_names"]
    assert names == ["background", "class_1", "class_2"]
    cover = files.read("cover.png")
    assert cover.startswith(b"\x89PNG")
    readme = files.read("README.md").decode()
    assert "## Validation" in readme
    assert "48 × 48 pixels" in readme


def test_the_weights_of_a_package_need_nothing_but_torch(tmp_path: Path) -> None:
    model = random_model(DEEP)
    path = written("bioimageio", model, tmp_path)
    with ZipFile(path) as package:
        package.extractall(tmp_path)
    source = (tmp_path / "network.py").read_text()
    assert "napari_unet" not in source
    entry = yaml.safe_load((tmp_path / "bioimageio.yaml").read_text())["weights"]
    architecture = entry["pytorch_state_dict"]["architecture"]
    spec = importlib.util.spec_from_file_location("network", tmp_path / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = getattr(module, architecture["callable"])(**architecture["kwargs"])
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    network.load_state_dict(state)
    network.eval()
    seen = torch.randn(1, 2, 112, 104)
    with torch.inference_mode():
        expected = plain_network(model)(seen)
        torch.testing.assert_close(network(seen), expected)


@pytest.mark.parametrize(
    ("steps", "notes"),
    [
        ((MinMax(low=1, high=99), Fixed(mean=0.5, sd=-2)), 0),
        # as milesial's program does it
        ((Fixed(sd=255, above=1),), 1),
    ],
)
def test_a_foreign_reading_of_our_package_gives_the_same(
    tmp_path: Path, steps: tuple[Any, ...], notes: int
) -> None:
    """As if it were of another program: by its yaml and its TorchScript."""
    model = random_model(DEEP)
    rule = GreySteps(steps=steps)
    model = Model(model.card.replace(normalisation=rule), model.weights)
    path = written("bioimageio", model, tmp_path)
    said = MODEL_FORMATS["bioimageio"].write(model, path, NOBODY)
    assert sum("other programs do this with every image" in s for s in said) == notes
    folder = tmp_path / "folder"
    with ZipFile(path) as package:
        package.extractall(folder)
    text = yaml.safe_load((folder / "bioimageio.yaml").read_text())
    del text["config"]
    (folder / "bioimageio.yaml").write_text(yaml.safe_dump(text))
    again = read_model(folder)
    assert isinstance(again.card.architecture, Opaque)
    assert again.card.architecture.border == (48, 48)
    seen = image(DEEP)
    np.testing.assert_allclose(made(again, seen), made(model, seen), atol=1e-4)


def test_channels_have_names_that_the_format_allows(tmp_path: Path) -> None:
    table = u_shape(ndim=2, channels=1, classes=5, width=2, depth=1)
    model = random_model(table)
    names = ("class 1", "class-1", "if", "3 cells")
    classes = tuple(ClassInfo(name=name) for name in names)
    path = written(
        "bioimageio",
        Model(model.card.replace(classes=classes), model.weights),
        tmp_path,
    )
    described = PackageFiles(path).yaml()["outputs"][0]["axes"][1]["channel_names"]
    assert described == [
        *("background", "class_1", "class_1_2", "class_if", "class_3_cells")
    ]
    assert [c.name for c in read_model(path).card.classes] == list(names)


@pytest.mark.parametrize("mean_of", ["probabilities", "scores"])
@pytest.mark.parametrize("name", ["torchscript", "onnx"])
def test_windows_are_blended_again(name: str, mean_of: str, tmp_path: Path) -> None:
    table = DEEP.replace(padded=True, window=(24, 32), norm="instance", mean_of=mean_of)
    members = [random_model(table, seed) for seed in (1, 2)]
    weights = {
        f"{k}/{key}": weight
        for k, member in enumerate(members)
        for key, weight in member.weights.items()
    }
    model = Model(members[0].card.replace(members=2), weights)
    again = read_model(written(name, model, tmp_path))
    network = again.card.architecture
    assert (network.window, network.min_input) == ((24, 32), (24, 32))
    seen = image(table)
    np.testing.assert_allclose(made(again, seen), made(model, seen), atol=1e-5)


@pytest.mark.parametrize("name", ["torchscript", "onnx", "bioimageio"])
def test_what_cannot_be_written_leaves_nothing(name: str, tmp_path: Path) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1).replace(
        window=(16, 16)
    )
    with pytest.raises(ValueError, match="not written for other programs"):
        written(name, random_model(table), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_others_set_the_middles_of_windows_side_by_side(tmp_path: Path) -> None:
    table = DEEP.replace(padded=True, window=(24, 32), norm="instance")
    model = random_model(table)
    steps = GreySteps(steps=(Fixed(mean=100.0, sd=50.0),))
    model = Model(model.card.replace(normalisation=steps), model.weights)
    path = written("bioimageio", model, tmp_path)
    assert read_model(path).card.architecture == table
    notes = MODEL_FORMATS["bioimageio"].write(model, path, NOBODY)
    assert any("middle halves of windows" in note for note in notes)
    files = PackageFiles(path)
    description = files.yaml()
    assert [axis["size"] for axis in description["inputs"][0]["axes"][2:]] == [24, 32]
    assert [axis["halo"] for axis in description["outputs"][0]["axes"][2:]] == [6, 8]
    assert "Its size is 24 × 32 pixels" in files.read("README.md").decode()
    folder = tmp_path / "folder"
    with ZipFile(path) as package:
        package.extractall(folder)
    del description["config"]
    (folder / "bioimageio.yaml").write_text(yaml.safe_dump(description))
    seen = image(table)
    found = made(read_model(folder), seen)
    window = (seen.read()[None, :, 6:30, 8:40] - 100) / 50
    with torch.inference_mode():
        expected = plain_network(model)(torch.from_numpy(window)).numpy()
    np.testing.assert_allclose(
        found[:, 12:24, 16:32], expected[0, :, 6:18, 8:24], atol=1e-5
    )


def test_a_script_that_says_nothing_is_refused(tmp_path: Path) -> None:
    model = random_model(DEEP)
    path = written("torchscript", model, tmp_path)
    bare = tmp_path / "bare.pt"
    with ZipFile(path) as one, ZipFile(bare, "w") as other:
        for part in one.infolist():
            if "/extra/" not in part.filename:
                other.writestr(part, one.read(part))
    with pytest.raises(ValueError, match="does not say what it needs: which sizes"):
        read_model(bare)


def test_an_onnx_that_says_nothing_or_is_none_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = written("onnx", random_model(DEEP), tmp_path)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match=r"bare\.onnx: ONNX that does not say"):
        read_model(tmp_path / "bare.onnx")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.onnx: is no ONNX.*\.$"):
        read_model(tmp_path / "cut.onnx")
    assert format_of(tmp_path / "bare.onnx") is MODEL_FORMATS["onnx"]


def test_a_card_of_another_network_is_refused(tmp_path: Path) -> None:
    model = random_model(DEEP)
    path = written("torchscript", model, tmp_path)
    for text, said in (
        (model.card.model_dump_json(), "is that of another network"),
        ("{}", "is damaged"),
        ("[", "no JSON"),
    ):
        other = tmp_path / "other.pt"
        with ZipFile(path) as one, ZipFile(other, "w") as file:
            for part in one.infolist():
                extra = "/extra/" in part.filename
                file.writestr(part, text if extra else one.read(part))
        with pytest.raises(ValueError, match=said):
            read_model(other)


def test_weights_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    path = written("bioimageio", random_model(DEEP), tmp_path)
    folder = tmp_path / "folder"
    with ZipFile(path) as package:
        package.extractall(folder)
    text = yaml.safe_load((folder / "bioimageio.yaml").read_text())
    weights = text["weights"]["pytorch_state_dict"]

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "touched",)

    whole = torch.load(folder / "weights.pt", weights_only=True)
    name = next(iter(whole))
    claimed, sparse = torch.zeros(1).expand(2**40), whole[name].to_sparse()
    for state, said in (
        (Evil(), "nothing of it is run here"),
        ([1, 2], "holds list, not the weights"),
        ({"a": 1}, f"there is no tensor {name}"),
        (whole | {name: claimed}, "is of 1099511627776"),
        (whole | {name: sparse}, "does not hold plain numbers"),
        (whole | {name: whole[name].to("meta")}, "does not hold plain numbers"),
        (whole | {"members.1.a": whole[name]}, "which the network has not"),
    ):
        with io.BytesIO() as buffer:
            torch.save(state, buffer)
            content = buffer.getvalue()
        (folder / "weights.pt").write_bytes(content)
        weights["sha256"] = hashlib.sha256(content).hexdigest()
        (folder / "bioimageio.yaml").write_text(yaml.safe_dump(text))
        with pytest.raises(ValueError, match=said):
            read_model(folder)
    assert not (tmp_path / "touched").exists()


def test_the_command_line_writes_and_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = random_model(DEEP)
    save_model(model, tmp_path / "own.safetensors")
    own, script = str(tmp_path / "own.safetensors"), str(tmp_path / "cells.pt")
    assert main(["export-model", own, script, "--format", "torchscript"]) == 0
    assert "multiples of 8 × 8 pixels, at least 104 × 104" in capsys.readouterr().out
    assert main(["info", script]) == 0
    said = capsys.readouterr().out
    assert "2-D network in TorchScript, which runs as it is" in said
    again = str(tmp_path / "again.safetensors")
    assert main(["convert", script, again]) == 0
    seen = image(DEEP)
    np.testing.assert_allclose(
        made(read_model(again), seen), made(model, seen), atol=1e-5
    )
    command = ["export-model", own, str(tmp_path / "p.zip"), "--format", "bioimageio"]
    assert main(command) == 1
    assert "needs --author and --licence" in capsys.readouterr().err
    for author in (" ", "A/B"):
        assert main([*command, "--author", author, "--licence", "MIT"]) == 1
        assert "authors are names without slashes, none" in capsys.readouterr().err
    assert main([*command, "--author", "A", "--licence", "my own"]) == 1
    assert "licence is one of CC0-1.0, CC-BY-3.0, CC-BY-4.0" in capsys.readouterr().err
    assert not (tmp_path / "p.zip").exists()
    command = ["export-model", again, str(tmp_path / "x.pt"), "--format", "torchscript"]
    assert main(command) == 1
    assert "it is of another program" in capsys.readouterr().err


def test_at_which_size_images_are_seen_is_said_and_comes_back(tmp_path: Path) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    kept = model.card.segmentation.replace(smallest_piece=9)
    training = model.card.training.replace(scale=0.5)
    card = model.card.replace(training=training, segmentation=kept)
    model, path = Model(card, model.weights), tmp_path / "half.pt"
    notes = MODEL_FORMATS["torchscript"].write(model, path)
    assert any("images at 0.5 times their size" in note for note in notes)
    assert "Other programs keep all pieces of regions." in notes
    seen = image(model.card.architecture)
    again = made(read_model(path), seen)
    assert again.shape == (2, 70, 90)
    np.testing.assert_allclose(again, made(model, seen), atol=1e-5)
