"""Which model a call goes to first: by weight, by name, or by the router's choice.

``load_balance_models`` wins over ``model`` (reference 003:3, note on ``model``), ``model`` over
``load_balance_group`` (contract.md, section 3: 003 says both), and either over ``models``, of which a single
one is the model (003:81). If there is none of them, the router chooses among all models that are declared
(003:79-81).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._check import fail, shown
from .balance import in_order, pick
from .choice import routed
from .groups import inline, named


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._check import Place
    from .catalogue import Catalogue, Slug
    from .choice import Measured, PriceOf
    from .credentials import Credential
    from .groups import Member


__all__ = ["ASKED_FOR", "ONLY_CANDIDATE", "Ask", "Choice", "Known", "Primary", "primary"]


class Known(NamedTuple):
    """What a gateway decides by; *routes* tells whether it chooses a model for calls that name none."""

    catalogue: Catalogue
    groups: Mapping[str, tuple[Member, ...]]
    price: PriceOf
    measured: Measured
    routes: bool


#: Why a model was taken that the request itself names, and nothing drew or chose.
ASKED_FOR: Final = "asked for"
ONLY_CANDIDATE: Final = "only candidate"


class Ask(NamedTuple):
    """A request: Respan's parameters, OpenAI's fields, the provider it is pinned to; and a draw in [0, 1)."""

    params: Mapping[str, Any]
    fields: Mapping[str, Any]
    pinned: str | None
    draw: float

    def __repr__(self) -> str:
        return f"<request with {', '.join(self.params)}>"  # values hold keys, and the fields prompts


class Choice(NamedTuple):
    """A model to ask, why, and the credential that a group has for it alone."""

    slug: Slug
    why: str
    credential: Credential | None = None


class Primary(NamedTuple):
    """The first model, and what stands in for it.

    Attributes:
        choices: The first one first; never empty.
        draw: What is left of the request's.
        is_named: Whether something else than ``models`` and the router named it.
    """

    choices: list[Choice]
    draw: float
    is_named: bool


def primary(known: Known, ask: Ask) -> Primary:
    """The first model for *ask*.

    Raises:
        ParamsError: if no model is named and none can be chosen; if a group does not exist, or a credential
            of its members cannot be used.
    """
    return next(found for way in _WAYS if (found := way(known, ask)) is not None)


def _load_balance_models(known: Known, ask: Ask) -> Primary | None:
    place = "load_balance_models"
    return _weighted(place, _inline(ask.params.get(place), place, known, ask), known, ask)


def _model(known: Known, ask: Ask) -> Primary | None:
    model = ask.fields.get("model")
    if model is None:
        return None
    if not isinstance(model, str) or not model:
        raise fail("model", "must be a non-empty string: the name of the model to call.")
    return Primary([Choice(known.catalogue.slug(model, ask.pinned), ASKED_FOR)], ask.draw, is_named=True)


def _load_balance_group(known: Known, ask: Ask) -> Primary | None:
    place = "load_balance_group"
    group = ask.params.get(place)
    if group is None:
        return None
    members = _inline(group.get("models"), (place, "models"), known, ask)
    name = group["group_id"]
    return _weighted(f"group {shown(name)}", members or named(name, known.groups), known, ask)


def _only_model(known: Known, ask: Ask) -> Primary | None:
    slugs = _listed(known, ask)
    return Primary([Choice(slugs[0], ONLY_CANDIDATE)], ask.draw, is_named=False) if len(slugs) == 1 else None


def _routed(known: Known, ask: Ask) -> Primary:
    if not known.routes:
        raise fail(
            "model",
            "is missing, and this gateway chooses none (Settings(dynamic_routing=False)). Name one.",
        )
    chosen = routed(
        _pool(known, ask),
        ask.params,
        ask.fields,
        catalogue=known.catalogue,
        price=known.price,
        measured=known.measured,
    )
    return Primary([Choice(slug, why) for slug, why in chosen], ask.draw, is_named=False)


_WAYS = (_load_balance_models, _model, _load_balance_group, _only_model, _routed)


# -- by weight


def _inline(items: Sequence[Any] | None, place: Place, known: Known, ask: Ask) -> tuple[Member, ...]:
    return inline(items or (), place, known.catalogue, ask.pinned)


def _weighted(what: str, members: Sequence[Member], known: Known, ask: Ask) -> Primary | None:
    if not members:
        return None
    weights = [member.weight for member in members]
    total = f"{sum(weights):g}"
    choices = [
        Choice(
            known.catalogue.slug(members[at].model, ask.pinned),
            f"{what}, weight {members[at].weight:g} of {total}",
            members[at].credential,
        )
        for at in in_order(weights, ask.draw)
    ]
    return Primary(choices, pick(weights, ask.draw).rest, is_named=True)


# -- by the router


def _listed(known: Known, ask: Ask) -> list[Slug]:
    slugs: dict[str, Slug] = {}
    for model in ask.params.get("models", ()):
        slug = known.catalogue.slug(model, ask.pinned)
        slugs.setdefault(slug.full, slug)
    return list(slugs.values())


def _pool(known: Known, ask: Ask) -> list[Slug]:
    declared = [slug for slug in known.catalogue.models if ask.pinned in {None, slug.provider}]
    pool = _listed(known, ask) or declared
    if not pool:
        raise fail(
            "model",
            "is missing, and there are no models to choose from. Name the model to call, list several as "
            "`models`, or declare them in Settings(models=[Model(name=...)]).",
        )
    return pool
