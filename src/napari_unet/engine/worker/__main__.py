"""`python -m napari_unet.engine.worker`, started by `session.worker.worker_process`.

Address and key come through the standard input, so that no list of processes shows
them.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any

from napari_unet.core import jobs
from napari_unet.core.messages import Acknowledged
from napari_unet.engine.worker.channel import Channel
from napari_unet.engine.worker.inbox import JobInbox
from napari_unet.engine.worker.process import (
    CPU_NICE,
    NETWORK_NICE,
    Reporter,
    lower_priority,
    offer_for_ending,
)
from napari_unet.engine.worker.scheduler import Scheduler

if TYPE_CHECKING:
    from napari_unet.engine.worker.inbox import Task
    from napari_unet.engine.worker.scheduler import Ticks

# Module of this package that does a job; those of the CPU worker never load torch.
_CPU_JOBS: dict[type[jobs.Job], str] = {
    jobs.SegmentJob: "cells_job",
    jobs.WeightsJob: "weights_job",
    jobs.CheckJob: "check_job",
    jobs.ExportJob: "export_job",
}
_NETWORK_JOBS: dict[type[jobs.Job], str] = {
    jobs.TrainJob: "training_job",
    jobs.PredictJob: "prediction_job",
    jobs.LoadModelJob: "model_jobs",
    jobs.FreeMemoryJob: "model_jobs",
    jobs.PredictFolderJob: "folder_job",
}

# Somebody who has just chosen a model presses Predict before long.
_REST_S = 3.0
# What shells add to the number of a signal.
_SIGNALLED = 128


def main() -> None:
    """Do jobs until napari has no more or is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=("network", "cpu"), required=True)
    networks = parser.parse_args().kind == "network"
    offer_for_ending()
    # Ctrl-C in napari's terminal reaches this process too: napari decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel.from_greeting(sys.stdin)
    inbox = JobInbox(channel, give_up=lambda: os._exit(1))
    asked = _end_when_asked(inbox)
    channel.send(Acknowledged(job=0))
    inbox.start()
    if networks:
        _load_torch(inbox)
    else:
        lower_priority(CPU_NICE)
        _load_cells(inbox)
    Reporter(channel, inbox, networks=networks and "torch" in sys.modules).start()
    Scheduler(inbox, channel, _NetworkJobs() if networks else _cpu_job).run()
    if asked:
        with suppress(OSError):
            pass
    # all is written; taking torch down in good order would only take time
    os._exit(_SIGNALLED + asked[0] if asked else 0)


def _end_when_asked(inbox: JobInbox) -> list[int]:
    """Have jobs end as if cancelled on a signal; return a list that it is noted in.

    Such is sent where the terminal closes, and where a cluster's time is up.
    """
    asked: list[int] = []

    def close(number: int, _: object) -> None:
        asked.append(number)
        inbox.close()

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # who started napari with nohup wants it to go on
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, close)
    return asked


def _cpu_job(task: Task) -> Ticks:
    yield from _module(_CPU_JOBS, task).run(task.what)


class _NetworkJobs:
    """Begins jobs of the network worker with what they share."""

    def __init__(self) -> None:
        self._bench: Any = None

    def __call__(self, task: Task) -> Ticks:
        # imported with the first job: an error is then that of a job, and is shown
        from napari_unet.engine.worker.model_cache import Context, ModelCache

        self._bench = self._bench or ModelCache()
        yield from _module(_NETWORK_JOBS, task).run(
            task.what, Context(task, self._bench)
        )


def _module(known: dict[type[jobs.Job], str], task: Task) -> Any:
    name = known.get(type(task.what))
    if name is None:
        raise ValueError(
            f"this worker takes {', '.join(k.__name__ for k in known)}, "
            f"found {type(task.what).__name__}."
        )
    return import_module(f"napari_unet.engine.worker.{name}")


def _load_torch(inbox: JobInbox) -> None:
    """Load torch while nobody waits; without a GPU it gets all cores, but last."""
    # where it cannot be loaded the first job says why
    with suppress(Exception):
        import torch

        from napari_unet.engine.device import choose_device

        if choose_device().type == "cpu":
            lower_priority(NETWORK_NICE)
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(_cores())
        import_module("napari_unet.engine.worker.model_cache")
        import_module("napari_unet.engine.worker.prediction_job")
        import_module("napari_unet.engine.worker.training_job")
        Thread(target=_prepare_training, args=(inbox,), daemon=True).start()


def _prepare_training(inbox: JobInbox) -> None:
    """Have ready what trains, when nobody waits.

    A first tile asked for meanwhile would take half as long again.
    """
    if inbox.rest(_REST_S):
        import_module("napari_unet.engine.worker.training_job").warm_up()


def _load_cells(inbox: JobInbox) -> None:
    """Have ready what finds cells, unless somebody waits for something else."""
    cells_job = import_module("napari_unet.engine.worker.cells_job")
    if inbox.empty:
        cells_job.warm_up()


def _cores() -> int:
    """Count the cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
