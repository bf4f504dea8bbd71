"""Whose key a call uses: the most specific of those that came with the request, else the provider's own.

1. ``credential_override``, for the model and then for the provider: it wins over all others (contract.md,
   section 3; reference 000:36 and 003:57-59 key it by model, 001:54 and 002:21 by provider).
2. ``credentials`` of the member of a load balance group that was picked (reference 003:107 and its example).
3. ``customer_credentials``, for the provider (reference 002:20, 003:55-56).
4. ``customer_api_keys``, for the model: before the stored key (reference 003:105-106).
5. ``None``: the stored key.

A model without a prefix selects what it would as ``model`` of a request, so a key meant for one provider is
never shown to another that has a model of that name. Only a credential with an ``api_base`` of its own, to
which it alone goes, is used for the name at every provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .._check import fail, shown
from .._core.plain import is_list
from .._headers import header_value
from .._secret import secret_from
from ..exceptions import ConfigError
from .api_base import permitted
from .balance import finite, pick
from .catalogue import same_provider


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from .._check import Place
    from .catalogue import Catalogue, Slug


__all__ = ["Credential", "credential_for", "read"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_COMMON = ("api_key", "api_base", "api_version")

#: What may hold one.
_PARAMS = frozenset({"credential_override", "customer_credentials", "customer_api_keys"})


class Credential(NamedTuple):
    """A credential that came with a request, or with a saved group; its ``repr`` names fields, never values.

    Attributes:
        api_key: ``None`` if there are other fields only; there always is one beside an ``api_base``. Whoever
            cannot do without must refuse the call: with the stored key another account would pay.
        api_base: Where to send, checked, without a slash at its end; ``None`` for the provider's own.
        api_version: Azure's; ``None`` for the provider's own.
        extra: Fields of other providers, such as ``aws_region_name``.
    """

    api_key: str | None = None
    api_base: str | None = None
    api_version: str | None = None
    extra: Mapping[str, Any] = _NOTHING

    def __repr__(self) -> str:
        given = [name for name in _COMMON if getattr(self, name) is not None]
        return f"<Credential with {', '.join([*given, *map(shown, self.extra)])}>"


def credential_for(
    slug: Slug,
    params: Mapping[str, Any],
    catalogue: Catalogue,
    *,
    draw: float,
    member: Credential | None = None,
) -> Credential | None:
    """The credential for *slug*; ``None`` for the provider's own.

    Args:
        slug: Who is asked for what.
        params: A request's parameters, checked.
        catalogue: Knows the providers, and the origins that are allowed.
        draw: In [0, 1); picks one of several deployments of a customer by weight.
        member: Credential of the picked member of a load balance group.

    Raises:
        ParamsError: if a key cannot be sent as a header, an ``api_version`` in a URL, an ``api_base`` is not
            allowed or comes without an ``api_key``, or a field is no string. All deployments that *draw*
            could have picked are looked at, so that the same request is always refused.
    """
    if _PARAMS.isdisjoint(params):
        return member
    return (
        _overriding(slug, params.get("credential_override", _NOTHING), catalogue)
        or member
        or _customers(slug, params.get("customer_credentials", _NOTHING), catalogue, draw)
        or _of_model(slug, "customer_api_keys", params.get("customer_api_keys", _NOTHING), catalogue)
    )


def read(value: object, place: Place, origins: Collection[str] | None) -> Credential | None:
    """The credential in *value*: a key, or an object with one; ``None`` if there is nothing in it.

    Args:
        value: A string, a mapping, or ``None``.
        place: Where it stands, for errors.
        origins: Where it may go (``api_base.permitted``).

    Raises:
        ParamsError: as :func:`credential_for`.
    """
    if isinstance(value, str):
        return Credential(_key(value, place))
    fields = cast("Mapping[str, Any]", value or _NOTHING)
    key, base, version = (_text(fields, name, place) for name in _COMMON)
    if base is not None and key is None:
        raise fail(
            place, "has an `api_base` but no `api_key`; the stored key is not sent to another address."
        )
    extra = {name: item for name, item in fields.items() if name not in _COMMON}
    credential = Credential(
        None if key is None else _key(key, (place, "api_key")),
        None if base is None else permitted(base, (place, "api_base"), origins),
        None if version is None else _version(version, (place, "api_version")),
        MappingProxyType(extra),
    )
    return credential if fields else None


def _text(fields: Mapping[str, Any], name: str, place: Place) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise fail((place, name), f"must be a string; got {type(value).__name__}.")
    return value


def _key(value: str, place: Place) -> str:
    try:
        return secret_from(value, (), what="a request").reveal()
    except ConfigError:
        raise fail(
            place,
            "is a key that no header carries: it is empty, or holds white space, control or non-ASCII "
            "characters. Check for a line break or a quotation mark at its end.",
        ) from None


def _version(value: str, place: Place) -> str:
    try:
        return header_value(value, what="api_version").decode()
    except ConfigError:
        raise fail(
            place,
            "must be printable ASCII characters, such as 2024-10-21. Leave it out to use the provider's own.",
        ) from None


# -- by model, by provider


def _overriding(slug: Slug, entries: Mapping[str, Any], catalogue: Catalogue) -> Credential | None:
    place = "credential_override"
    return _of_model(slug, place, entries, catalogue) or _of_provider(slug, place, entries, catalogue)


def _of_model(
    slug: Slug, place: Place, entries: Mapping[str, Any], catalogue: Catalogue
) -> Credential | None:
    selector = next(_selectors(slug, entries, catalogue), None)
    if selector is None:
        return None
    return read(entries[selector], (place, selector), catalogue.origins(slug))


def _selectors(slug: Slug, entries: Mapping[str, Any], catalogue: Catalogue) -> Iterator[str]:
    yield from (name for name in (slug.asked, slug.full) if name in entries)
    yield from (name for name in entries if catalogue.slug(name).full == slug.full)
    entry = entries.get(slug.name)
    if isinstance(entry, Mapping) and "api_base" in entry:
        yield slug.name


def _of_provider(
    slug: Slug, place: Place, entries: Mapping[str, Any], catalogue: Catalogue
) -> Credential | None:
    name = _id_of(slug.provider, entries)
    return None if name is None else read(entries[name], (place, name), catalogue.origins(slug))


def _id_of(provider: str, entries: Mapping[str, Any]) -> str | None:
    if provider in entries:
        return provider
    return next((name for name in entries if same_provider(name, provider)), None)


# -- a customer's, of which there may be several deployments


class _Deployment(NamedTuple):
    weight: float
    credential: Credential


def _customers(slug: Slug, given: Any, catalogue: Catalogue, draw: float) -> Credential | None:
    place = "customer_credentials"
    if is_list(given):
        return _picked(_deployments(slug, given, place, catalogue, _in_outer_list), draw)
    name = _id_of(slug.provider, given)
    if name is not None and is_list(given[name]):
        return _picked(_deployments(slug, given[name], (place, name), catalogue, _in_own_list), draw)
    return _of_provider(slug, place, given, catalogue)


def _picked(deployments: list[_Deployment], draw: float) -> Credential | None:
    if not deployments:
        return None
    return deployments[pick([deployment.weight for deployment in deployments], draw).at].credential


def _deployments(
    slug: Slug,
    items: list[Any],
    place: Place,
    catalogue: Catalogue,
    held: Callable[..., tuple[object, Place]],
) -> list[_Deployment]:
    found: list[_Deployment] = []
    for at, item in enumerate(items):
        if _serves(item, slug, catalogue):
            value, inside = held(item, slug.provider, (place, at))
            credential = read(value, inside, catalogue.origins(slug))
            if credential is not None:
                found.append(_Deployment(finite(item.get("weight", 1)), credential))
    return found


def _serves(item: Mapping[str, Any], slug: Slug, catalogue: Catalogue) -> bool:
    available, excluded = item.get("available_models"), item.get("exclude_models", ())
    allowed = available is None or any(catalogue.matches(model, slug) for model in available)
    return allowed and not any(catalogue.matches(model, slug) for model in excluded)


def _in_outer_list(item: Mapping[str, Any], provider: str, place: Place) -> tuple[object, Place]:
    held, place = item["credentials"], (place, "credentials")
    name = _id_of(provider, held)
    return (None, place) if name is None else (held[name], (place, name))


def _in_own_list(item: Mapping[str, Any], provider: str, place: Place) -> tuple[object, Place]:
    # The list stands under a provider's name, so the name need not, but may, be repeated inside.
    if "credentials" not in item:
        return item, place
    value, inside = _in_outer_list(item, provider, place)
    return (item["credentials"], inside) if value is None else (value, inside)
