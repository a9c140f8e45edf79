"""`python -m napari_unet.engine.worker`, started by `session.worker.worker_process`.

Address and key come through the standard input: a command line would show them in the
list of processes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, get_args

from napari_unet.core.jobs import WorkerKind
from napari_unet.core.messages import Acknowledged
from napari_unet.engine.worker import process
from napari_unet.engine.worker.channel import Channel
from napari_unet.engine.worker.inbox import JobInbox
from napari_unet.engine.worker.scheduler import Scheduler

if TYPE_CHECKING:
    from napari_unet.engine.worker.inbox import Task
    from napari_unet.engine.worker.scheduler import Ticks

# A model that was just chosen is likely to predict within seconds.
_REST_S = 3.0
# Shells add this to the number of a signal.
_SIGNALLED = 128


def main() -> None:
    """Run jobs until napari shuts the worker down or has ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=get_args(WorkerKind), required=True)
    kind: WorkerKind = parser.parse_args().kind
    process.offer_for_ending()
    # Ctrl-C in napari's terminal reaches this process too: napari decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel.from_greeting(sys.stdin)
    inbox = JobInbox(channel, give_up=lambda: os._exit(1))
    signals = _close_on_signals(inbox)
    channel.send(Acknowledged(job=0))
    inbox.start()
    if kind == "network":
        _load_torch(inbox)
    else:
        process.lower_priority(process.CPU_NICE)
        _load_cells(inbox)
    networks = kind == "network" and "torch" in sys.modules
    report = partial(process.report_status, channel, inbox, networks=networks)
    Thread(target=report, daemon=True).start()
    Scheduler(inbox, channel, JobStarter(kind)).run()
    # all is written; an orderly shutdown of torch would only take time
    os._exit(_SIGNALLED + signals[0] if signals else 0)


def _close_on_signals(inbox: JobInbox) -> list[int]:
    """Cancel all jobs on a signal; return a list to which the signal is added.

    Signals come when the terminal closes, or when a cluster's time is up.
    """
    received: list[int] = []

    def close(number: int, _: object) -> None:
        received.append(number)
        inbox.close()

    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        # ignored under nohup: the process is to go on
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, close)
    return received


class JobStarter:
    """Makes the generators of jobs; those of the network worker share a cache."""

    def __init__(self, kind: WorkerKind) -> None:
        self._kind = kind
        self._cache: Any = None

    def __call__(self, task: Task) -> Ticks:
        """Import the module of the job, and begin.

        Only now: an error of the import is then reported as that of the job.
        """
        job = task.what
        if job.worker != self._kind:
            raise ValueError(
                f"the {self._kind} worker does not take {type(job).__name__}."
            )
        module, name = job.function.split(".")
        function = getattr(_module(module), name)
        arguments: list[Any] = [job]
        if self._kind == "network":
            model_cache = _module("model_cache")
            self._cache = self._cache or model_cache.ModelCache()
            arguments.append(model_cache.Context(task, self._cache))
        elif job.steered:
            arguments.append(task)
        ticks: Ticks = function(*arguments)
        return ticks


def _module(name: str) -> Any:
    return import_module(f"napari_unet.engine.worker.{name}")


def _load_torch(inbox: JobInbox) -> None:
    """Load torch while nobody waits; without a GPU it gets all cores, but last."""
    # if it cannot be loaded, the first job reports why
    with suppress(Exception):
        import torch

        from napari_unet.engine.device import choose_device

        if choose_device().type == "cpu":
            process.lower_priority(process.NETWORK_NICE)
        if "OMP_NUM_THREADS" not in os.environ:
            linux = sys.platform == "linux"
            # a cluster may grant fewer cores than there are
            cores = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
            torch.set_num_threads(cores)
        for name in ("model_cache", "prediction_job", "training_job"):
            _module(name)
        Thread(target=_prepare_training, args=(inbox,), daemon=True).start()


def _prepare_training(inbox: JobInbox) -> None:
    """Import the modules of training while the worker is idle.

    A first tile requested meanwhile would take half as long again.
    """
    if inbox.rest(_REST_S):
        _module("training_job").warm_up()


def _load_cells(inbox: JobInbox) -> None:
    """Load the steps that find cells while the worker is idle."""
    cells_job = _module("cells_job")
    if inbox.empty:
        cells_job.warm_up()


if __name__ == "__main__":
    main()
