"""nnU-Net's folders against the networks that it builds of its plans."""

from __future__ import annotations

import json
import os
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from engine.networks.transfer_helpers import randomised
from napari_unet.core.events import PredictionFinished, TrainingFinished
from napari_unet.core.images.image import Image
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.model_formats.catalogue import format_of, read_model
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from napari_unet.core.model import Model

pytest.importorskip("dynamic_network_architectures")
from dynamic_network_architectures.architectures.unet import (
    PlainConvUNet,
    ResidualEncoderUNet,
)

KINDS = {"PlainConvUNet": PlainConvUNet, "ResidualEncoderUNet": ResidualEncoderUNet}
UNITS = {
    "PlainConvUNet": "n_conv_per_stage",
    "ResidualEncoderUNet": "n_blocks_per_stage",
}


def planned(
    name: str = "PlainConvUNet",
    patch: Sequence[int] = (16, 24),
    features: Sequence[int] = (4, 6, 6),
    flat: int = 0,
    norm: str = "InstanceNorm",
) -> dict[str, Any]:
    """A configuration as `plans.json` has it; `flat` stages leave the first axis."""
    ndim, stages = len(patch), len(features)
    rest = (1,) * (ndim - 1)
    kernels = [[1 if s < flat else 3, *(3 * n for n in rest)] for s in range(stages)]
    strides = [
        [1 if s <= flat else 2, *(2 * n for n in rest)] for s in range(1, stages)
    ]
    return {
        "data_identifier": "nnUNetPlans",
        "patch_size": list(patch),
        "spacing": [1.0] * ndim,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.{name}",
            "arch_kwargs": {
                "n_stages": stages,
                "features_per_stage": list(features),
                "conv_op": f"torch.nn.modules.conv.Conv{ndim}d",
                "kernel_sizes": kernels,
                "strides": [[1] * ndim, *strides],
                UNITS[name]: [2] * stages,
                "n_conv_per_stage_decoder": [2 - (name != "PlainConvUNet")]
                * (stages - 1),
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.x.{norm}{ndim}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }


def built(
    configuration: dict[str, Any], channels: int = 1, classes: int = 2, seed: int = 0
) -> nn.Module:
    """The network that nnU-Net builds of a configuration, with random weights."""
    torch.manual_seed(seed)
    architecture = configuration["architecture"]
    name = architecture["network_class_name"].rpartition(".")[2]
    options = dict(architecture["arch_kwargs"])
    for key in ("conv_op", "norm_op", "nonlin"):
        options[key] = getattr(torch.nn, options[key].rpartition(".")[2])
    network = KINDS[name](channels, num_classes=classes, **options)
    return randomised(network, seed)


def folder(
    path: Path,
    configuration: dict[str, Any],
    networks: Sequence[nn.Module],
    plans: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
) -> Path:
    """A trained model as nnU-Net writes it."""
    path.mkdir()
    whole = {
        "dataset_name": "Dataset001_Cells",
        "transpose_forward": [0, 1, 2],
        "image_reader_writer": "NaturalImage2DIO",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"small": configuration},
    }
    data = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "cell": 1},
        "file_ending": ".tif",
    }
    (path / "plans.json").write_text(json.dumps(whole | (plans or {})))
    (path / "dataset.json").write_text(json.dumps(data | (dataset or {})))
    for number, network in enumerate(networks):
        (path / f"fold_{number}").mkdir()
        checkpoint = {
            "network_weights": network.state_dict(),
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": "small", "fold": number},
            "current_epoch": 1000,
            "inference_allowed_mirroring_axes": (0, 1),
            # nnU-Net has numpy's numbers in its records
            "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)]},
            "_best_ema": np.float64(0.5),
        }
        torch.save(checkpoint, path / f"fold_{number}" / "checkpoint_final.pth")
    return path


def predicted(model: Model, image: NDArray[Any], axes: str, **changes: Any) -> Any:
    settings = Prediction(device="cpu", precision="fp32", **changes)
    order = f"c{axes.removeprefix('c')}"
    job = predict(model, Image(image, axes), axes=order, settings=settings)
    last = list(job)[-1]
    assert isinstance(last, PredictionFinished)
    return last.probabilities


def in_its_windows(
    networks: Sequence[nn.Module], image: torch.Tensor, patch: Sequence[int]
) -> NDArray[np.float64]:
    """Probabilities as nnU-Net makes them of an image of whole half windows."""
    peak = np.zeros(patch)
    peak[tuple(n // 2 for n in patch)] = 1
    bell = gaussian_filter(peak, [n / 8 for n in patch], mode="constant")
    scores, weights = 0.0, np.zeros(image.shape[2:])
    starts = [
        range(0, n - p + 1, p // 2) for n, p in zip(image.shape[2:], patch, strict=True)
    ]
    with torch.no_grad():
        for place in product(*starts):
            box = tuple(slice(a, a + p) for a, p in zip(place, patch, strict=True))
            weights[box] += bell
            for network in networks:
                own = np.zeros((2, *image.shape[2:]))
                own[(slice(None), *box)] = network(image[(..., *box)])[0].numpy() * bell
                scores = scores + own / len(networks)
    return torch.softmax(torch.from_numpy(scores / weights), dim=0).numpy()


CASES = [
    (planned(), "yx"),
    (planned("ResidualEncoderUNet"), "yx"),
    (planned(norm="BatchNorm"), "yx"),
    (planned(patch=(4, 12, 8), features=(3, 4, 4), flat=1), "zyx"),
    (planned("ResidualEncoderUNet", (8, 8, 16), (3, 4)), "zyx"),
]


@pytest.mark.parametrize(("configuration", "axes"), CASES)
def test_windows_are_those_of_nnunet(
    tmp_path: Path, configuration: dict[str, Any], axes: str
) -> None:
    networks = [built(configuration, seed=seed) for seed in range(2)]
    path = folder(tmp_path / "model", configuration, networks)
    model = read_model(path)
    patch = tuple(configuration["patch_size"])
    assert (model.card.members, model.card.architecture.window) == (2, patch)
    image = np.random.default_rng(0).gamma(2, 30, [2 * n for n in patch])
    image = image.astype(np.float32)
    normalised = torch.from_numpy((image - image.mean()) / image.std())[None, None]
    expected = in_its_windows(networks, normalised, patch)
    inner = (slice(None), *(slice(n // 2, -(n // 2)) for n in patch))
    found = predicted(model, image, axes)
    assert np.abs(found - expected)[inner].max() <= 1e-5
    assert expected[inner].std() > 0.01
    # one fold, and one window of it
    first = normalised[(..., *(slice(n) for n in patch))]
    network = prepare(read_model(path / "fold_1"), "cpu", "fp32")
    with torch.no_grad():
        seen = torch.softmax(networks[1](first), dim=1)[0]
    assert np.abs(network.of_patch(first[0].numpy()) - seen.numpy()).max() <= 1e-5


def test_axes_in_another_order_are_turned(tmp_path: Path) -> None:
    # the network's axes are x, z, y of an image
    configuration = planned(patch=(4, 8, 12), features=(3, 4), flat=1)
    network = built(configuration)
    plans = {"transpose_forward": [2, 0, 1]}
    model = read_model(folder(tmp_path / "model", configuration, [network], plans))
    assert model.card.architecture.window == (8, 12, 4)
    image = np.random.default_rng(0).normal(size=(1, 8, 12, 4)).astype(np.float32)
    with torch.no_grad():
        seen = network(torch.from_numpy(image).permute(0, 3, 1, 2)[None])
    expected = torch.softmax(seen, 1)[0].permute(0, 2, 3, 1).numpy()
    found = prepare(model, "cpu", "fp32").of_patch(image)
    assert np.abs(found - expected).max() <= 1e-5


def test_plans_of_before_2_4_say_the_same(tmp_path: Path) -> None:
    new = planned(features=(4, 8, 10))
    sizes = new["architecture"]["arch_kwargs"]
    old = {name: value for name, value in new.items() if name != "architecture"} | {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 10,
        "n_conv_per_stage_encoder": sizes["n_conv_per_stage"],
        "n_conv_per_stage_decoder": sizes["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [2, 2],
        "pool_op_kernel_sizes": sizes["strides"],
        "conv_kernel_sizes": sizes["kernel_sizes"],
    }
    networks = [built(new)]
    made = read_model(folder(tmp_path / "new", new, networks)).card.architecture
    assert read_model(folder(tmp_path / "old", old, networks)).card.architecture == made


def test_configurations_inherit(tmp_path: Path) -> None:
    whole = planned()
    network = built(whole)
    small = {"inherits_from": "base", "patch_size": [32, 32]}
    plans = {"configurations": {"small": small, "base": whole}}
    model = read_model(folder(tmp_path / "model", whole, [network], plans))
    assert model.card.architecture.window == (32, 32)
    plans["configurations"]["base"] = {"inherits_from": "small"}
    with pytest.raises(
        ValueError, match="no configuration small, or one that inherits"
    ):
        read_model(folder(tmp_path / "loop", whole, [network], plans))


def test_grey_values_are_brought_to_their_range_as_there(tmp_path: Path) -> None:
    configuration = planned() | {
        "normalization_schemes": [
            "CTNormalization",
            "NoNormalization",
            "RescaleTo01Normalization",
            "RGBTo01Normalization",
            "ZScoreNormalization",
        ],
        "use_mask_for_norm": [False] * 5,
    }
    values = {
        "mean": 60,
        "std": 20.0,
        "percentile_00_5": 30.0,
        "percentile_99_5": 110.0,
    }
    plans = {"foreground_intensity_properties_per_channel": {"0": values}}
    dataset = {"channel_names": {str(n): "grey" for n in range(5)}}
    network = built(configuration, channels=5)
    model = read_model(
        folder(tmp_path / "model", configuration, [network], plans, dataset)
    )
    image = np.random.default_rng(0).gamma(2, 30, (5, 32, 48)).astype(np.float32)
    seen = image.copy()
    seen[0] = (np.clip(seen[0], 30, 110) - 60) / 20
    seen[2] = (seen[2] - seen[2].min()) / (seen[2].max() - seen[2].min())
    seen[3] /= 255
    seen[4] = (seen[4] - seen[4].mean()) / seen[4].std()
    expected = in_its_windows([network], torch.from_numpy(seen)[None], (16, 24))
    found = predicted(model, image, "cyx")
    assert np.abs(found - expected)[:, 8:-8, 12:-12].max() <= 1e-5


@pytest.mark.parametrize(
    ("reader", "spacing", "expected"),
    [
        ("SimpleITKIO", [0.5, 0.25], (500, 250)),
        ("NibabelIOWithReorient", [0.5, 0.25], (500, 250)),
        ("SimpleITKIO", [1, 1], None),
        ("Tiff3DIO", [0.5, 0.25], None),
        ("NaturalImage2DIO", [1, 1], None),
    ],
)
def test_pixel_sizes_are_known_of_medical_files(
    tmp_path: Path, reader: str, spacing: list[float], expected: Any
) -> None:
    configuration = planned() | {"spacing": spacing}
    plans = {"image_reader_writer": reader}
    networks = [built(configuration)]
    card = read_model(folder(tmp_path / "model", configuration, networks, plans)).card
    assert card.spacing_um == expected
    said = "millimetres" if expected else "no unit that is known"
    assert said in " ".join(card.notes)


def test_folder_fold_and_checkpoint_are_recognised(tmp_path: Path) -> None:
    configuration = planned()
    networks = [built(configuration, seed=seed) for seed in range(2)]
    path = folder(tmp_path / "model", configuration, networks)
    assert read_model(path).card.members == 2
    assert read_model(path / "plans.json").card == read_model(path).card
    assert not any(
        "Left out" in note for note in read_model(path / "fold_1").card.notes
    )
    for part in (path / "fold_0", path / "fold_0" / "checkpoint_final.pth"):
        assert read_model(part).card.members == 1
    (path / "fold_0").rename(path / "fold_all")
    (path / "fold_1" / "checkpoint_final.pth").rename(path / "fold_1" / "other.pth")
    assert read_model(path).card.members == 1
    assert "Left out: fold_1." in read_model(path).card.notes
    # a model of ours that lies there is none of these
    save_model(read_model(path), path / "fold_1" / "mine.safetensors")
    assert format_of(path / "fold_1" / "mine.safetensors") is None
    (path / "fold_all").rename(path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="the training is not at its end"):
        read_model(path)
    assert format_of(tmp_path) is None


@pytest.mark.parametrize("gone", ["plans.json", "dataset.json"])
def test_a_file_that_was_left_behind_is_named(tmp_path: Path, gone: str) -> None:
    configuration = planned()
    path = folder(tmp_path / "model", configuration, [built(configuration)])
    (path / gone).unlink()
    for part in (path, path / "fold_0", path / "fold_0" / "checkpoint_final.pth"):
        with pytest.raises(FileNotFoundError, match=rf"model: has no {gone}"):
            read_model(part)


def test_an_unfinished_training_is_told_with_what_there_is(tmp_path: Path) -> None:
    configuration = planned()
    path = folder(tmp_path / "model", configuration, [built(configuration)])
    fold = path / "fold_0"
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_best.pth")
    for part in (path, fold):
        with pytest.raises(
            FileNotFoundError,
            match=f"no {fold}/checkpoint_final.pth: .*such as {fold}/checkpoint_best",
        ):
            read_model(part)
    assert read_model(fold / "checkpoint_best.pth").card.members == 1


def test_it_is_kept_in_a_file_of_ours(tmp_path: Path) -> None:
    configuration = planned()
    networks = [built(configuration, seed=seed) for seed in range(2)]
    model = read_model(folder(tmp_path / "model", configuration, networks))
    save_model(model, tmp_path / "ours.safetensors")
    again = load_model(tmp_path / "ours.safetensors")
    image = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    assert np.array_equal(predicted(again, image, "yx"), predicted(model, image, "yx"))
    # an oblong window is turned by halves only
    turned = predicted(model, image, "yx", averaging="dihedral")
    back = predicted(model, image[::-1, ::-1].copy(), "yx", averaging="dihedral")
    assert turned.shape == back.shape == (2, 40, 50)


def test_training_goes_on_from_a_fold(tmp_path: Path) -> None:
    configuration = planned(patch=(16, 16))
    path = folder(tmp_path / "model", configuration, [built(configuration)])
    model = read_model(path)
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    labels = np.zeros((64, 64), np.uint16)
    labels[10:30, 10:30], labels[34:54, 34:54] = 1, 2
    settings = Training(steps=2, minutes=0, batch=2, precision="fp32")
    job = train(
        [image], [labels], settings, kind="instances", start=model, device="cpu"
    )
    last = list(job)[-1]
    assert isinstance(last, TrainingFinished)
    assert last.model.card.architecture == model.card.architecture
    assert last.model.card.architecture.mean_of == "scores"


REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}}


def changed(**sizes: Any) -> dict[str, Any]:
    configuration = planned()
    configuration["architecture"]["arch_kwargs"] |= sizes
    return configuration


@pytest.mark.parametrize(
    ("configuration", "dataset", "message"),
    [
        (planned() | {"previous_stage": "3d_lowres"}, {}, "what 3d_lowres gives, too"),
        (planned(), REGIONS, "regions may overlap"),
        (planned(), {"labels": {"background": 0, "cell": 2}}, "numbered from 0 on"),
        (planned(), {"labels": {"background": 0, "a": 1, "b": 2}}, "of 2 × 4 × 1 × 1"),
        (planned(), {"channel_names": {"0": "a", "1": "b"}}, "normalises 1 channels"),
        (planned() | {"use_mask_for_norm": [True]}, {}, "use_mask_for_norm"),
        (planned() | {"normalization_schemes": ["Mine"]}, {}, "by Mine, which is not"),
        (planned() | {"normalization_schemes": ["CTNormalization"]}, {}, "low"),
        (planned() | {"patch_size": [16]}, {}, "patch_size"),
        (planned() | {"spacing": [1.0]}, {}, "the patch has 2 axes"),
        (planned() | {"spacing": [1.0, 0.0]}, {}, "spacing.1"),
        (changed(nonlin="torch.nn.ELU"), {}, "activation is torch.nn.ELU"),
        (changed(norm_op_kwargs={"eps": 1e-3}), {}, "'eps': 0.001"),
        (changed(features_per_stage=[4, 6]), {}, "has 2 widths, its other sizes"),
        (changed(features_per_stage=[4, 6, 9**9]), {}, "features_per_stage.2"),
        (changed(strides=[[2, 2]] * 3), {}, "first stage reduces"),
        (changed(kernel_sizes=[[2, 2]] * 3), {}, "kernels must be odd"),
    ],
)
def test_what_cannot_be_had_is_refused(
    tmp_path: Path, configuration: dict[str, Any], dataset: dict[str, Any], message: str
) -> None:
    path = folder(tmp_path / "model", configuration, [built(planned())], None, dataset)
    with pytest.raises(ValueError, match="model") as error:
        read_model(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def test_nothing_in_a_checkpoint_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = folder(tmp_path / "model", planned(), [built(planned())])
    file = path / "fold_0" / "checkpoint_final.pth"
    torch.save({"network_weights": {}, "init_args": {}, "logging": Evil()}, file)
    with pytest.raises(ValueError, match="nothing of it is run"):
        read_model(path)
    torch.save({"network_weights": 3}, file)
    with pytest.raises(ValueError, match="is no checkpoint of nnU-Net v2"):
        read_model(path)
    assert os.listdir(tmp_path) == ["model"]
