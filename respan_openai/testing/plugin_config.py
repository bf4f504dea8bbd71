"""``respan_cassette_config``: overriding fixtures add up, so that a module need not repeat what a conftest says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


__all__ = ["added", "below"]


def below(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """What the fixture has that *fixturedef* overrides.

    Nothing if it asks for it by itself: then it has decided what becomes of it.
    """
    name = fixturedef.argname
    return {} if name in fixturedef.argnames else request.getfixturevalue(name)


def added(lower: Mapping[str, Any], fixturedef: pytest.FixtureDef[Any]) -> dict[str, Any]:
    """Let *fixturedef*, which has just been set up, have *lower* as well; lists add up, otherwise its own wins.

    Raises:
        CassetteError: if what it returns is no mapping of options.
    """
    result = fixturedef.cached_result
    own = None if result is None else result[0]
    if result is None or not isinstance(own, Mapping):
        raise CassetteError(f"{fixturedef.argname} must return a dict of options, not {type(own).__name__}.")
    fields = cast("Mapping[str, Any]", own).items()
    value = {**lower, **{name: _sum(lower.get(name), each) for name, each in fields}}
    fixturedef.cached_result = (value, result[1], None)
    return value


def _sum(lower: object, own: object) -> object:
    if isinstance(lower, list | tuple) and isinstance(own, list | tuple):
        return [*cast("Sequence[Any]", lower), *cast("Sequence[Any]", own)]
    return own
