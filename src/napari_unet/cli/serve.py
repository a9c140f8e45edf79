"""`napari-unet serve`: the remote end of `--on HOST`, started by it over ssh."""

from __future__ import annotations

import sys
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from napari_unet.core.event_codec import from_line, to_line
from napari_unet.core.remote_messages import Ask, Command, End
from napari_unet.core.text import reason

if TYPE_CHECKING:
    import argparse
    from typing import BinaryIO

    from napari_unet.engine.served_job import ServedJob

# Bytes of a line; more is no question of ours.
_LONGEST = 2**16
# Seconds to wait for the last word.
_FAREWELL = 30.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare none: the job comes through standard input."""


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from napari_unet.engine.served_job import hello, receive

    source, target = sys.stdin.buffer, sys.stdout.buffer
    # the other side has hung up: it gets no more messages, but the job goes on
    with suppress(BrokenPipeError):
        _send(target, hello().model_dump())
        line = source.readline(_LONGEST)
        if not line:
            return 0
        try:
            ask = Ask.model_validate(from_line(line))
            job = receive(ask, source)
        except EOFError:
            return 1
        except (OSError, ValueError) as error:
            end = End(ended="failed", error=type(error).__name__, sentence=str(error))
            _send(target, end.model_dump())
            return 1
        gone, predicts = Event(), job.bundle.is_file() and job.asked is not None
        Thread(target=_obey, args=(source, job, gone), daemon=True).start()
        for record, content in job.follow(ask.seen, gone.is_set):
            _send(target, record, content)
        if predicts:
            gone.wait(_FAREWELL)  # it is to be told whether the results are there
    return 0


def _obey(source: BinaryIO, job: ServedJob, gone: Event) -> None:
    """Pass orders on until the other side ends."""
    while line := source.readline(_LONGEST):
        try:
            order = Command.model_validate(from_line(line)).order
            if order == "forget":
                job.forget()
            else:
                job.order(order)
        except (OSError, ValueError) as error:
            print(reason(error), file=sys.stderr)
    gone.set()


def _send(target: BinaryIO, record: Any, content: bytes = b"") -> None:
    target.write(to_line(record) + content)
    target.flush()
