"""The router: which of several models a call goes to that names none.

Models that the request excludes, or that are declared not to be able to do what it needs, are left out. The
cheapest of the others comes first; of those that cost about the same, the one that has answered fastest. A
model that nothing is declared about is taken to be able to do everything, because the request itself named
it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .._check import fail, shown
from .needs import lacking, needs_of


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from .catalogue import Catalogue, Slug
    from .needs import Needs


__all__ = ["SAME_PRICE", "Chosen", "Measured", "PriceOf", "Priced", "routed"]

#: Prices that differ by no more than this factor from the cheapest of them count as equal.
SAME_PRICE = 1.1

_MOST_NAMED = 10


class Priced(Protocol):
    """What a model costs, US dollars per million tokens."""

    @property
    def input(self) -> float:
        """Of the request."""
        ...

    @property
    def output(self) -> float:
        """Of the answer."""
        ...


class PriceOf(Protocol):
    """Knows prices."""

    def __call__(self, provider: str, model: str, /) -> Priced | None:
        """That of *model*, as *provider* names it; ``None`` if it is not known."""
        ...


class Measured(Protocol):
    """Knows how fast models have been."""

    def __call__(self, model: str, /) -> float | None:
        """Seconds that ``provider/model`` takes to answer; ``None`` if it has not been asked yet."""
        ...


class Chosen(NamedTuple):
    """A model, and why it has its place; one short phrase."""

    slug: Slug
    why: str


def routed(
    slugs: Sequence[Slug],
    params: Mapping[str, Any],
    fields: Mapping[str, Any],
    *,
    catalogue: Catalogue,
    price: PriceOf,
    measured: Measured,
) -> list[Chosen]:
    """Those of *slugs* that can answer, the best first (reference 003:79-89; it leaves open which that is).

    Args:
        slugs: Candidates.
        params: The request's Respan parameters; ``exclude_providers`` and ``exclude_models`` are used.
        fields: The request's OpenAI fields.
        catalogue: Knows what models can do.
        price: Input and output are added up; unknown prices come last.
        measured: Decides between prices that differ by at most ``SAME_PRICE``; what was not measured comes
            last.

    Raises:
        ParamsError: if none is left; the message says what each was left out for.
    """
    needs = needs_of(fields)
    reasons = {
        slug: [*_excluded(slug, params, catalogue), *_lacking(slug, needs, catalogue)] for slug in slugs
    }
    left = [slug for slug, reason in reasons.items() if not reason]
    if not left:
        raise fail("models", _none_left(reasons, needs))
    return _explained(_banded(left, price), needs, measured)


def _excluded(slug: Slug, params: Mapping[str, Any], catalogue: Catalogue) -> list[str]:
    by_provider = any(
        catalogue.provider(name) == slug.provider for name in params.get("exclude_providers", ())
    )
    by_model = any(catalogue.matches(entry, slug) for entry in params.get("exclude_models", ()))
    return ["exclude_providers"] * by_provider + ["exclude_models"] * by_model


def _lacking(slug: Slug, needs: Needs, catalogue: Catalogue) -> list[str]:
    model = catalogue.model(slug)
    return [] if model is None else lacking(model, needs)


def _none_left(reasons: Mapping[Slug, list[str]], needs: Needs) -> str:
    named = [f"{shown(slug.asked)} ({', '.join(reason)})" for slug, reason in reasons.items()]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return (
        f"leaves no model to choose from. Left out, for what they lack or are excluded by: "
        f"{', '.join(named[:_MOST_NAMED])}{more}. The request needs about {needs.context} tokens of context. "
        "Name a `model`, exclude less, or declare what more models can do in Settings(models=[...])."
    )


# -- order


class _Band(NamedTuple):
    """Models that cost about the same; ``cost`` is that of the cheapest, infinite if not known."""

    cost: float
    slugs: list[Slug]


def _banded(slugs: Iterable[Slug], price: PriceOf) -> list[_Band]:
    costs = {slug: _cost(price(slug.provider, slug.name)) for slug in slugs}
    bands: list[_Band] = []
    for slug, cost in sorted(costs.items(), key=lambda item: item[1]):
        if not bands or cost > bands[-1].cost * SAME_PRICE:
            bands.append(_Band(cost, []))
        bands[-1].slugs.append(slug)
    return bands


def _cost(price: Priced | None) -> float:
    return math.inf if price is None else price.input + price.output


def _explained(bands: list[_Band], needs: Needs, measured: Measured) -> list[Chosen]:
    seconds = {slug: measured(slug.full) for band in bands for slug in band.slugs}
    times = {slug: math.inf if value is None else value for slug, value in seconds.items()}
    order = [slug for band in bands for slug in sorted(band.slugs, key=times.__getitem__)]
    if len(order) == 1:
        return [Chosen(order[0], "only candidate")]
    first = f"router: {_quality(bands[0], times[order[0]], needs)}"
    others = [Chosen(slug, f"router: place {at} of {len(order)}") for at, slug in enumerate(order[1:], 2)]
    return [Chosen(order[0], first), *others]


def _quality(band: _Band, seconds: float, needs: Needs) -> str:
    able = f" with {', '.join(needs.abilities)}" if needs.abilities else ""
    is_measured = seconds < math.inf
    if band.cost == math.inf:
        return f"{'fastest' if is_measured else 'first'}{able}, no price is known"
    return f"{'fastest of the cheapest' if is_measured and len(band.slugs) > 1 else 'cheapest'}{able}"
