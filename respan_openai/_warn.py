"""One function: warn at the line of the user's code that led here."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING

from .exceptions import RespanWarning


if TYPE_CHECKING:
    from types import FrameType


# What may lie between the user's line and ours: this package, the SDK, its HTTP libraries, and the machinery
# of proxies, decorators and context managers.
_BETWEEN = frozenset(
    {"contextlib", "httpcore", "httpcore2", "httpx", "httpx2", "openai", __name__.partition(".")[0], "wrapt"}
)


def warn(message: str) -> None:
    """Issue a ``RespanWarning`` that points to the first caller outside this package and the SDK.

    Where no such caller is left, as in a task that the SDK itself started, it points to the outermost one.
    """
    frame = _outside()
    # `warnings.warn(stacklevel=...)` does not count import machinery, so a number of frames could miss the
    # line; Python 3.12's `skip_file_prefixes` does not exist in 3.11.
    warnings.warn_explicit(
        message,
        RespanWarning,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=_module(frame),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _outside() -> FrameType:
    frame = inspect.currentframe()
    if frame is None:
        raise AssertionError("unreachable")  # CPython and PyPy always have frames.
    while frame.f_back is not None and _module(frame).partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    return frame


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
