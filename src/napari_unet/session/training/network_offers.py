"""The networks that a training can choose from, with their cost on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import NetworkSurveyed
from napari_unet.core.jobs import SurveyJob
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.training.training_settings import OF_NETWORK

if TYPE_CHECKING:
    from collections.abc import Hashable

    from napari_unet.core.training.training_settings import Training
    from napari_unet.session.session import Session
    from napari_unet.session.training.training_data import TrainingData
    from napari_unet.session.worker.client import Handle


@dataclass(frozen=True, slots=True)
class NetworkOffer:
    """One network of the catalogue, for people."""

    name: str
    title: str
    use: str
    # empty before its trial
    cost: str
    # why it cannot be trained on these images; empty if it can
    problem: str


@dataclass(frozen=True, slots=True)
class _Data:
    """The data that costs depend on, besides the settings."""

    channels: int
    classes: int
    slices: int
    device: str


class NetworkOffers:
    """Lists the networks; the worker tries them out once the list is shown."""

    changed = Signal()
    """Something became known of a network."""

    def __init__(self, session: Session, training_data: TrainingData) -> None:
        self._session, self._training_data = session, training_data
        self._store, self._worker = session.store, session.worker
        self._handle: Handle | None = None
        self._known: dict[Hashable, NetworkSurveyed] = {}

    def offers(self) -> tuple[NetworkOffer, ...]:
        """Return all networks, as the settings of the project would have them."""
        data = self._data()
        ndim = self._store.project.training.ndim
        offers = []
        for name, entry in NETWORKS.items():
            found = self._known.get(_key(self._settings(name), data))
            problem = self._refusal(name, data) or (found.problem if found else "")
            cost = _words(found, ndim) if found and not problem else ""
            offers.append(NetworkOffer(name, entry.title, entry.use, cost, problem))
        return tuple(offers)

    def survey(self) -> None:
        """Have networks without known cost tried out, if the worker is idle."""
        data = self._data()
        candidates = tuple(
            settings
            for name in NETWORKS
            if not self._refusal(name, data)
            and _key(settings := self._settings(name), data) not in self._known
        )
        if not candidates or self._worker.busy:
            return
        job = SurveyJob(
            candidates, data.channels, data.classes, data.slices, data.device
        )
        self._handle = self._worker.submit(job)
        self._handle.event.connect(self._on_event)

    def close(self) -> None:
        """Cancel the trials."""
        if self._handle is not None:
            self._handle.abandon()
            self._handle = None

    def _refusal(self, name: str, data: _Data) -> str:
        settings = self._settings(name)
        return NETWORKS[name].refusal(settings.ndim, data.channels, settings.encoder)

    def _settings(self, name: str) -> Training:
        settings = self._store.project.training
        return settings if name == settings.network else settings.with_network(name)

    def _data(self) -> _Data:
        project = self._store.project
        images = self._training_data.chosen() or project.images[:1]
        return _Data(
            channels=images[0].channels if images else 1,
            classes=len(project.classes) + 1,
            slices=min((image.sizes["z"] for image in images), default=1),
            device=self._session.preferences.device,
        )

    def _on_event(self, event: object) -> None:
        if isinstance(event, NetworkSurveyed) and self._handle is not None:
            job = self._handle.job
            if isinstance(job, SurveyJob):
                data = _Data(job.channels, job.classes, job.slices, job.device)
                self._known[_key(event.settings, data)] = event
                self.changed.emit()


def _key(settings: Training, data: _Data) -> Hashable:
    """Return what the costs of a network depend on."""
    return (
        *(getattr(settings, name) for name in OF_NETWORK),
        *(settings.ndim, settings.precision, settings.patch, settings.batch),
        data,
    )


def _words(found: NetworkSurveyed, ndim: int) -> str:
    unit = "megapixel" if ndim == 2 else "million voxels"
    return (
        f"{_rounded(found.seconds)} s per {unit} here, "
        f"{_rounded(found.memory / 1e9)} GB to train"
    )


def _rounded(value: float) -> str:
    return (
        f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else "< 0.1"
    )
