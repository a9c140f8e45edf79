from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast
from zlib import crc32

import numpy as np
import psutil
import pytest
import torch
from safetensors.numpy import load_file, save, save_file

from example_models import random_model
from napari_unet.core.images.grey_steps import ClipPercentiles, GreySteps, ZScore
from napari_unet.core.model import Model, Progress, Score
from napari_unet.core.network.architecture import Level, u_shape
from napari_unet.core.network.catalogue import KINDS
from napari_unet.core.network.geometry import Layered
from napari_unet.core.network.layers import Drawing
from napari_unet.core.network.residual_unet import ResidualUNet
from napari_unet.io.model_file import (
    FORMAT,
    VERSION,
    Checkpoint,
    load_checkpoint,
    load_model,
    read_card,
    save_checkpoint,
    save_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = u_shape(ndim=2, channels=2, classes=3, width=3, depth=1, norm="batch")
MODEL = random_model(TABLE)
X = np.zeros(3, np.float32)
# as the program wrote them when U-Nets were all it had
OLD_CARDS = (
    Path(__file__).with_name("cards_of_format_1.txt").read_text("utf-8").splitlines()
)
BOTTOM: dict[str, Any] = {"kernel": (3, 3), "pool": (1, 1)}
READERS = [load_model, load_checkpoint, read_card]


def same(a: Model, b: Model) -> None:
    # the name is the file's
    assert a.card.replace(name="") == b.card.replace(name="")
    assert a.weights.keys() == b.weights.keys()
    for name, weight in a.weights.items():
        assert b.weights[name].dtype == weight.dtype, name
        assert b.weights[name].shape == weight.shape, name
        assert b.weights[name].tobytes() == weight.tobytes(), name


def header(**changes: str | None) -> dict[str, str]:
    whole: dict[str, str | None] = {
        "format": FORMAT,
        "version": str(VERSION),
        "card": MODEL.card.model_dump_json(),
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        u_shape(ndim=3, channels=1, classes=2, width=2, depth=2, flat=(1, 0, 0)),
    ],
    ids=["batch norm", "3-D"],
)
def test_a_model_comes_back_bit_for_bit(table: Any, tmp_path: Path) -> None:
    model = random_model(table)
    score = Score(loss=1 / 3, iou=0.1, pixels=10)
    history = (Progress(step=1, seconds=0.1, loss=2 / 3, score=score),)
    model = Model(model.card.replace(name="a", history=history), model.weights)
    save_model(model, tmp_path / "a.safetensors")
    same(load_model(tmp_path / "a.safetensors"), model)
    same(load_model(str(tmp_path / "a.safetensors")), model)
    assert read_card(tmp_path / "a.safetensors") == model.card
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_model_of_before_there_were_two_rules_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    card = MODEL.card.model_dump(mode="json")
    assert card["normalisation"] == "structure"
    card["normalisation"] = "clip 0.1 and 99.9 percentiles, mean 0, sd 1, per frame"
    weights = {f"weights/{name}": np.asarray(w) for name, w in MODEL.weights.items()}
    path.write_bytes(save(weights, metadata=header(card=json.dumps(card))))
    model = load_model(path)
    assert model.card.normalisation == read_card(path).normalisation == "frame"
    save_model(model, path)
    assert read_card(path).normalisation == "frame"


def test_a_rule_of_steps_comes_back_and_is_none_for_older_programs(
    tmp_path: Path,
) -> None:
    steps = (ClipPercentiles(low=1, high=99.8), ZScore(channels=(1,), eps=1e-6))
    rule = GreySteps(steps=steps, each_slice=True)
    model = Model(MODEL.card.replace(normalisation=rule), MODEL.weights)
    path = tmp_path / "a.safetensors"
    save_model(model, path)
    same(load_model(path), model)
    assert told(path)["version"] == "2"
    card = json.loads(told(path)["card"])
    card["normalisation"]["steps"][0]["step"] = "later"
    weights = {f"weights/{name}": np.asarray(w) for name, w in MODEL.weights.items()}
    path.write_bytes(save(weights, metadata=header(card=json.dumps(card))))
    with pytest.raises(ValueError, match="normalisation"):
        read_card(path)


def test_the_file_is_safetensors_with_a_json_header_for_any_reader(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.safetensors"
    save_model(MODEL, path)
    tensors = load_file(path)
    assert set(tensors) == {f"weights/{name}" for name in MODEL.weights}
    assert told(path)["format"] == "napari-unet model"
    assert json.loads(told(path)["card"])["architecture"]["channels"] == 2


def test_weights_in_any_memory_order_are_written_right(tmp_path: Path) -> None:
    weights = {n: np.asfortranarray(w) for n, w in MODEL.weights.items()}
    save_model(Model(MODEL.card, weights), tmp_path / "a.safetensors")
    loaded = load_model(tmp_path / "a.safetensors")
    for name, weight in MODEL.weights.items():
        np.testing.assert_array_equal(loaded.weights[name], weight)


def test_a_checkpoint_comes_back_and_is_a_model_too(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    state = {"module/x": np.arange(6.0).reshape(2, 3), "step": np.array(7, np.int64)}
    save_checkpoint(Checkpoint(MODEL, state, '{"step": 7}'), path)
    checkpoint = load_checkpoint(path)
    same(checkpoint.model, MODEL)
    assert checkpoint.progress == '{"step": 7}'
    assert checkpoint.tensors.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], tensor)
        assert checkpoint.tensors[name].dtype == tensor.dtype
    same(load_model(path), MODEL)
    assert read_card(path) == MODEL.card.replace(name=path.stem)


def test_a_finished_model_is_no_checkpoint(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="is a finished model, not a checkpoint"):
        load_checkpoint(tmp_path / "a.safetensors")


def refused(path: Path, message: str) -> None:
    """Each reader says it in one line that names the file."""
    for read in READERS:
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        told = str(caught.value)
        assert told.startswith(str(path))
        assert told.endswith(".")
        assert "\n" not in told


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 3000, -100, -1])
def test_a_truncated_file_is_told_wherever_it_ends(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_model(MODEL, path)
    whole = path.read_bytes()
    assert len(whole) > 3100
    path.write_bytes(whole[:kept])
    refused(path, "is not a napari-unet model, or is damaged or incomplete")


class Trap:
    """Makes a folder when a pickle of it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def _torch_file(trap: Trap) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weights": torch.zeros(3), "trap": trap}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("write", [pickle.dumps, _torch_file])
def test_loading_a_pickle_runs_nothing_of_it(
    write: Callable[[Trap], bytes], name: str, tmp_path: Path
) -> None:
    trap = tmp_path / "ran"
    (tmp_path / name).write_bytes(write(Trap(trap)))
    refused(tmp_path / name, "is not a napari-unet model, or is damaged")
    assert not trap.exists()
    # the trap is one: pickle falls into it
    pickle.loads(pickle.dumps(Trap(trap)))
    assert trap.exists()


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_are_no_model(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(np.random.default_rng(seed).bytes(5000))
    refused(path, "is not a napari-unet model, or is damaged")
    # also with the length of a header that could be
    path.write_bytes((200).to_bytes(8, "little") + path.read_bytes())
    refused(path, "is not a napari-unet model, or is damaged")


@pytest.mark.parametrize(
    ("metadata", "told"), [(None, "None"), ({"format": "pt"}, "'pt'")]
)
def test_safetensors_of_others_are_told_from_models(
    metadata: dict[str, str] | None, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weights/x": np.zeros(3)}, path, metadata=metadata)
    refused(path, f"not a napari-unet model: its format is {told}, expected")


@pytest.mark.parametrize("version", [str(VERSION + 1), "99"])
def test_a_file_of_a_newer_format_says_what_to_do(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"x": np.zeros(3)}, metadata=header(version=version)))
    refused(path, f"has model format {version}, .* reads formats up to {VERSION}; ins")


class Strange(Layered):
    """A network that is no table of levels."""

    kind: Literal["strange"] = "strange"
    width: int = 2

    def draw(self) -> Drawing:
        net = Drawing(2, self.channels)
        net.scores = net.conv(0, self.classes, 3, "score")
        return net


def told(path: Path) -> dict[str, str]:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    metadata: dict[str, str] = json.loads(raw[8 : 8 + length])["__metadata__"]
    return metadata


@pytest.mark.parametrize("text", OLD_CARDS)
def test_what_old_programs_know_is_written_as_they_wrote_it(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"weights/x": X}, metadata=header(card=text, version="1")))
    save_model(load_model(path), path)
    assert told(path)["version"] == "1"
    assert told(path)["card"] == text


@pytest.mark.parametrize(
    "table",
    [
        TABLE.replace(activation="elu"),
        TABLE.replace(conv_bias=False),
        TABLE.replace(last=(3,)),
        TABLE.replace(levels=[TABLE.levels[0], Level(down=(3,), **BOTTOM)]),
        Strange(channels=2, classes=3),
    ],
    ids=["activation", "no bias", "last", "one convolution", "another kind"],
)
def test_what_is_new_is_of_a_format_that_old_programs_refuse(
    table: Layered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(cast("dict[str, type[Layered]]", KINDS), "strange", Strange)
    path = tmp_path / "a.safetensors"
    card = MODEL.card.replace(architecture=table)
    save_model(Model(card, MODEL.weights), path)
    assert told(path)["version"] == "2"
    assert read_card(path) == card.replace(name="a")
    assert type(read_card(path).architecture) is type(table)


def test_a_training_with_instance_norm_is_of_a_format_that_old_programs_refuse(
    tmp_path: Path,
) -> None:
    # they know a network that has one, but no training that asks for it
    path, table = tmp_path / "a.safetensors", TABLE.replace(norm="instance")
    for norm, version in (("batch", "1"), ("instance", "2")):
        training = MODEL.card.training.replace(norm=norm)
        card = MODEL.card.replace(architecture=table, training=training)
        save_model(Model(card, MODEL.weights), path)
        assert told(path)["version"] == version
        assert read_card(path) == card.replace(name="a")


def test_a_model_whose_cells_are_followed_is_refused_by_old_programs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.safetensors"
    for track, version in ((True, "2"), (False, "1")):
        segmentation = MODEL.card.segmentation.replace(track=track)
        card = MODEL.card.replace(segmentation=segmentation)
        save_model(Model(card, MODEL.weights), path)
        assert told(path)["version"] == version
        assert read_card(path) == card.replace(name="a")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"preset":', '"network":"mamba","preset":', "network should be one of unet"),
        ('"channels":', '"kind":"strange","channels":', "kind of network strange is"),
        ('"channels":', '"kind":[],"channels":', r"kind of network \[\] is not"),
        ('"norm":"batch"', '"norm":"group"', "architecture.norm should be"),
        ('"channels":', '"mirrors":2,"channels":', "mirrors Extra inputs"),
    ],
    ids=["network", "kind", "no kind", "value", "field"],
)
def test_an_intact_card_with_unknown_words_is_of_a_newer_program(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    text = MODEL.card.model_dump_json().replace(old, new, 1)
    assert text != MODEL.card.model_dump_json()
    sums = json.dumps({"card": crc32(text.encode())})
    whole = header(card=text, version="2", checksums=sums)
    path.write_bytes(save({"x": np.zeros(3)}, metadata=whole))
    refused(path, rf"does not know \(.*{message}.*\); install a newer napari-unet\.")


@pytest.mark.parametrize(
    "card",
    [
        None,
        "",
        "{",
        "[]",
        '{"name": "only a name"}',
        MODEL.card.model_dump_json().replace('"channels":2', '"channels":0'),
        MODEL.card.model_dump_json().replace('"name":', '"title":', 1),
        "[" * 100_000,
        MODEL.card.model_dump_json().replace('"structure"', '"mean 0"'),
    ],
    ids=[
        *("none", "empty", "cut", "list", "incomplete", "bad value", "unknown name"),
        "deep",
        "unknown rule",
    ],
)
def test_a_damaged_card_is_told(card: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"x": np.zeros(3)}, metadata=header(card=card)))
    refused(path, "has a damaged model card: .+")


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    for read in READERS:
        with pytest.raises(FileNotFoundError, match="there is no model file"):
            read(tmp_path / "none.safetensors")
    refused(tmp_path, "is a folder, not a model file")


def test_an_old_model_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_model(MODEL, path)
    other = random_model(TABLE, seed=1)
    save_model(other, path)
    same(load_model(path), other)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_saving_where_there_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="its folder does not exist"):
        save_model(MODEL, tmp_path / "none" / "a.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of the file size")
def test_a_write_that_fails_half_way_leaves_the_old_model(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_model(MODEL, path)
    old = path.read_bytes()
    # a limit on the size of files is met by the real write, as a full disk is
    code = (
        "import resource, signal, sys\n"
        "from napari_unet.io.model_file import load_model, save_model\n"
        "model = load_model(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(old) // 2},) * 2)\n"
        "save_model(model, sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"OSError: {path}: cannot be written"
    )
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_who_renames_the_file_renames_the_model(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").rename(tmp_path / "Größe µ.safetensors")
    assert load_model(tmp_path / "Größe µ.safetensors").card.name == "Größe µ"


STATE = {"module/x": np.arange(6.0).reshape(2, 3), "step": np.array(7, np.int64)}


@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_of_a_tensor_is_told(
    where: float, bit: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(Checkpoint(MODEL, STATE, "{}"), path)
    raw = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(raw[:8], "little")
    raw[begin + int(where * (len(raw) - begin))] ^= 1 << bit
    path.write_bytes(raw)
    with pytest.raises(
        ValueError, match=r"is damaged: .* \(checksum \d+, expected \d+"
    ):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'\\"threshold\\":0.5', b'\\"threshold\\":0.7'),
        (b'\\"channels\\":2', b'\\"channels\\":3'),
    ],
)
def test_a_changed_letter_of_the_card_is_told(
    old: bytes, new: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_model(MODEL, path)
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new, 1))
    refused_models(path, r"is damaged: .* \(checksum")


def refused_models(path: Path, message: str) -> None:
    for read in (load_model, read_card):
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700


def test_a_file_from_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {f"weights/{n}": np.asarray(w) for n, w in MODEL.weights.items()}
    path.write_bytes(save(tensors, metadata=header()))
    same(load_model(path), MODEL)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_neither_written_nor_read(
    value: float, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_model(MODEL, path)
    old = path.read_bytes()
    name = next(n for n, w in MODEL.weights.items() if w.dtype == np.float32)
    bad = np.array(MODEL.weights[name])
    bad.reshape(-1)[-1] = value
    weights = {**MODEL.weights, name: bad}
    with pytest.raises(
        ValueError, match=f"the weights {name} hold values that are not"
    ):
        save_model(Model(MODEL.card, weights), path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    tensors = {f"weights/{n}": np.asarray(w) for n, w in weights.items()}
    path.write_bytes(save(tensors, metadata=header()))
    with pytest.raises(ValueError, match="hold values that are not finite") as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("kind", ["F64", "F16", "BF16", "F8_E4M3", "I32", "U8", "BOOL"])
def test_weights_of_another_type_are_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    size = {"F64": 8, "I32": 4, "F16": 2, "BF16": 2}.get(kind, 1)
    table = {
        "__metadata__": header(),
        "weights/x": {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * size]},
    }
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(2 * size))
    with pytest.raises(
        ValueError, match=f"weights/x holds {kind}, allowed are F32, I64"
    ):
        load_model(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**50]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1e300], "data_offsets": [0, 8]},
        {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": "two", "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [0, 8]},
        {},
        7,
    ],
    ids=map(str, range(10)),
)
def test_a_header_that_cannot_be_true_takes_no_memory(
    entry: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    text = json.dumps({"__metadata__": header(), "weights/x": entry}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    refused(path, "is not a napari-unet model, or is damaged or incomplete")


def test_weights_that_do_not_fit_the_memory_are_told_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_model(MODEL, path)
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=1000)
    )
    with pytest.raises(MemoryError, match=r"GB of memory, 0\.0 GB are free"):
        load_model(path)
    read_card(path)


CARD = json.loads(MODEL.card.model_dump_json())


@pytest.mark.parametrize(
    "card",
    [
        '{"architecture":' * 2000 + "1" + "}" * 2000,
        "[" * 100_000,
        json.dumps({**CARD, "steps": 10**400}),
        json.dumps({**CARD, "history": [{"step": 1, "seconds": 1e300, "loss": 0.1}]}),
        json.dumps({**CARD, "spacing_um": [1e999]}),
        json.dumps({**CARD, "spacing_um": ["NaN"] * 2}),
        json.dumps({**CARD, "spacing_um": [0.5, 0]}),
        json.dumps({**CARD, "history": [{"step": "x"}] * 10_000}),
        json.dumps({**CARD, "history": [7] * 10}),
        json.dumps({**CARD, "name": ["x" * 100_000]}),
        json.dumps({**CARD, "classes": 3}),
        json.dumps(CARD) + " " * 2**24,
    ],
    ids=map(str, range(11)),
)
def test_a_wild_card_is_told_in_one_short_sentence(card: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"x": np.zeros(3)}, metadata=header(card=card)))
    refused_models(path, "has a damaged model card: .+")


def test_a_million_rows_of_history_are_not_read(tmp_path: Path) -> None:
    row = {"step": 1, "seconds": 0.1, "loss": 0.5}
    card = json.dumps({**CARD, "history": "ROWS"})
    card = card.replace('"ROWS"', f"[{','.join([json.dumps(row)] * 10**6)}]")
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"x": np.zeros(3)}, metadata=header(card=card)))
    refused_models(path, "has a damaged model card: .+ characters, allowed are|damaged")


@pytest.mark.parametrize("progress", ["{", '{"a":' * 2000 + "1" + "}" * 2000, ""])
def test_a_damaged_state_of_training_is_told(progress: str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(Checkpoint(MODEL, STATE, progress), path)
    same(load_model(path), MODEL)
    with pytest.raises(ValueError, match="the state of its training: is damaged"):
        load_checkpoint(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", "is no file that could be a model")


def test_a_card_of_a_network_too_deep_for_any_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    deep = ResidualUNet(channels=1, widths=(2,) * 200, strides=((2, 2),) * 199)
    text = MODEL.card.replace(architecture=deep).model_dump_json()
    sums = json.dumps({"card": crc32(text.encode())})
    whole = header(card=text, version="2", checksums=sums)
    path.write_bytes(save({"x": np.zeros(3)}, metadata=whole))
    refused(path, "damaged model card: this network reduces maps .* at most 4096")
