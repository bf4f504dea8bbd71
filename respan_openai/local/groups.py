"""Load balance groups: what their lists hold, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .._check import fail, shown
from .._params import check
from ..exceptions import ConfigError, ParamsError
from .balance import finite
from .credentials import Credential, read


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .._check import Place
    from .catalogue import Catalogue


__all__ = ["Member", "inline", "named", "saved"]

_PARAM = "load_balance_group"


class Member(NamedTuple):
    """One model of a group.

    Attributes:
        model: As the group names it.
        weight: More than 0, finite; its share is that of the group's sum.
        credential: Of this member alone; ``None`` for none of its own.
    """

    model: str
    weight: float
    credential: Credential | None


def inline(
    items: Iterable[Any], place: Place, catalogue: Catalogue, pinned: str | None
) -> tuple[Member, ...]:
    """The members that a request lists at *place*.

    Raises:
        ParamsError: if a credential cannot be used (``credentials.read``).
    """
    return tuple(
        _member(item, (place, at), catalogue.origins(catalogue.slug(item["model"], pinned)))
        for at, item in enumerate(items)
    )


def named(group_id: str, groups: Mapping[str, tuple[Member, ...]]) -> tuple[Member, ...]:
    """The members of a saved group.

    Raises:
        ParamsError: if there is none with that id; the message names those there are.
    """
    found = groups.get(group_id)
    if found is None:
        known = ", ".join(map(shown, groups)) or "none"
        raise fail(
            (_PARAM, "group_id"),
            f"is {shown(group_id)}, which names no saved group; there are: {known}. Save it in "
            "Settings(groups={...}), or pass the group's `models` with it.",
        )
    return found


def saved(groups: object) -> dict[str, tuple[Member, ...]]:
    """``Settings.groups``, checked. Their credentials may go anywhere, because they are given in code.

    Raises:
        ConfigError: if *groups* is no mapping of ids to lists of ``{"model", "weight", "credentials"}``, a
            list is empty, a weight is not more than 0, or a credential cannot be used.
    """
    if not isinstance(groups, Mapping):
        raise ConfigError("Settings(groups=...) must be a mapping of group ids to lists of models.")
    return {group_id: _saved(group_id, items) for group_id, items in cast("dict[Any, Any]", groups).items()}


def _saved(group_id: Any, items: Any) -> tuple[Member, ...]:
    try:
        group = check({_PARAM: {"group_id": group_id, "models": items}})[_PARAM]
        members = tuple(
            _member(item, ((_PARAM, "models"), at), None) for at, item in enumerate(group.get("models", ()))
        )
    except ParamsError as exc:
        raise ConfigError(f"Settings(groups=...), group {shown(str(group_id))}: {exc}") from None
    if not members:
        raise ConfigError(
            f"Settings(groups=...), group {shown(group_id)} holds no models; a call could go nowhere."
        )
    return members


def _member(item: Mapping[str, Any], place: Place, origins: Collection[str] | None) -> Member:
    credential = read(item.get("credentials"), (place, "credentials"), origins)
    return Member(item["model"], finite(item["weight"]), credential)
