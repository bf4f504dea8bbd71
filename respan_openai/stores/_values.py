"""What every store does alike with rows and with its arguments, so that one can take another's place."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._check import unknown
from ..exceptions import ConfigError, StoreError
from ._amounts import MOST
from .protocol import FIELDS


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .protocol import Row


__all__ = ["check_where", "dumped", "dumped_row", "loaded", "most_rows", "positive", "row_of", "seconds"]


# Only ASCII is written, because neither SQLite nor Redis takes the lone surrogates that JSON may hold.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def dumped(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """*value* as JSON.

    Raises:
        StoreError: if it holds something that JSON does not have, or refers to itself.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        raise StoreError(
            "A store keeps JSON values only: text, finite numbers, booleans, None, lists and dicts. "
            "Convert the rest."
        ) from None


def dumped_row(row: Row) -> str:
    """Same as :func:`dumped`, but a number that is not finite becomes ``None``: a row is worth more."""
    try:
        return dumped(row)
    except StoreError:
        with suppress(TypeError, ValueError, RecursionError):
            return dumped(json.loads(json.dumps(row), parse_constant=lambda _: None))
        raise


def loaded(text: str | bytes) -> Any:
    """The value that :func:`dumped` wrote.

    Raises:
        StoreError: if *text* is no JSON, so that something else must have written it.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise StoreError("A row of the store cannot be read: something else has written to it.") from None


def row_of(text: str | bytes | None) -> Row | None:
    """As :func:`loaded`, for a row; ``None`` if there is none, or nothing in it."""
    return None if text is None else loaded(text) or None


def check_where(where: Mapping[str, object] | None) -> Mapping[str, object]:
    """*where* as a mapping.

    Raises:
        ParamsError: if it names something that is not in ``FIELDS``.
    """
    for name in where or ():
        if name not in FIELDS:
            raise unknown(("where", name), name, FIELDS)
    return where or {}


def positive(what: str, value: object) -> int:
    """*value*, which the caller passed as *what*.

    Raises:
        ConfigError: if it is not a positive integer.
    """
    if type(value) is not int or value < 1:
        raise ConfigError(f"{what} must be a positive integer.")
    return value


def most_rows(what: str, value: object) -> int:
    """Same as :func:`positive`; ``None`` means that there is no bound."""
    return MOST if value is None else positive(what, value)


def seconds(what: str, value: object) -> float:
    """*value*, which the caller passed as *what*.

    Raises:
        ConfigError: if it is not a positive, finite number.
    """
    if not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigError(f"{what} must be a positive number of seconds.")
    return float(value)
