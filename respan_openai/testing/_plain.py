"""Plain values: what JSON holds, as dicts, lists, texts, numbers, booleans and ``None``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from .._core.plain import is_list, is_object


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["DEEPEST", "canonical", "is_deep", "plain", "short", "writer"]


#: Levels of lists and objects beyond which JSON is kept as it came: a cassette's file has a limit of its own.
DEEPEST: Final = 100

_TEXT: Final = 'é"\u2028'
_SAMPLE: Final = {"b": [1, 2.5, None, True], "a": _TEXT}


def writer(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """``encoder.encode``, which makes an encoder in C for each text; where that is as known, one writes all.

    Args:
        encoder: Without an indent, for values that hold no circle.
    """
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    quote = json.encoder.encode_basestring_ascii if encoder.ensure_ascii else json.encoder.encode_basestring
    colon, comma = encoder.key_separator, encoder.item_separator
    items = [f'"b"{colon}[1{comma}2.5{comma}null{comma}true]', f'"a"{colon}{quote(_TEXT)}']
    known = f"{{{comma.join(sorted(items) if encoder.sort_keys else items)}}}"
    try:
        chunks = make(
            None,
            encoder.default,
            quote,
            None,
            colon,
            comma,
            encoder.sort_keys,
            encoder.skipkeys,
            encoder.allow_nan,
        )
        is_known = "".join(chunks(_SAMPLE, 0)) == known
    except (TypeError, ValueError):
        return encoder.encode
    return (lambda value: "".join(chunks(value, 0))) if is_known else encoder.encode


# As Any it narrows nothing to a tuple of unknown.
_TUPLE: Final[Any] = tuple


def is_deep(value: Any) -> bool:
    """Whether *value* has more than ``DEEPEST`` levels of lists and objects."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    return any(is_object(inner) or is_list(inner) for inner in level)


def _inside(outer: Any) -> list[Any]:
    if is_object(outer):
        return [*outer.values()]
    return outer if is_list(outer) else []


def plain(value: Any) -> Any:
    """A copy of *value* in dicts and lists; a float without a fraction as the integer that it is equal to."""
    if is_object(value):
        # Most values are strings, and not to call a function for each makes this twice as fast.
        return {name: inner if isinstance(inner, str) else plain(inner) for name, inner in value.items()}
    if is_list(value) or isinstance(value, _TUPLE):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: A value, which is as :func:`plain` makes it, as text: the same for values that say the same.
canonical: Final = writer(json.JSONEncoder(sort_keys=True, separators=(",", ":")))


def short(value: object) -> str:
    """*value* as an error shows it that was given to an option: of what is no text and no number, its type alone."""
    return repr(value)[:80] if isinstance(value, str | int | float) else f"of type {type(value).__name__}"
