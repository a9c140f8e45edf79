"""The text form of protocol buffers, as much of it as Caffe's networks need.

A message is a dict from each field's name to the list of its values, in their order:
texts, or messages again (https://protobuf.dev/reference/protobuf/textformat-spec).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari_unet.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    Message = dict[str, list[Any]]

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*"""  # left out
    r"""|(?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
    r"""|(?P<mark>[{}<>\[\]:,;])"""
    r"""|(?P<word>[\w.+-]+)"""
)
_ENDS = {"{": "}", "<": ">"}
# Messages within messages; networks have four.
_DEEPEST = 16


def parse(text: str) -> Message:
    """Read a message.

    Raises
    ------
    ValueError
        It is damaged; the sentence says where.
    """
    return _message(_Tokens(text), "", 0)


class _Tokens:
    """The tokens of a text, one ahead."""

    def __init__(self, text: str) -> None:
        self._found = self._split(text)
        self.line = 1
        self.next = ""
        self.take()

    def take(self) -> str:
        """Return the next one and go on; an empty one is the end."""
        taken = self.next
        self.next = next(self._found, "")
        return taken

    def wrong(self) -> ValueError:
        """Return the error that the next one is none that can be there."""
        found = repr(shown(self.next)) if self.next else "its end"
        return ValueError(f"line {self.line} is damaged: {found} cannot be there")

    def _split(self, text: str) -> Iterator[str]:
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                self.next = text[at]
                raise self.wrong()
            if found.lastgroup:
                yield found[0]
            self.line += found[0].count("\n")
            at = found.end()


def _message(tokens: _Tokens, end: str, depth: int) -> Message:
    if depth > _DEEPEST:
        raise ValueError(f"it has messages more than {_DEEPEST} deep")
    fields: Message = {}
    while tokens.next != end:
        name = tokens.take()
        if not (name[:1].isalpha() or name[:1] == "_"):
            tokens.next = name
            raise tokens.wrong()
        if tokens.next == ":":
            tokens.take()
        values = fields.setdefault(name, [])
        if tokens.next == "[":
            tokens.take()
            while tokens.next != "]":
                values.append(_value(tokens, depth))
                if tokens.next == ",":
                    tokens.take()
            tokens.take()
        else:
            values.append(_value(tokens, depth))
        if tokens.next in (",", ";"):
            tokens.take()
    tokens.take()
    return fields


def _value(tokens: _Tokens, depth: int) -> Any:
    if tokens.next in _ENDS:
        end = _ENDS[tokens.take()]
        return _message(tokens, end, depth + 1)
    if not tokens.next or tokens.next in "}>[]:,;":
        raise tokens.wrong()
    token = tokens.take()
    return token[1:-1] if token[0] in "'\"" else token
