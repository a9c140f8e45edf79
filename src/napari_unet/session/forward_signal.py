"""Forwarding of a signal to another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psygnal import SignalInstance


def forward_signal(
    source: SignalInstance, target: SignalInstance, *before: Any
) -> None:
    """Emit `target` whenever `source` is emitted, with `before` in front.

    A bound `target.emit` cannot be connected: to learn its number of arguments the
    compiled psygnal calls it, and those who listen to it get a message "1".
    """

    def pass_on(*values: Any) -> None:
        target.emit(*before, *values)

    source.connect(pass_on)
