"""The remote end of `remote`: takes a bundle in, as `napari-unet serve` does.

`python -m benchmarks.speed.remote_end`, in place of what ssh would begin elsewhere.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from napari_unet import __version__
from napari_unet.core.event_codec import from_line, to_line
from napari_unet.core.remote_messages import Ask, End, File, Hello
from napari_unet.engine.served_job import ServedJob, receive

# Bytes of the model that comes back, about that of the preset quick.
_MODEL = 2 * 2**20


def main() -> None:
    """Present itself, take a bundle in, and send a model back."""
    hello = Hello(
        version=__version__, device="cpu", free=2**40, host=socket.gethostname()
    )
    _send(hello)
    ServedJob.begin = lambda self, ask, death="": None  # type: ignore[method-assign]
    ask = Ask.model_validate(from_line(sys.stdin.buffer.readline()))
    receive(ask, sys.stdin.buffer)
    _send(File(file="model", size=_MODEL), bytes(_MODEL))
    _send(End(ended="done"))


def _send(record: Any, content: bytes = b"") -> None:
    sys.stdout.buffer.write(to_line(record.model_dump()) + content)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
