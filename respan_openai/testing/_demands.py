"""What may be asked of a fault: its settings by name, and the values that each accepts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from ._plain import short
from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["TIMEOUTS", "checked"]


#: What the HTTP library raises for each.
TIMEOUTS: Final = {"read": "ReadTimeout", "connect": "ConnectTimeout"}


def checked(spec: object) -> dict[str, Any]:
    """The settings in *spec*, without those that are ``None``.

    Raises:
        CassetteError: if it is no mapping, or for a name that is none of a fault's, or a value that is not
            accepted.
    """
    if not isinstance(spec, Mapping):
        raise CassetteError(
            f"A fault is given as {{name: value}}, such as {{'status': 429}}, not {short(spec)}."
        )
    settings = {
        str(name): value for name, value in cast("Mapping[object, Any]", spec).items() if value is not None
    }
    for name, value in settings.items():
        if name not in _ACCEPTED:
            raise CassetteError(f"A fault has no {name[:80]!r}; it has: {', '.join(_ACCEPTED)}.")
        accepts, expected = _ACCEPTED[name]
        if not accepts(value):
            raise CassetteError(f"{name}={short(value)}: expected {expected}.")
    return settings


def _whole(least: int, most: float = math.inf) -> Callable[[object], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _number(least: float, most: float) -> Callable[[object], bool]:
    return lambda value: type(value) in {int, float} and least <= value <= most  # type: ignore[operator]


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and not value.startswith("/v1/")


_ACCEPTED: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "at": (_whole(1), "the number of a request, counted from 1"),
    "path": (_is_path, "a path as it is recorded, without the base: /chat/completions"),
    "times": (_whole(1), "a whole number, at least 1"),
    "rate": (_number(1e-9, 1), "a chance above 0 and at most 1"),
    "seed": (_whole(-(2**63)), "a whole number"),
    "status": (_whole(400, 599), "a status from 400 to 599"),
    "retry_after": (_number(0, 1e6), "seconds, at least 0"),
    "timeout": (lambda value: isinstance(value, str) and value in TIMEOUTS, "read or connect"),
    "disconnect_after": (_whole(0), "a number of events, at least 0"),
    "malformed": (lambda value: isinstance(value, bool), "True"),
    "truncate_bytes": (_whole(0), "a number of bytes, at least 0"),
    "latency": (_number(0, 1e6), "seconds, at least 0"),
}
