"""The workers of a Dask cluster, used like one device."""

from __future__ import annotations

from asyncio import timeout
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from napari_unet.core.network.opaque import Opaque
from napari_unet.core.text import counted
from napari_unet.engine.cluster.executor import Dask
from napari_unet.engine.cluster.worker import VERSIONS, Preparation, SentModel, facts
from napari_unet.engine.inference.tile_run import choose_tile
from napari_unet.engine.network.network import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client

    from napari_unet.core.model import Model
    from napari_unet.core.settings import Prediction
    from napari_unet.engine.cluster.jobs import ModelSource
    from napari_unet.engine.cluster.worker import Facts
    from napari_unet.engine.device import Precision
    from napari_unet.engine.network.network import Network
    from napari_unet.io.resumable_output import ResumableOutput


# What is asked at first takes a worker the time to load torch, in seconds.
_ANSWER_S = 120.0


class Pool:
    """Workers with a model, which predict as one machine does, bit by bit.

    Parameters
    ----------
    client : distributed.Client
        Of any cluster; the first worker is waited for. The program that makes one needs
        the usual guard, ``if __name__ == "__main__":``.
    model : Model
        The model in the file of `source`; sent to workers that do not see that file.
    settings : Prediction
        Device and precision are those of each worker, "auto" by what it has.

    Attributes
    ----------
    network : Network
        The model with the precision of the workers, for its sizes and rules only.
    settings : Prediction
        With that precision.
    device : str
        Devices of the workers, for people.
    notes : tuple of str
        Warnings, each a sentence.

    Raises
    ------
    ValueError
        The workers compute in different precisions and none is named, or have other
        versions of torch or of this program than are here.
    ModuleNotFoundError
        A worker lacks this program.
    OSError
        A worker hangs.
    """

    def __init__(
        self, client: Client, model: Model, source: ModelSource, settings: Prediction
    ) -> None:
        self.client = client
        self.source = source
        client.wait_for_workers(1)
        found = _facts_of(client, settings.device, source)
        if not all(each.sees_model for each in found):
            _answered(client, client.register_plugin, SentModel(source.stamp, model))
        precision = settings.precision
        if precision == "auto":
            precision = _precision(model, found)
        self.settings = settings.replace(precision=precision)
        self.network = _stand_in(model, source, precision)
        self.threads = _threads(found)
        self.free = min(each.free for each in found)
        devices = Counter(each.device for each in found)
        self.device = ", ".join(
            f"{counted(number, 'worker')} on {name}" for name, number in devices.items()
        )
        self.notes: tuple[str, ...] = ()
        if len(devices) > 1:
            self.notes = (
                f"the workers compute on different devices ({self.device}); where "
                "probabilities are close, results depend on which one does a block.",
            )

    def tile(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Choose the output of tiles for a shape, by the worker with least memory."""
        settings = self.settings
        return choose_tile(
            self.network, shape, settings.tile, settings.memory_gb, free=self.free
        )

    def executor(self, work: ResumableOutput) -> Dask:
        """Return an executor of steps on the workers; its `job` is still to be set."""
        return Dask(self.client, work, self.network.geometry, self.device)


def _facts_of(client: Client, device: str, source: ModelSource) -> list[Facts]:
    try:
        _answered(client, client.register_plugin, Preparation(VERSIONS))
        found = _answered(client, client.run, facts, device, source)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"a worker of the cluster lacks {error.name}: install the same napari-unet "
            "there as here.",
            name=error.name,
        ) from error
    return list(found.values())


def _answered(client: Client, asks: Callable[..., Any], *what: Any) -> Any:
    """Return what all workers answer, or raise an OSError: Dask waits for ever."""

    async def asked() -> Any:
        async with timeout(_ANSWER_S):
            return await asks(*what)

    try:
        return client.sync(asked)
    except TimeoutError as error:
        raise OSError(
            f"a worker of the cluster does not answer within {_ANSWER_S:.0f} s: end "
            f"the one that hangs, of {', '.join(client.nthreads())}."
        ) from error


def _precision(model: Model, workers: list[Facts]) -> Precision:
    """Return the precision that all workers have natively."""
    if model.card.outputs is not None or isinstance(model.card.architecture, Opaque):
        return "fp32"
    native = {each.precision: each.device for each in workers}
    if len(native) > 1:
        named = ", ".join(f"{how} on {where}" for how, where in native.items())
        raise ValueError(
            f"the workers compute natively in different precisions ({named}); name "
            "one, as in --precision fp32."
        )
    return cast("Precision", next(iter(native)))


def _stand_in(model: Model, source: ModelSource, precision: Precision) -> Network:
    """Return the network on the CPU: this machine may lack the workers' device."""
    network = prepare(model, "cpu", "fp32", file=source.path)
    return replace(network, precision=precision)


def _threads(workers: list[Facts]) -> int:
    """Return the processors of each process: those on one machine share them."""
    sharing = Counter((each.host, each.processors) for each in workers)
    return min(
        max(len(processors) // number, 1) for (_, processors), number in sharing.items()
    )
