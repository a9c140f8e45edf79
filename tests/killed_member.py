"""The command line, in a process of which the second is killed once in a training."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from napari_unet.cli.main import main
from napari_unet.core.torchrun import this_member
from napari_unet.engine.training import loop
from napari_unet.engine.training.sampling import Sampler

member = this_member()
if member is not None:
    draw = Sampler.draw

    def killed(self: Sampler, step: int, size: int) -> Any:
        if step == 3 and member.rank == 1 and not member.restarts:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(self, step, size)

    Sampler.draw = killed  # type: ignore[method-assign]
    loop._CHECKPOINT_SECONDS = -1.0
sys.exit(main())
