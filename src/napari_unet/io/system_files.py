"""Files that systems leave in folders in which people look; they are no content."""

from __future__ import annotations

import re

# macOS, Windows, and the drives of Synology
_LEFT = re.compile(
    r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|@eaDir", re.IGNORECASE | re.DOTALL
)


def is_of_system(name: str) -> bool:
    """Whether a system leaves files or folders of this name."""
    return _LEFT.fullmatch(name) is not None
