"""The worker's end of the connection, for several threads."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from multiprocessing.connection import Client
from threading import Lock
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from napari_unet.core.messages import Message


class Channel:
    """Sends and receives messages; after napari has ended, sending does nothing.

    `parent` is the process id of napari.
    """

    def __init__(self, connection: Connection, parent: int) -> None:
        self.parent = parent
        self._connection = connection
        self._lock = Lock()

    @classmethod
    def from_greeting(cls, stream: TextIO) -> Channel:
        """Connect to the address in the first line of a stream, with the key in it."""
        greeting = json.loads(stream.readline())
        key = bytes.fromhex(greeting["key"])
        return cls(Client(greeting["address"], authkey=key), greeting["parent"])

    def send(self, message: Message) -> None:
        """Send a message; one that cannot be pickled is not sent in part."""
        written = pickle.dumps(message)
        with self._lock, suppress(OSError):
            self._connection.send_bytes(written)

    def receive(self) -> Message | None:
        """Wait for a message; None if there will be no more."""
        try:
            message: Message = self._connection.recv()
        except (EOFError, OSError):
            return None
        return message
