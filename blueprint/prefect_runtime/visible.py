r"""Text that acts on no terminal: control characters are written as in Python's source code, such as `\x1b`.

Standard library only.
"""

from __future__ import annotations

import io
import re
import sys

# Control characters but for tab and line feed, further line ends, and what changes the direction of the text.
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_WRITTEN = re.compile(r"\\(?:r|x[0-9a-f]{2}|u20[26][0-9a-f])")


def visible(text: str) -> str:
    """Return the text with its control characters escaped."""
    return _ACTING.sub(lambda found: ascii(found[0])[1:-1], text)


def without_controls(text: str) -> str:
    """Return the text without control characters, be they escaped or not, and each space in it as one blank."""
    return " ".join(_WRITTEN.sub("", visible(text)).split())


class _Stream(io.TextIOWrapper):
    def write(self, text: str) -> int:
        return super().write(visible(text))


def escape_output() -> None:
    """Have all that this process prints from now on escaped; its files and its children's output are not."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        how = {"encoding": stream.encoding, "errors": stream.errors}
        buffering = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
        made = _Stream(stream.detach(), **how, **buffering)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
