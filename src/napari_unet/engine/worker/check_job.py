"""The data check of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.annotation.data_check import CheckReport
from napari_unet.core.annotation.project_check import check
from napari_unet.core.events import Checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import CheckJob


def run(job: CheckJob) -> Iterator[Event | None]:
    """Check all images; None after each plane, `Checked` at the end."""
    report = CheckReport()
    for so_far in check(job.images, job.annotations, job.places, job.halo):
        report = so_far
        yield None
    yield Checked(report)
