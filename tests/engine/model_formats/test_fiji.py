"""Models of the Fiji plugin: its scores, its files, and what is wrong with them."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from example_models import random_model
from fiji_pairs import NET, SHAPES, caffe_scores, make_pair
from napari_unet.core.images.grey_steps import (
    ClipPercentiles,
    Fixed,
    GreySteps,
    Maximum,
    MinMax,
    ZScore,
)
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import paper, u_shape
from napari_unet.engine.model_formats.catalogue import (
    MODEL_FORMATS,
    card_of,
    format_of,
    read_model,
)
from napari_unet.engine.network.network import prepare
from napari_unet.io.model_file import load_model, save_model

h5py = pytest.importorskip("h5py")
SAMPLES = Path(__file__).parents[4] / "shared" / "samples" / "formats" / "fiji"
FIJI = MODEL_FORMATS["fiji"]


def scores(model: Model, image: np.ndarray) -> np.ndarray:
    """What a model gives before the softmax."""
    import torch

    module = prepare(model, "cpu", "fp32").module
    with torch.inference_mode():
        found: np.ndarray = module(torch.from_numpy(image)[None])[0].numpy()
    return found


@pytest.mark.parametrize(
    "stem", ["tiny-2d", "tiny-2d-release", "tiny-2d-rgb-3class", "tiny-3d"]
)
@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not there")
def test_samples_give_the_scores_of_their_text(stem: str, tmp_path: Path) -> None:
    expected = np.load(SAMPLES / f"{stem}.expected.npz")
    model = read_model(SAMPLES / f"{stem}.modeldef.h5")
    again = read_model(SAMPLES / f"{stem}.caffemodel.h5")
    assert again.card == model.card
    assert model.card.normalisation == GreySteps(
        steps=(MinMax(together=True), Fixed(mean=0.5)), each_slice=stem != "tiny-3d"
    )
    image = expected["data3"] - np.float32(0.5)
    np.testing.assert_allclose(scores(model, image), expected["score"], atol=1e-5)
    assert FIJI.write(model, tmp_path / "again.modeldef.h5")
    written = caffe_scores(tmp_path / "again.modeldef.h5", expected["data3"])
    np.testing.assert_allclose(written, expected["score"], atol=1e-5)
    for part, name in (("first", "modeldef"), ("second", "caffemodel")):
        compare_files(
            SAMPLES / f"{stem}.{name}.h5", tmp_path / f"again.{name}.h5", part
        )


def compare_files(theirs: Path, ours: Path, part: str) -> None:
    """The same numbers of the same kinds are at the same places."""
    with h5py.File(theirs) as a, h5py.File(ours) as b:
        if part == "second":
            assert set(b["data"]) <= set(a["data"])
            for layer in b["data"]:
                if "dropout" not in layer and "relu" not in layer:
                    assert list(a["data"][layer]) == list(b["data"][layer])
                for blob in b["data"][layer]:
                    np.testing.assert_array_equal(
                        a["data"][layer][blob], b["data"][layer][blob]
                    )
            return
        for key in ("downsampleFactor", "padInput", "padOutput", "element_size_um"):
            one, other = a["unet_param"][key], b["unet_param"][key]
            np.testing.assert_array_equal(np.resize(one, other.shape), other)
            assert one.dtype == other.dtype
        one, other = (f["unet_param/normalization_type"] for f in (a, b))
        assert (one.dtype, one.shape, one[()]) == (other.dtype, (), other[()])


def test_a_pair_gives_what_caffe_computes(tmp_path: Path) -> None:
    path = make_pair(tmp_path)
    model = read_model(path)
    image = np.random.default_rng(1).normal(size=(2, 22, 30)).astype(np.float32)
    expected = caffe_scores(path, image)
    assert expected.shape == (3, 12, 20)
    found = scores(model, image - np.float32(0.5))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_card_says_what_the_file_says(tmp_path: Path) -> None:
    card = card_of(make_pair(tmp_path))
    assert card.name == "small"
    assert [c.name for c in card.classes] == ["Cell", "Rest"]
    assert card.spacing_um == (0.5, 0.25)
    assert card.notes == (
        "The model comes from the Fiji plugin, where it is small net.",
    )
    steps = (ZScore(together=True), Fixed(mean=0.5))
    assert card.normalisation == GreySteps(steps=steps, each_slice=True)
    table = card.architecture
    assert [(n.down, n.up, n.up_conv) for n in table.levels] == [
        ((3, 4), (7,), 6),
        ((5,), (), 0),
    ]
    assert (table.activation, table.up_activation) == ("leaky_relu", "none")
    assert table.levels[0].dropout == 0.25
    training = card.training
    assert (training.optimiser, training.weight_decay) == ("adamw", 0)
    border = training.border
    assert border.scheme == "fiji"
    found = border.w0, border.sigma, border.balance, border.near_sigma
    assert found == pytest.approx((40, 5, 0.2, 9))


def test_weights_of_the_loss_may_be_in_micrometres_or_missing(tmp_path: Path) -> None:
    here = "pixelwise_loss_weights/"
    changes = {
        f"{here}borderWeightSigmaPx": None,
        f"{here}borderWeightSigma_um": np.float32(3),
        f"{here}sigma1Px": None,
    }
    card = card_of(make_pair(tmp_path, **changes))
    # a pixel is 0.25 µm wide
    assert card.training.border.sigma == 12
    assert card.training.border.near_sigma == 10
    assert "does not say near_sigma" in card.notes[1]


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        (0, ()),
        (1, (MinMax(together=True),)),
        (3, (Maximum(together=True),)),
    ],
)
def test_each_normalisation_of_the_plugin(
    kind: int, steps: Any, tmp_path: Path
) -> None:
    card = card_of(make_pair(tmp_path, normalization_type=np.int32(kind)))
    assert card.normalisation == GreySteps(
        steps=(*steps, Fixed(mean=0.5)), each_slice=True
    )


def test_texts_may_be_stored_in_any_way(tmp_path: Path) -> None:
    path = make_pair(
        tmp_path,
        text=np.bytes_(NET),
        name=np.array(["of one"], h5py.string_dtype()),
        element_size_um=np.array([0.5, 0.25], ">f4"),
        classNames=np.array(["Background", "Zelle é", "\x1b[31m"], h5py.string_dtype()),
        normalization_type=np.array([2]),
    )
    card = card_of(path)
    # what would move the cursor is escaped
    assert [c.name for c in card.classes] == ["Zelle é", r"\x1b[31m"]
    assert "where it is of one" in card.notes[0]


def test_what_is_not_said_is_assumed_and_told(tmp_path: Path) -> None:
    card = card_of(make_pair(tmp_path, classNames=None, padding="zero"))
    assert [c.name for c in card.classes] == ["class 1", "class 2"]
    assert "zeros beyond the edges" in card.notes[1]
    assert "does not name its classes" in card.notes[2]


def test_dashes_and_underscores_are_alike(tmp_path: Path) -> None:
    path = make_pair(tmp_path)
    plain = read_model(path).weights
    with h5py.File(tmp_path / "small.caffemodel.h5", "a") as file:
        for layer in SHAPES:
            file.move(f"data/{layer}", f"data/{layer.replace('-', '_')} ".strip())
    for name, weight in read_model(path).weights.items():
        np.testing.assert_array_equal(weight, plain[name])


def test_the_other_file_may_have_another_name_if_it_is_the_only_one(
    tmp_path: Path,
) -> None:
    path = make_pair(tmp_path)
    weights = tmp_path / "small.caffemodel.h5"
    other = weights.rename(tmp_path / "snapshot.caffemodel.h5")
    for given in (path, other):
        card = card_of(given)
        assert card.name == "small"
        assert "are taken together" in card.notes[-1]
    shutil.copy(other, tmp_path / "two.caffemodel.h5")
    with pytest.raises(FileNotFoundError, match="not beside it; there are snapshot"):
        read_model(path)
    for file in tmp_path.glob("*.caffemodel.h5"):
        file.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"small\.caffemodel\.h5 is not beside it\."
    ):
        read_model(path)


def test_a_model_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    path = make_pair(tmp_path)
    renamed = path.rename(tmp_path / "small.h5")
    assert format_of(renamed) is FIJI
    assert read_model(renamed).card.name == "small"
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["unet_param/x"] = 1
    assert format_of(tmp_path / "data.h5") is None
    with pytest.raises(
        ValueError, match=r"no model that is read here; those are of napari"
    ):
        read_model(tmp_path / "data.h5")
    (tmp_path / "no.modeldef.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match="no model that is read here"):
        read_model(tmp_path / "no.modeldef.h5")
    with pytest.raises(FileNotFoundError, match="there is no model file"):
        read_model(tmp_path / "gone.modeldef.h5")


def test_a_model_in_our_file_is_the_same(tmp_path: Path) -> None:
    model = read_model(make_pair(tmp_path))
    save_model(model, tmp_path / "small.safetensors")
    again = load_model(tmp_path / "small.safetensors")
    assert again.card == model.card
    assert again.card.format == 2
    image = np.random.default_rng(1).normal(size=(2, 22, 22)).astype(np.float32)
    np.testing.assert_array_equal(scores(again, image), scores(model, image))


# What is changed in the text, and what is said of it.
WRONG_TEXTS = {
    "padded": ("num_output: 5", "num_output: 5 pad: 1", "conv_d1a-b.*has pad 1"),
    "strided": ("num_output: 5", "num_output: 5 stride: 2", "has a stride"),
    "other kind": (
        '"r3" type: "ReLU"',
        '"r3" type: "TanH"',
        r"r3 \(TanH\) is of a kind",
    ),
    "new detail": ("num_output: 5", "num_output: 5 depth: 2", "says depth"),
    "slope": ("negative_slope: 0.1", "negative_slope: 0.3", "has the slope 0.3"),
    "mixed": ("negative_slope: 0.1", "negative_slope: 0.01", "the same activation"),
    "mean": ("pool: MAX", "pool: AVE", "has pool AVE"),
    "no width": ("num_output: 5", "num_output: many", "has num_output many"),
    "huge": ("num_output: 5", f"num_output: {'9' * 5000}", "has num_output 999"),
    "no score": (
        NET[NET.index('layer { name: "conv_u0c') :],
        "",
        "gives the map 'score'",
    ),
    "other input": ('bottom: "d1a"', 'bottom: "d0b"', "reads d0b"),
    "other skip": ('bottom: "d0c" top: "u0b"', 'bottom: "d1b" top: "u0b"', "joins u0a"),
    "enlarged": (
        '2 stride: 2 } }\nlayer { name: "join',
        '4 stride: 4 } }\nlayer { name: "join',
        "enlarges by 4 × 4",
    ),
    "changed scores": ('top: "iou"', 'top: "score"', "changes the scores"),
    "open": (
        "include { phase: TEST } }",
        "include { phase: TEST }",
        "its end cannot be",
    ),
    "no text": (NET, "", "describes no layers"),
    "binary": (NET, "\x01\x02", "is damaged"),
    "deep": (NET, "layer {" + "a {" * 5000, "deep"),
    "even kernel": (
        "num_output: 5 kernel_size: 3",
        "num_output: 5 kernel_size: 2",
        "odd",
    ),
    "no bottom": ('bottom: "u0a" bottom: "d0c"', 'bottom: "u0a"', "joins u0a"),
}


@pytest.mark.parametrize("wrong", WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_other_networks_and_damaged_texts_are_refused(
    wrong: tuple[str, str, str], tmp_path: Path
) -> None:
    old, new, words = wrong
    assert old in NET
    path = make_pair(tmp_path, text=np.bytes_(NET.replace(old, new, 1).encode()))
    with pytest.raises(ValueError, match=words) as error:
        read_model(path)
    assert str(tmp_path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"element_size_um": np.array([0.5])}, "2 or 3 positive numbers"),
        ({"element_size_um": np.array([0.5, np.nan])}, "2 or 3 positive numbers"),
        ({"element_size_um": np.array([0.5, np.inf])}, "2 or 3 positive numbers"),
        ({"element_size_um": "large"}, "element_size_um holds no numbers"),
        ({"element_size_um": None}, "2 or 3 positive numbers"),
        ({"normalization_type": np.int32(4)}, "one of 0, 1, 2, 3, found"),
        ({"pixelwise_loss_weights/sigma1Px": np.float32(-1)}, "near_sigma"),
    ],
)
def test_wrong_values_are_refused(changes: Any, words: str, tmp_path: Path) -> None:
    path = make_pair(tmp_path, **changes)
    with pytest.raises(ValueError, match=words):
        read_model(path)


def change_weights(folder: Path, change: Any) -> Path:
    path = make_pair(folder)
    with h5py.File(folder / "small.caffemodel.h5", "a") as file:
        change(file)
    return path


def shaped(file: Any) -> None:
    del file["data/conv_d0b-c/0"]
    file["data/conv_d0b-c/0"] = np.zeros((4, 3, 5, 5), np.float32)


def huge(file: Any) -> None:
    del file["data/conv_d0b-c/0"]
    file.create_dataset("data/conv_d0b-c/0", (10**7, 10**7), "f4", chunks=(10, 10))


def not_finite(file: Any) -> None:
    file["data/conv_d0b-c/0"][0, 0, 0, 0] = np.nan


def missing(file: Any) -> None:
    del file["data/conv_d0b-c"]


def linked(file: Any) -> None:
    del file["data/conv_d0b-c"]
    file["data/conv_d0b-c"] = h5py.ExternalLink("/etc/passwd", "/")


def outside(file: Any) -> None:
    del file["data/conv_d0b-c/0"]
    where = [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("data/conv_d0b-c/0", (4, 3, 3, 3), "f4", external=where)


def empty(file: Any) -> None:
    del file["data"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shaped, "weights of conv_d0b-c are 4 × 3 × 5 × 5 of float32"),
        (huge, "weights of conv_d0b-c are 10000000"),
        (not_finite, "not finite"),
        (missing, "weights of conv_d0b-c are missing"),
        (linked, "is a link, which is not followed"),
        (outside, "are in other files"),
        (empty, "holds no weights"),
    ],
)
def test_wrong_weights_are_refused(change: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words) as error:
        read_model(change_weights(tmp_path, change))
    assert len(str(error.value).splitlines()) == 1


def test_a_network_too_large_for_the_memory_is_refused(tmp_path: Path) -> None:
    text = NET.replace("num_output: 4", "num_output: 65536").replace(
        "num_output: 5", "num_output: 65536"
    )
    path = make_pair(tmp_path, text=np.bytes_(text))
    with pytest.raises(MemoryError, match="GB of memory"):
        read_model(path)


@pytest.mark.parametrize("part", ["modeldef", "caffemodel"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_files_that_were_cut_off_are_refused(
    part: str, share: float, tmp_path: Path
) -> None:
    path = make_pair(tmp_path)
    cut = tmp_path / f"small.{part}.h5"
    content = cut.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=f"{part}") as error:
        read_model(path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("seed", range(30))
def test_damaged_files_are_refused_or_read(seed: int, tmp_path: Path) -> None:
    path = make_pair(tmp_path)
    rng = np.random.default_rng(seed)
    damaged = tmp_path / f"small.{('modeldef', 'caffemodel')[seed % 2]}.h5"
    content = bytearray(damaged.read_bytes())
    for place in rng.integers(8, len(content), 20):
        content[place] = rng.integers(256)
    damaged.write_bytes(content)
    # some bytes are of no importance
    with suppress(ValueError, MemoryError):
        read_model(path)


# Networks of ours that the plugin can hold.
TABLES = {
    "paper": paper(width=3),
    "batch norm": u_shape(
        ndim=2, channels=3, classes=4, width=3, depth=2, norm="batch", dropout=(1, 0.5)
    ),
    "skip first": u_shape(ndim=2, channels=1, classes=2, width=3, depth=2).replace(
        concat="skip_first", activation="leaky_relu_01", up_activation="relu"
    ),
    "no bias": u_shape(
        ndim=2, channels=1, classes=2, width=3, depth=1, norm="batch"
    ).replace(conv_bias=False, up_bias=False, up_norm=True),
    "volume": u_shape(
        ndim=3, channels=1, classes=2, width=2, depth=2, flat=(1, 0, 0), norm="batch"
    ),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_is_written_gives_the_same_in_caffe_and_here(
    table: Any, tmp_path: Path
) -> None:
    model = random_model(table)
    rule = GreySteps(steps=(MinMax(together=True), Fixed(mean=0.5)))
    model = Model(
        model.card.replace(normalisation=rule, spacing_um=(0.5,) * table.ndim),
        model.weights,
    )
    notes = FIJI.write(model, tmp_path / "out.caffemodel.h5")
    assert [file.name for file in sorted(tmp_path.iterdir())] == [
        "out.caffemodel.h5",
        "out.modeldef.h5",
    ]
    assert len(notes) == 1
    size = [n + 2 * s for n, s in zip(table.min_input, table.step, strict=True)]
    image = np.random.default_rng(2).random((table.channels, *size), np.float32)
    expected = scores(model, image - np.float32(0.5))
    found = caffe_scores(tmp_path / "out.modeldef.h5", image)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    again = read_model(tmp_path / "out.modeldef.h5")
    np.testing.assert_allclose(
        scores(again, image - np.float32(0.5)), expected, atol=1e-5
    )
    assert again.card.normalisation == rule.replace(each_slice=table.ndim == 2)
    assert again.card.classes == model.card.classes
    with h5py.File(tmp_path / "out.modeldef.h5") as file:
        said = file["unet_param"]
        least = (
            said["padInput"][()],
            said["padOutput"][()],
            said["downsampleFactor"][()],
        )
    for given, got, step, halo, smallest in zip(
        *least, table.halo, table.min_output, strict=True
    ):
        assert given - got == 2 * halo
        assert (smallest - got) % step == 0


def test_texts_are_stored_as_the_library_of_the_plugin_reads_them(
    tmp_path: Path,
) -> None:
    FIJI.write(random_model(TABLES["paper"]), tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.modeldef.h5") as file:
        for name in (".unet-ident", "unet_param/name", "model_prototxt"):
            kind = file[name].id.get_type()
            assert file[name].shape == ()
            assert not kind.is_variable_str()
            assert kind.get_strpad() == h5py.h5t.STR_NULLPAD
            assert kind.get_size() == len(file[name][()])
        assert file["unet_param/classNames"].dtype.kind == "S"
        assert file["unet_param/downsampleFactor"].dtype == np.dtype("<i4")
        assert file["unet_param/element_size_um"].dtype == np.dtype("<f8")
        assert 16 in file["unet_param/downsampleFactor"][()]
        assert file["unet_param/padInput"][()].tolist() == [60, 60]
        assert file["unet_param/padOutput"][()].tolist() == [-124, -124]


def test_what_differs_in_fiji_is_said(tmp_path: Path) -> None:
    notes = FIJI.write(random_model(TABLES["paper"]), tmp_path / "out.h5")
    assert "mean 0, sd 1 of all pixels and channels" in notes[0]
    assert "says 1 µm" in notes[1]
    assert "cannot finetune" in notes[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"members": 2}, "mean of 2 networks"),
        (
            {"normalisation": GreySteps(steps=(ClipPercentiles(low=1, high=99),))},
            "clip 1 and 99 percentiles, which the plugin does not have",
        ),
        ({"normalisation": GreySteps(steps=(MinMax(eps=1),))}, "does not have"),
        (
            {"normalisation": GreySteps(steps=(MinMax(), Fixed(mean=0, sd=2)))},
            "divide by 2, which",
        ),
        ({"architecture": {"enlarge": "linear", "concat": "skip_first"}}, "enlarge"),
        ({"architecture": {"norm": "instance"}}, "windows of a fixed size"),
        ({"architecture": {"activation": "elu"}}, "no activation elu"),
    ],
)
def test_what_the_plugin_cannot_hold_is_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    model = random_model(TABLES["volume"])
    if isinstance(change.get("architecture"), dict):
        table = TABLES["volume"]
        if "enlarge" in change["architecture"]:
            rows = [n.replace(up_conv=0) for n in table.levels]
            change["architecture"]["levels"] = tuple(rows)
        change = {"architecture": table.replace(**change["architecture"])}
    model = Model(model.card.replace(**change), model.weights)
    with pytest.raises(ValueError, match=f"cannot be a model of the Fiji.*{words}"):
        FIJI.write(model, tmp_path / "out.modeldef.h5")
    assert not list(tmp_path.iterdir())
