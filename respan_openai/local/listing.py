"""The list of models, as ``GET /api/models`` answers it in OpenAI's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.call import dump_object
from ..targets import Provider
from .contract import JSON, Reply


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .catalogue import Slug
    from .providers import Upstream


__all__ = ["model_list"]


def model_list(models: Iterable[Slug], providers: Mapping[str, Upstream]) -> Reply:
    """The *models* that the settings declare, and those that *providers* (by lower-case name) translate.

    Any other model may be asked for too; nobody knows which ones a provider has.
    """
    owners = {**{slug.asked: slug.provider for slug in models}, **dict(_translated(providers))}
    data = [
        {"id": model, "object": "model", "created": 0, "owned_by": owner} for model, owner in owners.items()
    ]
    return Reply(200, JSON, (dump_object({"object": "list", "data": data}),))


def _translated(providers: Mapping[str, Upstream]) -> Iterator[tuple[str, str]]:
    for name, provider in providers.items():
        if isinstance(provider, Provider):
            yield from ((f"{name}/{model}", name) for model in provider.models)
