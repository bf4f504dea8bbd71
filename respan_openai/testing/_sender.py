"""The line of the user's code that sent a request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


__all__ = ["sent_from"]


#: What may lie between the user's line and the network, besides the standard library.
_BETWEEN: Final = frozenset({
    "anyio", "greenlet", "httpcore", "httpcore2", "httpx", "httpx2", "openai", "sniffio", "tenacity", "trio",
    "wrapt", __name__.partition(".")[0],
})  # fmt: skip

#: Folders of code that is somebody else's.
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def sent_from() -> str | None:
    """``app/agent.py:41 in plan()``: the innermost line of nobody else's; ``None`` if there is none.

    A line of a framework is taken where none of the user's own is left, as in a task that it started.
    """
    frames = [frame for frame in _outwards() if _package(frame) not in _BETWEEN | sys.stdlib_module_names]
    own = [frame for frame in frames if _INSTALLED.isdisjoint(Path(frame.f_code.co_filename).parts)]
    return next(map(_shown, own or frames), None)


def _outwards() -> Iterator[FrameType]:
    import inspect

    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _shown(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    name = frame.f_code.co_name
    place = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{place.as_posix()}:{frame.f_lineno} in {name if name.startswith('<') else f'{name}()'}"
