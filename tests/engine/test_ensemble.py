"""Models that are the mean of several networks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core import events
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.images.image import Image
from napari_unet.core.model import ImageScore, Model, Score
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.core.training.folds import Fold
from napari_unet.core.training.training_set_updates import example_of
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training import planning
from napari_unet.engine.training.course import Course
from napari_unet.engine.training.ensemble import joined
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import (
    load_model,
    member_file,
    remove_members,
    save_model,
)

if TYPE_CHECKING:
    from pathlib import Path

TINY = Training(
    width=2, depth=1, batch=1, patch=20, steps=8, minutes=0, precision="fp32"
)


def discs(seed: int) -> tuple[Image, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    labels = np.zeros((48, 48), np.uint16)
    for number, (cy, cx) in enumerate([(12, 12), (12, 36), (36, 12), (36, 36)], 1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 49 + seed] = number
    pixels = (labels > 0) + rng.normal(0, 0.3, labels.shape)
    return Image(pixels.astype(np.float32), "yx", name=f"{seed}"), labels


IMAGES, LABELS = zip(*(discs(seed) for seed in range(4)), strict=True)


def run(
    settings: Training = TINY, folds: int = 2, **options: Any
) -> list[events.Event]:
    options.setdefault("device", "cpu")
    settings = settings.replace(folds=folds)
    return list(train(IMAGES, LABELS, settings, kind="instances", **options))


def finished(job: list[events.Event]) -> events.TrainingFinished:
    last = job[-1]
    assert isinstance(last, events.TrainingFinished)
    return last


def same(a: Model, b: Model) -> bool:
    return a.weights.keys() == b.weights.keys() and all(
        np.array_equal(a.weights[n], b.weights[n]) for n in a.weights
    )


def member(model: Model, number: int) -> Model:
    start = f"{number}/"
    own = {
        n.removeprefix(start): w
        for n, w in model.weights.items()
        if n.startswith(start)
    }
    return Model(model.card.replace(members=1), own)


def probabilities(model: Model, **settings: Any) -> np.ndarray:
    *_, last = predict(model, IMAGES[0], settings=Prediction(device="cpu", **settings))
    return np.asarray(last.probabilities)  # type: ignore[union-attr]


def test_each_network_learns_what_others_are_judged_by() -> None:
    job = run()
    model = finished(job).model
    assert (model.card.members, model.card.steps, finished(job).steps) == (2, 8, 8)
    assert model.card.training == TINY.replace(folds=2)
    assert model.card.format == 2
    started = [e for e in job if isinstance(e, events.TrainingStarted)]
    assert [e.validation for e in started] == [
        f"network {k} of 2, 2 of 4 slices held out" for k in (1, 2)
    ]
    pairs = annotated_fields(IMAGES, LABELS, 2, "instances")
    for number in range(2):
        recipe = TINY.replace(steps=4, seed=number)
        single = TrainingRun(
            pairs, recipe, RunOptions(device="cpu"), fold=Fold(number, 2)
        )
        alone = finished(list(single.events())).model
        assert same(member(model, number), alone)
    # all that is annotated has judged one of the networks
    assert model.card.score is not None
    assert model.card.score.pixels == 4 * 48 * 48
    assert len([e for e in job if isinstance(e, events.Judging)]) == 1


def test_the_progress_is_that_of_all() -> None:
    steps = [e for e in run() if isinstance(e, events.StepDone)]
    assert [e.progress for e in steps] == [k / 8 for k in range(1, 9)]
    assert [e.step for e in steps] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert steps[3].seconds_left > 0
    assert steps[-1].seconds_left == 0


@pytest.mark.parametrize("averaging", ["none", "dihedral"])
def test_the_file_predicts_the_mean_of_its_networks(
    tmp_path: Path, averaging: str
) -> None:
    model = finished(run(folds=3)).model
    save_model(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.card.replace(name="model") == model.card
    options = {"averaging": averaging, "precision": "fp32"}
    each = [probabilities(member(model, k), **options) for k in range(3)]
    found = probabilities(loaded, **options)
    assert np.abs(each[0] - each[1]).max() > 0.01
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=2e-6)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("stop", [2, 6])
def test_an_interrupted_training_ends_with_the_same_model(
    tmp_path: Path, stop: int
) -> None:
    whole = finished(run()).model
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    options: dict[str, Any] = {"checkpoint": checkpoint, "device": "cpu"}
    two = TINY.replace(folds=2)
    job = train(IMAGES, LABELS, two, kind="instances", **options)
    steps = 0
    for event in job:
        steps += isinstance(event, events.StepDone)
        if steps == stop:
            job.close()  # type: ignore[attr-defined]
            break
    assert checkpoint.exists()
    assert member_file(checkpoint, 0).exists() == (stop > 4)
    again = finished(run(checkpoint=checkpoint, resume=checkpoint))
    assert same(again.model, whole)
    assert again.model.card.score == whole.card.score


def test_a_run_killed_between_two_networks_goes_on_with_the_next(
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    whole = finished(run(checkpoint=checkpoint)).model
    # the checkpoint is that of the second; as after a kill it is that of the first
    save_model(load_model(member_file(checkpoint, 0)), checkpoint)
    member_file(checkpoint, 1).unlink()
    assert same(finished(run(checkpoint=checkpoint, resume=checkpoint)).model, whole)


def test_planned_networks_go_on_as_planned_with_less_memory_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = {"width": 2, "depth": 1, "patch": 20, "steps": 8, "precision": "fp32"}
    asked = Training.automatic(folds=2, **by_hand)
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    whole = finished(run(asked, checkpoint=checkpoint)).model
    save_model(load_model(member_file(checkpoint, 0)), checkpoint)
    member_file(checkpoint, 1).unlink()
    monkeypatch.setattr(planning, "free_memory", lambda _: 30_000)
    again = finished(run(asked, checkpoint=checkpoint, resume=checkpoint)).model
    assert same(again, whole)
    assert again.card.training == whole.card.training


@pytest.mark.parametrize("changes", [{"steps": 20}, {"seed": 3}, {"patch": 24}])
def test_networks_of_other_settings_are_not_gone_on_with(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    run(checkpoint=checkpoint)
    with pytest.raises(ValueError, match="was trained with other settings"):
        run(TINY.replace(**changes), checkpoint=checkpoint, resume=checkpoint)
    # begun anew, nothing is left of them
    again = run(TINY.replace(**changes), checkpoint=checkpoint)
    assert finished(again).model.card.members == 2


def test_a_training_that_came_to_its_end_is_not_begun_anew_as_if_it_went_on(
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    run(checkpoint=checkpoint)
    # all are finished, and only what they say together was lost
    assert (
        finished(run(checkpoint=checkpoint, resume=checkpoint)).model.card.members == 2
    )
    remove_members(checkpoint)
    with pytest.raises(ValueError, match="belongs to none of the networks"):
        run(checkpoint=checkpoint, resume=checkpoint)


def test_one_of_several_is_not_gone_on_with_alone_nor_one_alone_as_one_of_several(
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    run(checkpoint=checkpoint)
    with pytest.raises(ValueError, match=r"that of network 2 of 2: go on with --folds"):
        run(folds=1, checkpoint=checkpoint, resume=checkpoint)
    run(folds=1, checkpoint=checkpoint)
    remove_members(checkpoint)
    with pytest.raises(ValueError, match="trained alone: go on without --folds"):
        run(checkpoint=checkpoint, resume=checkpoint)


def test_networks_of_other_images_are_not_gone_on_with(tmp_path: Path) -> None:
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    run(checkpoint=checkpoint)
    member_file(checkpoint, 1).unlink()
    other = (*IMAGES[:3], replace(IMAGES[3], data=np.asarray(IMAGES[3].data) + 1))
    job = train(
        other,
        LABELS,
        TINY.replace(folds=2),
        kind="instances",
        checkpoint=checkpoint,
        resume=checkpoint,
        device="cpu",
    )
    with pytest.raises(ValueError, match="have learnt other images"):
        list(job)


def test_what_is_joined_is_the_middle_of_all() -> None:
    settings = TINY.replace(steps=3)
    models = []
    for number, threshold in enumerate((0.6, 0.4, 0.5)):
        base = finished(run(TINY.replace(steps=1), folds=1)).model
        card = base.card.replace(
            segmentation=Segmentation(
                threshold=threshold, min_size=10 * number, unsure_size=50 * number
            ),
            score=Score(loss=number, iou=number / 4, pixels=number + 1),
        )
        models.append(Model(card, base.weights))
    card = joined(models, settings).card
    assert (card.segmentation.threshold, card.segmentation.min_size) == (0.5, 10)
    assert card.segmentation.unsure_size == 50
    # by 1, 2 and 3 of the six pixels
    assert card.score is not None
    assert card.score.loss == pytest.approx(8 / 6)
    assert card.score.iou == pytest.approx(2 / 6)
    assert (card.score.pixels, card.steps) == (6, 3)


@pytest.mark.parametrize("change", ["missing", "more", "single"])
def test_weights_that_are_not_those_of_the_networks_are_damage(change: str) -> None:
    model = finished(run()).model
    weights = dict(model.weights)
    if change == "missing":
        del weights["1/score.bias"]
    elif change == "more":
        weights["2/score.bias"] = weights["1/score.bias"]
    else:
        weights = dict(member(model, 0).weights)
    with pytest.raises(ValueError, match="the file is damaged"):
        prepare(Model(model.card, weights), "cpu", "fp32")


TARGETS = [np.stack([2 * i.data + 5, -i.data]) for i in IMAGES]
TARGETS = [Image(values.astype(np.float32), "cyx") for values in TARGETS]
MADE = TINY.with_task("regress")


def regress(
    settings: Training = MADE, targets: list[Image] = TARGETS, **options: Any
) -> Model:
    settings = settings.replace(folds=2)
    job = train(IMAGES, targets, settings, device="cpu", **options)
    return finished(list(job)).model


def test_networks_that_make_images_are_one_that_makes_their_mean(
    tmp_path: Path,
) -> None:
    save_model(regress(), tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors")
    values = np.concatenate([np.asarray(t.data).reshape(2, -1) for t in TARGETS], 1)
    outputs, score = model.card.outputs, model.card.score
    assert outputs is not None
    np.testing.assert_allclose(outputs.mean, values.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(outputs.sd, values.std(axis=1), rtol=1e-5)
    assert isinstance(score, ImageScore)
    assert score.pixels == 4 * 48 * 48
    each = [probabilities(member(model, k), precision="fp32") for k in range(2)]
    found = probabilities(model, precision="fp32")
    assert found.shape == (2, 48, 48)
    assert np.abs(each[0] - each[1]).max() > 0.01
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)


def test_networks_of_other_targets_are_not_gone_on_with(tmp_path: Path) -> None:
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    whole = regress(checkpoint=checkpoint)
    member_file(checkpoint, 1).unlink()
    options = {"checkpoint": checkpoint, "resume": checkpoint}
    other = [*TARGETS[:3], replace(TARGETS[3], data=np.asarray(TARGETS[3].data) + 1)]
    with pytest.raises(ValueError, match="have learnt other images"):
        regress(targets=other, **options)
    assert same(regress(**options), whole)


def test_a_figure_that_one_of_the_networks_lacks_is_missing() -> None:
    base = regress()
    models = []
    for number, similar in enumerate((0.5, None)):
        score = ImageScore(
            loss=number, psnr=20 + 4 * number, ssim=similar, pearson=0.5, pixels=1
        )
        card = member(base, 0).card.replace(score=score)
        models.append(Model(card, member(base, 0).weights))
    score = ImageScore(loss=0.5, psnr=22, ssim=None, pearson=0.5, pixels=2)
    assert joined(models, MADE).card.score == score


def test_what_nothing_can_be_held_out_of_is_one_network() -> None:
    denoise = TINY.with_task("denoise")
    with pytest.raises(ValueError, match=r"to denoise, one network is trained"):
        denoise.replace(folds=2)
    card = finished(list(train(IMAGES, (), denoise, device="cpu"))).model.card
    with pytest.raises(ValueError, match="is one network, found 2 members"):
        card.replace(members=2)
    for folds in (0, 11):
        with pytest.raises(ValueError, match="folds"):
            TINY.replace(folds=folds)


def test_training_does_not_begin_with_several_networks() -> None:
    model = finished(run()).model
    with pytest.raises(ValueError, match="is the mean of 2 networks"):
        run(folds=1, start=model)


def test_too_few_slices_are_told_before_any_step() -> None:
    with pytest.raises(ValueError, match=r"^5 networks, .* found 4\.$"):
        run(folds=5)


def test_a_training_that_is_finished_early_is_the_mean_of_what_is_finished() -> None:
    pairs = annotated_fields(IMAGES, LABELS, 2, "instances")
    for stop, members in ((1, 1), (5, 1), (8, 2)):
        settings = TINY.replace(steps=12, folds=3)
        whole = finished(run(settings, folds=3)).model
        course = Course(lambda _: pairs, settings, RunOptions(device="cpu"))
        steps, last = 0, None
        for event in course.events():
            steps += isinstance(event, events.StepDone)
            if steps == stop and isinstance(event, events.StepDone):
                course.finish()
            last = event
        assert isinstance(last, events.TrainingFinished)
        card = last.model.card
        assert (card.members, card.training) == (members, settings)
        assert steps == stop
        if stop > 4:
            each = [member(last.model, k) for k in range(members)]
            if members == 1:
                each = [last.model]
            for k, one in enumerate(each):
                assert same(one, member(whole, k))


def test_what_is_painted_meanwhile_is_learnt_by_those_that_follow() -> None:
    pairs = annotated_fields(IMAGES, LABELS, 2, "instances")
    settings = TINY.replace(folds=2)
    course = Course(lambda _: pairs, settings, RunOptions(device="cpu"))
    field, known = pairs[0]
    erased = replace(known, labels=np.where(known.labels == 2, 1, known.labels))
    painted = []
    for event in course.events():
        if not isinstance(event, events.StepDone):
            continue
        if event.step == 2 and not painted:
            pairs[0] = field, erased
            course.correct(field, erased)
        elif event.step == 3:
            example = example_of(course.run.loop.prepared.training_set, field)
            assert example is not None
            painted.append(np.count_nonzero(example.classes == 1))
    wanted = np.count_nonzero(erased.targets().classes == 1)
    assert painted == [wanted, wanted]
    assert wanted < np.count_nonzero(known.targets().classes == 1)
