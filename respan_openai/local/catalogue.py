"""Who can be asked for what: this gateway's providers by name, and the models that its settings declare.

A model is written ``provider/name``. Without a prefix that names a provider here, the whole is the model's
name: slashes are part of many, such as ``meta-llama/llama-3``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._check import fail
from ..exceptions import ConfigError
from ..targets import origin_text
from .reading import ROUTE_HEADER


if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .settings import Model, Settings


__all__ = ["Catalogue", "Facts", "Slug", "same_provider"]

#: Ids that credentials use, and the prefix of models at the same provider (params.yaml, provider_ids).
_ALIASES = {"azure_openai": "azure", "google_vertex_ai": "vertex_ai", "togetherai": "together_ai"}


class Facts(NamedTuple):
    """What the choice of a model needs to know about a provider.

    Attributes:
        azure: Whether models are deployments with names of their own there.
        base_url: Where its own credential goes; ``None`` if it is asked in this process.
    """

    azure: bool = False
    base_url: str | None = None


class Slug(NamedTuple):
    """A model at a provider.

    Attributes:
        asked: As the request or the settings name it: ``azure/gpt-4o``.
        provider: Who is asked, in lower case: ``azure``.
        name: As that provider is asked, before any ``model_name_map``: ``gpt-4o``.
    """

    asked: str
    provider: str
    name: str

    @property
    def full(self) -> str:
        """Provider and name: the same for every way of asking."""
        return f"{self.provider}/{self.name}"


class Catalogue:
    """The providers and models of one gateway.

    Args:
        providers: Lower-case name to what is known; the first one is asked where nothing names another.
        settings: Its ``models`` and ``api_bases`` are used.

    Raises:
        ConfigError: if there is no provider, or a model is declared twice.
    """

    def __init__(self, providers: Mapping[str, Facts], settings: Settings) -> None:
        if not providers:
            raise ConfigError("A gateway needs a provider to ask.")
        self.providers = dict(providers)
        self._first = next(iter(self.providers))
        self._api_bases = settings.api_bases
        self._models = self._declared(settings.models)
        self._at: dict[str, str] = {}
        for slug in sorted(self.models, key=_has_prefix):
            self._at.setdefault(slug.name, slug.provider)

    def __repr__(self) -> str:
        return f"<Catalogue of {', '.join(self.providers)}; {len(self._models)} models>"

    @property
    def models(self) -> list[Slug]:
        """Those that the settings declare, in their order."""
        return [slug for slug, _ in self._models.values()]

    def model(self, slug: Slug) -> Model | None:
        """What is declared about *slug*, however it was asked for; ``None`` if nothing is."""
        _, model = self._models.get(slug.full, (slug, None))
        return model

    def provider(self, name: str) -> str | None:
        """The provider that *name* means, without regard to case, white space around it, or aliases.

        A provider that is called so wins over one that has it as an alias. ``None`` if there is neither.
        """
        name = name.strip().lower()
        if name in self.providers:
            return name
        return next((known for known in self.providers if same_provider(known, name)), None)

    def slug(self, model: str, pinned: str | None = None) -> Slug:
        """Who is asked for *model*, and by which name.

        A prefix decides; else the provider that declares a model of that name, those without a prefix before
        others; else the first provider. *pinned* decides before all of this: then a prefix is taken off only
        if it is that provider's, because the slug stays as it is (reference 002:8) and another's prefix may
        be part of the name, as in OpenRouter's ``openai/gpt-4o``.
        """
        named, rest = self._split(model)
        if pinned is not None:
            return Slug(model, pinned, rest if named == pinned else model)
        return Slug(model, named or self._at.get(model, self._first), rest)

    def matches(self, entry: str, slug: Slug) -> bool:
        """Whether *entry* of a list of models covers *slug*; without a prefix, at every provider."""
        named, rest = self._split(entry)
        return entry == slug.asked or (rest == slug.name and named in {None, slug.provider})

    def pinned(self, params: Mapping[str, Any], route: str | None) -> str | None:
        """The provider of the header *route*, else of ``route_provider_override``; ``None`` without either.

        Raises:
            ParamsError: if this gateway has no such provider.
        """
        place, name = (
            ("route_provider_override", params.get("route_provider_override"))
            if route is None
            else (ROUTE_HEADER, route)
        )
        if name is None:
            return None
        found = self.provider(name)
        if found is None:
            raise fail(place, f"names no provider of this gateway; it has: {', '.join(self.providers)}.")
        return found

    def sent(self, slug: Slug, names: Mapping[str, str]) -> str:
        """What the provider is asked for: at Azure the deployment in *names*, a request's ``model_name_map``.

        Keys and values may have a prefix or not (reference 003:77-78, and its example with ``azure/``). For
        other providers *names* is for nothing: the parameter is "for Azure deployment only".
        """
        if not self.providers[slug.provider].azure:
            return slug.name
        own = (name for model, name in names.items() if slug.name == self._at_azure(model, slug))
        return self._at_azure(next(own, slug.name), slug)

    def _at_azure(self, model: str, slug: Slug) -> str:
        prefix, _, rest = model.partition("/")
        is_own = self.provider(prefix) == slug.provider or same_provider(prefix, "azure")
        return rest if rest and is_own else model

    def origins(self, slug: Slug) -> frozenset[str]:
        """Where a request's own credential for *slug* may go: what the settings allow, and its provider."""
        base = self.providers[slug.provider].base_url
        return self._api_bases if base is None else self._api_bases | {origin_text(base)}

    def _split(self, model: str) -> tuple[str | None, str]:
        prefix, _, rest = model.partition("/")
        provider = self.provider(prefix) if rest else None
        return (None, model) if provider is None else (provider, rest)

    def _declared(self, models: tuple[Model, ...]) -> dict[str, tuple[Slug, Model]]:
        found: dict[str, tuple[Slug, Model]] = {}
        for model in models:
            named, rest = self._split(model.name)
            slug = Slug(model.name, named or self._first, rest)
            if slug.full in found:
                raise ConfigError(f"Settings(models=...) declares {slug.full!r} twice; keep one of them.")
            found[slug.full] = slug, model
        return found


def same_provider(one: str, other: str) -> bool:
    """Whether two names mean one provider: equal without regard to case, or alias and name."""
    return _canonical(one) == _canonical(other)


def _canonical(name: str) -> str:
    name = name.strip().lower()
    return _ALIASES.get(name, name)


def _has_prefix(slug: Slug) -> bool:
    return slug.asked != slug.name
