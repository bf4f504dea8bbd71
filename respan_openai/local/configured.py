"""Providers as a file describes them: a table for each, whose ``kind`` says what else stands in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from .._check import shown, unknown
from .._core.plain import is_object
from ..exceptions import ConfigError
from ..openrouter import OpenRouter
from ..targets import Provider
from .echo import Echo
from .providers import Azure


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .providers import Upstream

    Table = Mapping[str, Any]


__all__ = ["ALONE", "check_names", "provider_from", "refuse_key"]


#: Where nothing else is said, providers are found by the variable that holds their key: name to variable and
#: table.
ALONE: Final[Mapping[str, tuple[str, Table]]] = {
    "openai": ("OPENAI_API_KEY", {}),
    "azure": ("AZURE_OPENAI_API_KEY", {"kind": "azure"}),
    "openrouter": ("OPENROUTER_API_KEY", {"kind": "openrouter"}),
}

_OPENAI: Final = "https://api.openai.com/v1"


def check_names(given: Table, known: Iterable[str], where: str) -> None:
    """See that *given* has none but the *known* names; a mistyped one would be ignored otherwise.

    Raises:
        ConfigError: if it has; *where* it stands begins the message.
    """
    names = tuple(known)
    for name in given:
        if name not in names:
            raise ConfigError(f"{where}: {unknown(name, name, names)}")


def refuse_key(given: object, name: str, where: str, instead: str) -> None:
    """See that the table *given*, if it is one, has nothing called *name*, which would be a key.

    Raises:
        ConfigError: if it has; *instead* says what to do.
    """
    if is_object(given) and name in given:
        raise ConfigError(
            f"{where}: a key must not stand in a file, which others read and copy. Put it into an "
            f"environment variable, and {instead}"
        )


def provider_from(name: str, table: object) -> Upstream:
    """The provider called *name*.

    Raises:
        ConfigError: if its table cannot be used, or the variable that should hold its key is not set.
    """
    where = f"providers.{shown(name)}"
    if not is_object(table):
        raise ConfigError(f"{where} must be a table, such as [{where}] with base_url = ...")
    refuse_key(table, "api_key", where, "the variable's name into `api_key_env`.")
    kind = table.get("kind", "openai")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(f"{where}: `kind` must be one of {', '.join(_KINDS)}.")
    known, make = _KINDS[kind]
    check_names(table, ("kind", *known), where)
    return make(name, table)


def _openai(name: str, table: Table) -> Provider:
    base_url = table.get("base_url") or (
        os.environ.get("OPENAI_BASE_URL") or _OPENAI if name == "openai" else None
    )
    if base_url is None:
        raise ConfigError(f"providers.{shown(name)} needs a `base_url`, such as {_OPENAI!r}.")
    variable = f"{name.upper().replace('-', '_')}_API_KEY"
    key = "unused" if table.get("needs_key") is False else _key(name, table, variable)
    return Provider(name, base_url, key, models=table.get("models"))


def _azure(name: str, table: Table) -> Azure:
    key = _key(name, table, "AZURE_OPENAI_API_KEY")
    endpoint = _value(name, table, "endpoint", "AZURE_OPENAI_ENDPOINT")
    version = _value(name, table, "api_version", "OPENAI_API_VERSION")
    return Azure(endpoint, key, version, name=name, deployments=table.get("deployments"))


def _openrouter(name: str, table: Table) -> OpenRouter:
    if name.lower() != OpenRouter.name:
        raise ConfigError(
            f"providers.{shown(name)}: a provider of kind openrouter is always called {OpenRouter.name!r}."
        )
    return OpenRouter(_key(name, table, "OPENROUTER_API_KEY"))


def _echo(name: str, _table: Table) -> Echo:
    return Echo(name)


_KINDS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[str, Table], Upstream]]]] = {
    "openai": (("base_url", "api_key_env", "needs_key", "models"), _openai),
    "azure": (("endpoint", "api_version", "api_key_env", "deployments"), _azure),
    "openrouter": (("api_key_env",), _openrouter),
    "echo": ((), _echo),
}


def _key(name: str, table: Table, variable: str) -> str:
    named = table.get("api_key_env", variable)
    key = os.environ.get(named) if isinstance(named, str) else None
    if not key:
        raise ConfigError(
            f"Provider {shown(name)!r} needs a key: the environment variable {shown(str(named))} is not set. "
            "Set it, or name another one in `api_key_env`."
        )
    return key


def _value(name: str, table: Table, what: str, variable: str) -> str:
    value = table.get(what) or os.environ.get(variable)
    if not isinstance(value, str):
        raise ConfigError(f"providers.{shown(name)} needs `{what}`, or the environment variable {variable}.")
    return value
