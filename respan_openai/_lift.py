"""Keywords of the gateway among the keywords of an SDK method: most calls have none, and cost one look."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary


if TYPE_CHECKING:
    from collections.abc import Callable


#: The SDK's own keywords that may hold something of ours.
_LOOKED_INTO = frozenset({"extra_body", "extra_headers", "prompt"})

_accepted: WeakKeyDictionary[Any, frozenset[str] | None] = WeakKeyDictionary()


def accepted(method: Callable[..., Any]) -> frozenset[str] | None:
    """The keywords that an SDK method takes; ``None`` if it has no ``extra_body`` to lift others into."""
    function = getattr(method, "__func__", method)
    if function not in _accepted:
        _accepted[function] = _signature(function)
    return _accepted[function]


def _signature(function: Callable[..., Any]) -> frozenset[str] | None:
    try:
        names = frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    return names if "extra_body" in names else None


def lifted(
    method: Callable[..., Any], known: frozenset[str], paths: frozenset[str], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """*kwargs* with the gateway's parameters in ``extra_body``.

    Args:
        method: Of the SDK.
        known: The keywords that it takes.
        paths: What the gateway serves.
        kwargs: As the user wrote them.

    Raises:
        ParamsError: if one of them is not accepted, is given twice, or the call does not go to the gateway.
    """
    if known.issuperset(kwargs) and _LOOKED_INTO.isdisjoint(kwargs):
        return kwargs
    from ._keywords import moved  # few calls bring any

    return moved(method, known, paths, kwargs)
