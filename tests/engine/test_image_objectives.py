from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.denoising import fitted_psnr
from benchmarks.denoising import main as denoising_benchmark
from napari_unet.core import events
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.image import Image
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.metrics.restoration import psnr
from napari_unet.core.model import ImageScore
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.training.losses import image_loss
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.model import Model

CPU = Prediction(device="cpu", precision="fp32")
SMALL: dict[str, Any] = {
    "width": 8,
    "depth": 1,
    "batch": 4,
    "patch": 32,
    "steps": 150,
    "minutes": 0,
    "precision": "fp32",
}
DENOISE = Training.quick().with_task("denoise").replace(**SMALL)
REGRESS = Training.quick().with_task("regress").replace(**SMALL, validation=0.2)


def scene(seed: int = 0, size: int = 96) -> np.ndarray:
    """Bright blobs on more ground."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(size, size)), 4)
    return (smooth > 0.06).astype(np.float32) * 0.8 + 0.1


def noisy(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed + 100)
    return (scene(seed) + rng.normal(0, 0.3, (96, 96))).astype(np.float32)


def learnt(images: list[Any], known: list[Any], settings: Training, **rest: Any) -> Any:
    *_, last = train(images, known, settings, device="cpu", **rest)
    assert isinstance(last, events.TrainingFinished)
    assert last.problem is None
    return last.model


def made(model: Model, image: Any, settings: Prediction = CPU) -> np.ndarray:
    *_, last = predict(model, image, settings=settings)
    assert isinstance(last, events.PredictionFinished)
    return last.probabilities


@pytest.fixture(scope="module")
def denoiser() -> Model:
    return learnt([noisy()], [], DENOISE)


@pytest.fixture(scope="module")
def brightener() -> Model:
    """Makes two channels: the image times 1000, and its negative."""
    targets = [np.stack([5 + 1000 * scene(s), -scene(s)]) for s in (0, 1)]
    images = [Image(scene(s), "yx", name=f"s{s}") for s in (0, 1)]
    return learnt(images, [Image(t, "cyx") for t in targets], REGRESS)


def test_a_noisy_image_alone_teaches_to_denoise(denoiser: Model) -> None:
    before = psnr([noisy()], [scene()])
    (found,) = made(denoiser, noisy())
    # on the image's own scale: no fit of brightness
    assert psnr([found], [scene()]) > before + 5
    # and of another image with the same noise
    assert psnr([made(denoiser, noisy(7))[0]], [scene(7)]) > before + 4


def test_brightness_is_that_of_the_image(denoiser: Model) -> None:
    one, other = made(denoiser, noisy()), made(denoiser, 100 * noisy() + 1000)
    np.testing.assert_allclose(100 * one + 1000, other, atol=0.3)


def test_values_of_targets_are_made_with_their_own_scale(brightener: Model) -> None:
    found = made(brightener, scene(5))
    assert found.shape == (2, 96, 96)
    truth = scene(5)
    assert np.corrcoef(found[0].ravel(), truth.ravel())[0, 1] > 0.95
    assert np.abs(found[0] - (5 + 1000 * truth)).mean() < 80
    assert np.abs(found[1] + truth).mean() < 0.1


def test_the_card_says_what_is_made_and_how_well(
    brightener: Model, tmp_path: Path
) -> None:
    save_model(brightener, tmp_path / "m.safetensors")
    card = load_model(tmp_path / "m.safetensors").card
    assert (card.format, card.training.task, card.classes) == (2, "regress", ())
    assert card.outputs is not None
    assert card.outputs.mean[0] == pytest.approx(
        np.mean([5 + 1000 * scene(s) for s in (0, 1)]), rel=1e-5
    )
    assert isinstance(card.score, ImageScore)
    assert card.score.pearson > 0.9
    assert card.score.pixels > 500
    assert [type(row.score) for row in card.history if row.score] == [ImageScore] * len(
        [row for row in card.history if row.score]
    )


def test_a_denoiser_has_no_pixel_size_and_nothing_held_out(denoiser: Model) -> None:
    assert denoiser.card.score is None
    images = [Image(noisy(k), "yx", (s, s)) for k, s in enumerate((0.1, 0.7))]
    started, *_, last = train(images, [], DENOISE.replace(steps=1), device="cpu")
    assert "no clean image" in started.validation  # type: ignore[attr-defined]
    assert last.model.card.spacing_um is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("settings", [DENOISE, REGRESS], ids=["denoise", "regress"])
def test_resumed_equals_uninterrupted(settings: Training, tmp_path: Path) -> None:
    known = [scene()] if settings.task == "regress" else []
    settings = settings.replace(steps=8)
    whole = learnt([noisy()], known, settings)
    checkpoint = tmp_path / "run.checkpoint.safetensors"
    job = train([noisy()], known, settings, device="cpu", checkpoint=checkpoint)
    for event in job:
        if isinstance(event, events.StepDone) and event.step == 3:
            break
    job.close()  # type: ignore[attr-defined]
    resumed = learnt([noisy()], known, settings, resume=checkpoint)
    for name, weight in whole.weights.items():
        np.testing.assert_array_equal(weight, resumed.weights[name], name)


def test_another_task_does_not_go_on_from_a_run_or_a_model(
    denoiser: Model, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="has learnt to denoise, the training is to"):
        learnt([noisy()], [scene()], REGRESS, start=denoiser)
    checkpoint = tmp_path / "run.checkpoint.safetensors"
    learnt([noisy()], [], DENOISE.replace(steps=1), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="belongs to another network"):
        learnt([noisy()], [scene()], REGRESS, resume=checkpoint)


def test_a_model_to_start_from_keeps_what_it_makes(denoiser: Model) -> None:
    again = learnt(
        [noisy(3)], [], DENOISE.replace(steps=1, learning_rate=1e-9), start=denoiser
    )
    for name, weight in denoiser.weights.items():
        if name.endswith(("weight", "bias")):
            np.testing.assert_allclose(again.weights[name], weight, atol=1e-6)


def test_pixels_without_a_number_do_not_count(tmp_path: Path) -> None:
    target = scene()
    target[:, 50:] = np.nan
    model = learnt([noisy()], [target], REGRESS.replace(steps=20))
    assert np.isfinite(made(model, noisy())).all()
    assert model.card.score is not None
    assert np.isfinite(model.card.score.loss)


def test_volumes_are_denoised_and_mapped() -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(10, 40, 40)).astype(np.float32)
    settings = DENOISE.replace(ndim=3, patch=12, batch=1, steps=2)
    found = made(learnt([volume], [], settings), volume)
    assert found.shape == (10, 1, 40, 40)
    settings = REGRESS.replace(ndim=3, patch=12, batch=1, steps=2, validation=0)
    found = made(learnt([volume], [2 * volume], settings), volume)
    assert found.shape == (10, 1, 40, 40)


def test_the_mean_of_eight_views_is_as_good(denoiser: Model) -> None:
    once = made(denoiser, noisy())[0]
    mean = made(denoiser, noisy(), CPU.replace(averaging="dihedral"))[0]
    assert psnr([mean], [scene()]) > psnr([once], [scene()]) - 0.3


@pytest.mark.parametrize(
    ("kind", "each"),
    [("l1", [1, 2]), ("mse", [1, 4]), ("charbonnier", [1, 2])],
)
def test_losses_of_images_are_means_over_known_pixels(
    kind: Any, each: list[float]
) -> None:
    scores = torch.tensor([[[[1.0, 5.0, 7.0]]]])
    target = torch.tensor([[[[2.0, 3.0, 0.0]]]])
    weight = torch.tensor([[[1.0, 1.0, 0.0]]])
    loss = image_loss([scores], [], target, weight, kind)
    assert loss.item() == pytest.approx(sum(each) / 2, abs=1e-5)


def test_coarser_outputs_are_judged_at_their_own_pixels() -> None:
    target = torch.arange(16.0).reshape(1, 1, 4, 4)
    coarse = target[:, :, 1::2, 1::2] + 1
    place = (slice(0, 2), slice(1, 4, 2))
    loss = image_loss(
        [target, coarse], [(place, place)], target, torch.ones(1, 4, 4), "l1"
    )
    # 0 of the finest, 1 of the other at half its weight
    assert loss.item() == pytest.approx(0.5 / 1.5)


@pytest.mark.parametrize("task", ["regress", "denoise"])
def test_images_are_not_deformed(task: Any) -> None:
    recipe = Training.quick().with_task(task)
    with pytest.raises(ValueError, match="mirrored and turned by quarters alone"):
        recipe.replace(augmentation=recipe.augmentation.replace(elastic=3.0))


@pytest.mark.parametrize("task", ["regress", "denoise"])
def test_no_patches_are_centred_on_objects_where_there_are_none(task: Any) -> None:
    with pytest.raises(ValueError, match=r"found foreground 0.9, allowed is 0"):
        Training.quick().with_task(task).replace(foreground=0.9)


def test_of_noisy_images_nothing_can_be_held_out() -> None:
    with pytest.raises(ValueError, match="allowed is 0"):
        DENOISE.replace(validation=0.1)


def test_the_recipe_of_segmentation_is_written_as_before() -> None:
    written = Training.quick().model_dump()
    assert not {"task", "loss", "structured_noise"} & set(written)
    assert Training.quick().with_task("segment") == Training.quick()
    assert DENOISE.is_later


def test_of_a_long_stack_some_planes_are_learnt_from_and_it_is_said() -> None:
    stack = np.random.default_rng(0).normal(size=(70, 24, 24)).astype(np.float32)
    model = learnt([stack], [], DENOISE.replace(steps=1, patch=16))
    assert len(model.card.images) == 64
    assert model.card.notes == ("64 of 70 planes, spread evenly, are learnt from.",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outputs": None}, "learnt to denoise gives an image"),
        ({"outputs": ImageOutputs(mean=(0, 1), sd=(1, 1))}, "makes 1 channels"),
        ({"classes": (ClassInfo(),)}, "1 classes"),
        ({"training": Training.quick()}, "learnt to segment gives classes"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(
    denoiser: Model, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        denoiser.card.replace(**changes)


def test_volumes_have_the_sizes_of_the_preset() -> None:
    recipe = Training.quick(3).with_task("denoise")
    assert (recipe.depth, recipe.patch, recipe.batch) == (2, 28, 1)


@pytest.mark.parametrize("name", [*NETWORKS, "padded"])
def test_every_network_makes_images(name: str) -> None:
    settings = DENOISE.replace(steps=1, batch=1, width=4)
    if name == "padded":
        settings = settings.replace(padded=True)
    else:
        settings = settings.with_network(name)
    model = learnt([noisy()], [], settings)
    found = made(model, noisy())
    assert found.shape == (1, 96, 96)
    assert np.isfinite(found).all()


def test_the_benchmark_compares_with_the_best_filter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert denoising_benchmark(["--steps", "2", "--device", "cpu", "--side", "99"]) == 0
    told = dict(
        line.rsplit(maxsplit=2)[:2] for line in capsys.readouterr().out.splitlines()
    )
    assert float(told["best Gaussian"]) > float(told["noisy"]) + 5
    assert "learnt in 2 steps" in told
    # brightness and contrast of the result do not count
    clean = scene(3)
    wrong = clean.copy()
    wrong[0, 0] += 1
    assert fitted_psnr(2 * wrong - 3, clean) == pytest.approx(
        fitted_psnr(wrong, clean), abs=1e-3
    )
