"""What the docks say of each network; the costs are measured in `test_survey_job`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from example_models import random_model
from napari_unet.core.events import NetworkSurveyed
from napari_unet.core.jobs import SurveyJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.training.training_settings import FIJI, Training
from napari_unet.io.model_file import save_model
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Pump
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.training.network_offers import NetworkOffer

UNET = NETWORKS["unet"]


class Bench(SessionBench):
    """A project, and the networks it can choose from."""

    def open(self, store: ProjectStore) -> None:
        super().open(store)
        self.control = self.make_training()
        self.offers, self.plan = self.control.offers, self.control.plan

    def close(self) -> None:
        self.control.close()
        super().close()

    def of(self, name: str) -> NetworkOffer:
        return {offer.name: offer for offer in self.offers.offers()}[name]

    def train(self, **changes: object) -> None:
        self.plan.set(training=self.plan.settings.replace(**changes))

    def annotate(self, *shape: int, axes: str = "yx") -> str:
        image = self.add(np.zeros(shape, np.uint8), f"image {axes}", axes).id
        layer = self.annotating.layers.show(image)
        painted = np.ones_like(layer.data)
        painted[..., :5] = 2
        layer.data = painted
        self.annotating.object_index.update_all(60)
        return image


@pytest.fixture
def bench(
    tmp_path: Path, pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    two = {
        "unet": UNET,
        "flat": replace(UNET, title="Flat", ndims=(2,), recipe={2: {"depth": 2}}),
        "rgb": replace(UNET, title="RGB", encoder="vgg11"),
    }
    for name in set(NETWORKS) - set(two):
        monkeypatch.delitem(NETWORKS, name)  # type: ignore[arg-type]
    for name, entry in two.items():
        monkeypatch.setitem(NETWORKS, name, entry)  # type: ignore[arg-type]
    bench = Bench(tmp_path, pump.post)
    yield bench
    bench.close()


def test_what_cannot_be_trained_on_the_images_says_why(bench: Bench) -> None:
    bench.annotate(2, 40, 50, axes="cyx")
    assert [(o.name, o.title, o.cost) for o in bench.offers.offers()] == [
        ("unet", "U-Net", ""),
        ("flat", "Flat", ""),
        ("rgb", "RGB", ""),
    ]
    assert bench.of("unet").use == UNET.use
    assert not bench.of("flat").problem
    assert not bench.of("rgb").problem
    bench.train(network="rgb", encoder="imagenet")
    assert bench.of("rgb").problem == (
        "ImageNet's weights are for grey or RGB images, of 1 or 3 channels, these "
        "have 2."
    )
    bench.plan.set(training=Training(ndim=3))
    assert bench.of("flat").problem == "Flat is for slices (2-D) alone."


def test_the_worker_tries_out_what_could_be_trained(bench: Bench) -> None:
    bench.annotate(9, 40, 50, axes="zyx")
    bench.offers.survey()
    (job,) = bench.worker.jobs(SurveyJob)
    assert [c.network for c in job.candidates] == ["unet", "flat", "rgb"]
    assert [c.depth for c in job.candidates] == [3, 2, 3]
    assert (job.channels, job.classes, job.slices, job.device) == (1, 2, 9, "cpu")
    told = []
    bench.offers.changed.connect(lambda: told.append(True))
    found = NetworkSurveyed(job.candidates[0], seconds=1.26, memory=34 * 10**7)
    refused = NetworkSurveyed(job.candidates[1], problem="It takes 99 GB.")
    third = NetworkSurveyed(job.candidates[2], seconds=12, memory=10**10)
    bench.worker.emit(bench.worker.last, found, refused, third)
    assert len(told) == 3
    assert bench.of("unet").cost == "1.3 s per megapixel here, 0.3 GB to train"
    assert (bench.of("flat").cost, bench.of("flat").problem) == ("", "It takes 99 GB.")
    bench.worker.end(bench.worker.last)
    # known: budget and choice change nothing, the size does
    bench.train(minutes=9, seed=3)
    bench.offers.survey()
    bench.plan.set(training=bench.plan.settings.with_network("flat"))
    assert bench.of("unet").cost
    bench.offers.survey()
    assert len(bench.worker.jobs(SurveyJob)) == 1
    for number, change in enumerate(({"width": 8}, {"padded": True}), 2):
        bench.train(**change)
        assert not bench.of("flat").problem
        bench.offers.survey()
        assert len(bench.worker.jobs(SurveyJob)) == number
        bench.worker.end(bench.worker.last)


def test_nobody_who_waits_for_the_worker_is_disturbed(bench: Bench) -> None:
    bench.annotate(40, 50)
    bench.offers.survey()
    handle = bench.worker.last
    bench.offers.survey()
    assert bench.worker.last is handle
    bench.control.start()
    assert handle in bench.worker.cancelled


def test_volumes_are_told_of_in_voxels(bench: Bench) -> None:
    bench.annotate(9, 40, 50, axes="zyx")
    bench.plan.set(training=Training.quick(3))
    bench.offers.survey()
    (job,) = bench.worker.jobs(SurveyJob)
    found = NetworkSurveyed(job.candidates[0], seconds=25.4, memory=10**7)
    bench.worker.emit(bench.worker.last, found)
    assert bench.of("unet").cost == "25 s per million voxels here, < 0.1 GB to train"


def test_a_network_that_cannot_be_had_is_no_training(bench: Bench) -> None:
    bench.annotate(2, 40, 50, axes="cyx")
    bench.train(network="rgb", encoder="imagenet")
    possible, why = bench.control.can_start
    assert not possible
    assert why == (
        "ImageNet's weights are for grey or RGB images, of 1 or 3 channels, these "
        "have 2. Choose another network or encoder."
    )


def test_patches_too_small_for_a_norm_are_told_before_training(
    bench: Bench, tmp_path: Path
) -> None:
    bench.annotate(40, 50)
    bench.train(padded=True, depth=2, patch=4, batch=1)
    possible, why = bench.control.can_start
    assert not possible
    assert why.startswith("Of patches of 4 × 4 pixels one pixel is left")
    bench.train(batch=2)
    assert bench.control.can_start == (True, "")
    # of a model to start from it is its own network that counts
    bench.train(padded=False, batch=1)
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1, norm="batch")
    path = tmp_path / "padded.safetensors"
    save_model(random_model(table.replace(padded=True, window=(2, 2))), path)
    bench.plan.set(start=str(path))
    assert "2 × 2 pixels" in bench.control.can_start[1]


def test_weights_that_are_not_there_are_told_before_training(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    bench.annotate(40, 50)
    bench.train(network="rgb", encoder="imagenet")
    possible, why = bench.control.can_start
    assert not possible
    assert why.startswith("The ImageNet weights of VGG11 are not on this computer: ")
    folder = tmp_path / "encoders"
    folder.mkdir()
    (folder / "vgg11-8a719046.pth").write_bytes(b"")
    assert bench.control.can_start == (True, "")


def test_a_model_to_start_from_keeps_its_network(bench: Bench, tmp_path: Path) -> None:
    bench.annotate(40, 50)
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    card = model.card.replace(training=Training(network="flat"))
    path = tmp_path / "flat.safetensors"
    save_model(replace(model, card=card), path)
    bench.plan.set(start=str(path))
    assert bench.plan.network_of_start == "flat"
    assert bench.plan.new_record().settings.network == "flat"
    assert bench.plan.new_record().settings == bench.plan.next_settings
    assert bench.plan.settings.network == "unet"
    bench.plan.set(start=None)
    assert bench.plan.network_of_start is None
    assert bench.plan.new_record().settings.network == "unet"


def test_a_model_to_start_from_brings_the_recipe_of_its_network(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(  # type: ignore[misc]
        NETWORKS, "flat", replace(NETWORKS["flat"], recipe={2: {"batch": 3}})
    )
    bench.annotate(40, 50)
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    card = model.card.replace(training=Training(network="flat", width=2, depth=1))
    path = tmp_path / "flat.safetensors"
    save_model(replace(model, card=card), path)
    bench.plan.set_start(str(path))
    settings = bench.plan.new_record().settings
    assert (settings.width, settings.depth, settings.batch) == (2, 1, 3)


def test_a_model_of_the_fiji_plugin_brings_its_recipe_in_the_same_budget(
    bench: Bench, tmp_path: Path
) -> None:
    bench.annotate(40, 50)
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    recipe = Training(preset=FIJI, width=2, depth=1, batch=1, patch=164)
    card = model.card.replace(training=recipe.replace(steps=1000, minutes=0))
    path = tmp_path / "fiji.safetensors"
    save_model(replace(model, card=card), path)
    bench.plan.set(training=Training.accurate().replace(minutes=7, validation=0.2))
    bench.plan.set_start(str(path))
    settings = bench.plan.new_record().settings
    assert settings == recipe.replace(minutes=7, validation=0.2)
    bench.plan.set_start(None)
    quick = Training.quick().replace(minutes=7, validation=0.2)
    assert bench.plan.new_record().settings == quick
