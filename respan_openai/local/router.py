"""Which models a call goes to, in which order, with whose key.

1. The first one is as ``primary`` says.
2. The others are asked after a failure: ``fallback_models``, ranked as they are (reference 003:53), else
   those of the settings; then ``models`` where something else named the model (003:81), which comes second
   because it is only *like* ``fallback_models``; then what the group or the router did not pick, since one of
   several that may answer can stand in for another. At most ``MOST_FALLBACKS``; each provider, model and key
   once.
3. Exclusions bind the router alone (003:83-89). A pinned provider binds every candidate: a request that must
   stay with one provider must not leave it because that one failed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..exceptions import ParamsError
from .catalogue import Catalogue
from .contract import invalid
from .credentials import Credential, credential_for
from .groups import saved
from .primary import Ask, Choice, Known, primary


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .catalogue import Facts, Slug
    from .choice import Measured, PriceOf
    from .primary import Primary
    from .settings import Model, Settings


__all__ = ["MOST_FALLBACKS", "Candidate", "Router"]

#: As many as ``fallback_models`` may hold.
MOST_FALLBACKS = 5

#: The parameters that decide; no other is looked at.
_DECIDING = frozenset({
    "credential_override",
    "customer_api_keys",
    "customer_credentials",
    "disable_fallback",
    "exclude_models",
    "exclude_providers",
    "fallback_models",
    "load_balance_group",
    "load_balance_models",
    "model_name_map",
    "models",
    "route_provider_override",
})  # fmt: skip

#: Models that are remembered of calls that say nothing else, and the characters that the name of one may have.
_MOST_KNOWN = 256
_LONGEST_KNOWN = 256


class Candidate(NamedTuple):
    """Somebody who may be asked.

    Attributes:
        provider: Lower-case name of a provider of this gateway.
        model: As the request, a group or the settings name it: ``azure/gpt-4o``.
        sent: As the provider is asked for it: without its prefix, after ``model_name_map``.
        credential: The request's own; ``None`` for the provider's stored one.
        why: Why it has its place, for the record: ``asked for``, ``fallback 1``, ``router: cheapest with
            tools``.
        declared: What the settings say about the model at this provider; ``None`` if that is nothing.
    """

    provider: str
    model: str
    sent: str
    credential: Credential | None
    why: str
    declared: Model | None = None


class Router:
    """Chooses for one gateway; no call changes what another one gets, so any number of threads may ask it.

    Args:
        providers: Lower-case name to what is known of it; the first one is the default.
        settings: ``models``, ``groups``, ``fallback``, ``fallback_models``, ``dynamic_routing`` and
            ``api_bases`` are used.
        price: Of a provider and model; see ``choice.routed``.
        measured: Seconds that ``provider/model`` takes to answer.

    Raises:
        ConfigError: if there is no provider, a model is declared twice, or a saved group cannot be used.
    """

    def __init__(
        self, providers: Mapping[str, Facts], settings: Settings, *, price: PriceOf, measured: Measured
    ) -> None:
        catalogue = Catalogue(providers, settings)
        self._known = Known(catalogue, saved(settings.groups), price, measured, settings.dynamic_routing)
        self._settings = settings
        # Most calls name a model and nothing else, and always the same few.
        self._plain = lru_cache(_MOST_KNOWN)(self._found_plain)

    def __repr__(self) -> str:
        return f"<Router with {self._known.catalogue!r} and {len(self._known.groups)} groups>"

    @property
    def models(self) -> list[Slug]:
        """Those that the settings declare, and whom they are asked of."""
        return self._known.catalogue.models

    def candidates(
        self, params: Mapping[str, Any], fields: Mapping[str, Any], route: str | None = None, *, draw: float
    ) -> list[Candidate]:
        """Whom to ask, the first one first; never empty.

        Args:
            params: The request's Respan parameters, checked.
            fields: Its OpenAI fields.
            route: Its header ``X-Respan-Route-Provider``; wins over ``route_provider_override``.
            draw: Evenly distributed in [0, 1). The same request with the same draw has the same candidates.

        Raises:
            ContractError: 400 if no model is named and none can be chosen; if a provider or group does not
                exist; if a credential cannot be used, or would go where it must not. No message holds a key,
                and whether a request is refused does not depend on *draw*.
        """
        model = fields.get("model")
        said = {name: params[name] for name in params.keys() & _DECIDING}
        if said or route is not None or not isinstance(model, str) or not 0 < len(model) <= _LONGEST_KNOWN:
            return self._found(said, fields, route, draw)
        return [*self._plain(model)]

    def _found_plain(self, model: str) -> list[Candidate]:
        return self._found({}, {"model": model}, None, 0.0)

    def _found(
        self, params: Mapping[str, Any], fields: Mapping[str, Any], route: str | None, draw: float
    ) -> list[Candidate]:
        try:
            ask = Ask(params, fields, self._known.catalogue.pinned(params, route), draw)
            return self._candidates(ask, primary(self._known, ask))
        except ParamsError as exc:
            raise invalid(str(exc), exc.param) from None

    def _candidates(self, ask: Ask, found: Primary) -> list[Candidate]:
        may_fall_back = self._settings.fallback and not ask.params.get("disable_fallback")
        first, *others = found.choices
        spare = self._fallbacks(ask, is_named=found.is_named) if may_fall_back else ()
        # Those that will not be asked are looked at too: their mistakes would show at every other draw only.
        all_of_them = _once(self._candidate(choice, ask, found.draw) for choice in (first, *spare, *others))
        return all_of_them[: 1 + MOST_FALLBACKS if may_fall_back else 1]

    def _candidate(self, choice: Choice, ask: Ask, draw: float) -> Candidate:
        slug, catalogue = choice.slug, self._known.catalogue
        sent = catalogue.sent(slug, ask.params.get("model_name_map", {}))
        credential = credential_for(slug, ask.params, catalogue, draw=draw, member=choice.credential)
        return Candidate(slug.provider, slug.asked, sent, credential, choice.why, catalogue.model(slug))

    def _fallbacks(self, ask: Ask, *, is_named: bool) -> list[Choice]:
        own = ask.params.get("fallback_models", ())
        models = ask.params.get("models", ()) if is_named else ()
        defaults = () if own or models else self._settings.fallback_models
        return [
            *self._numbered("fallback", own, ask),
            *self._numbered("default fallback", defaults, ask),
            *self._numbered("models", models, ask),
        ]

    def _numbered(self, what: str, models: Sequence[str], ask: Ask) -> Iterator[Choice]:
        for at, model in enumerate(models, 1):
            yield Choice(self._known.catalogue.slug(model, ask.pinned), f"{what} {at}")


def _once(candidates: Iterable[Candidate]) -> list[Candidate]:
    found: list[Candidate] = []
    for candidate in candidates:
        if not any(_is_same(candidate, other) for other in found):
            found.append(candidate)
    return found


def _is_same(one: Candidate, other: Candidate) -> bool:
    return (one.provider, one.sent, one.credential) == (other.provider, other.sent, other.credential)
