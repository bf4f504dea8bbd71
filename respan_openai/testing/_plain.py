"""Plain values: what JSON holds, as dicts, lists, texts, numbers, booleans and ``None``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast


if TYPE_CHECKING:
    from typing_extensions import TypeIs


__all__ = ["canonical", "is_list", "is_object", "plain"]


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def is_object(value: Any) -> TypeIs[dict[str, Any]]:
    """Whether *value* is a JSON object."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeIs[list[Any]]:
    """Whether *value* is a JSON array."""
    return isinstance(value, list)


def plain(value: Any) -> Any:
    """A copy of *value* in dicts and lists; a float without a fraction as the integer that it is equal to."""
    if is_object(value):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("list[Any]", value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def canonical(value: Any) -> str:
    """*value*, which is as :func:`plain` makes it, as text: the same for values that say the same."""
    return _ENCODER.encode(value)
