"""What ``respan-openai serve`` is told: a TOML file, flags and variables, made into a ``LocalGateway``.

1. Keys stand in environment variables only; the file names the variables.
2. A variable that is named and not set is an error: no gateway is open, and nothing echoed, by an oversight.

The file, of which every part may be missing::

    prompts = "prompts"              # a folder, beside this file
    store = "calls.sqlite3"          # a file beside this one; "memory"; "redis://..."; "env:REDIS_URL"
    prices = "genai"                 # or a table: "openai/gpt-4o" = { input = 2.5, output = 10 }

    [providers.openai]               # the first provider is the default
    base_url = "https://api.openai.com/v1"
    api_key_env = "OPENAI_API_KEY"   # or needs_key = false, as for servers on this machine

    [providers.azure]
    kind = "azure"
    endpoint = "https://mine.openai.azure.com"
    api_version = "2024-10-21"
    deployments = { "gpt-4o" = "my-deployment" }

    [keys]                           # environment = the variable with its keys, separated by commas
    production = "GATEWAY_KEYS"

    [settings]                       # as ``Settings``
    fallback_models = ["openai/gpt-4o-mini"]

    [[settings.models]]              # as ``Model``
    name = "openai/gpt-4o"
    vision = true
"""

from __future__ import annotations

import os
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._check import shown
from .._core.plain import as_list, as_object, is_object
from ..exceptions import ConfigError
from .configured import ALONE, check_names, provider_from, refuse_key
from .gateway import LocalGateway
from .prices import Prices
from .settings import Model, Settings


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..stores.protocol import Store
    from .providers import Upstream


__all__ = ["KEYS_VARIABLE", "configured_gateway", "open_store"]


#: Keys of a gateway without a file that names another variable.
KEYS_VARIABLE: Final = "RESPAN_SERVE_API_KEYS"

_PARTS: Final = ("prompts", "store", "prices", "providers", "keys", "settings")
_SETTINGS: Final = tuple(Settings.__dataclass_fields__)
_MODEL: Final = tuple(Model.__dataclass_fields__)

#: How a URL begins, well or badly written; one letter and a colon are a drive.
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)

#: What to do instead of giving a member of a group a key of its own.
_INSTEAD: Final = "name a provider in [providers] that has it; then put that provider's model into the group."


def configured_gateway(
    path: Path | None = None,
    *,
    echo: bool = False,
    store: str | None = None,
    prompts: Path | None = None,
    prices: str | None = None,
) -> LocalGateway:
    """The gateway that a file, and what is given beside it, describe.

    Args:
        path: The file; without one the providers are those whose variables are set: ``OPENAI_API_KEY``,
            ``AZURE_OPENAI_API_KEY`` and ``OPENROUTER_API_KEY``.
        echo: Answer everything offline, and ask no provider.
        store: As in the file, which it goes before; as do *prompts* and *prices*.
        prompts: A folder.
        prices: ``genai`` is all that can be said here.

    Raises:
        ConfigError: if something cannot be read or used, a variable is missing, or there is no provider.
        StoreError: if the store cannot be opened.
    """
    given = {} if path is None else _read(path)
    folder = Path() if path is None else path.parent
    prompts = folder / given["prompts"] if prompts is None and "prompts" in given else prompts
    build = partial(
        LocalGateway,
        _providers(given.get("providers"), echo=echo),
        api_keys=_keys(given.get("keys")),
        prompts=None if prompts is None else str(prompts),
        prices=_prices(given.get("prices") if prices is None else prices),
        settings=_settings(given.get("settings", {})),
    )
    return _with_store(
        build, open_store(given.get("store", "memory"), folder) if store is None else open_store(store)
    )


def _with_store(build: Callable[..., LocalGateway], store: Store) -> LocalGateway:
    try:
        return build(store=store)
    except BaseException:
        store.close()
        raise


def _read(path: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}. Name a file that can: --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from None
    check_names(given, _PARTS, str(path))
    for name, kind in (
        ("prompts", str),
        ("store", str),
        ("providers", dict),
        ("keys", dict),
        ("settings", dict),
    ):
        if not isinstance(given.get(name, kind()), kind):
            raise ConfigError(f"{path}: `{name}` must be {'a string' if kind is str else 'a table'}.")
    return given


def _providers(given: Mapping[str, Any] | None, *, echo: bool) -> list[Upstream]:
    if echo:
        return [provider_from("echo", {"kind": "echo"})]
    if given is not None:
        return [provider_from(name, table) for name, table in given.items()]
    found = [
        provider_from(name, table) for name, (variable, table) in ALONE.items() if os.environ.get(variable)
    ]
    if not found:
        variables = ", ".join(variable for variable, _ in ALONE.values())
        raise ConfigError(
            f"There is no provider to ask. Set one of {variables}, name providers in a file (--config), "
            "or ask for answers that are made up here (--echo)."
        )
    return found


def _keys(given: Mapping[str, Any] | None) -> dict[str, str] | list[str] | None:
    if given is None:
        return _keys_in(KEYS_VARIABLE) if KEYS_VARIABLE in os.environ else None
    found: dict[str, str] = {}
    for environment, variable in given.items():
        if not isinstance(variable, str):
            raise ConfigError(f"keys.{shown(environment)} must be the name of an environment variable.")
        found |= dict.fromkeys(_keys_in(variable), environment)
    return found


def _keys_in(variable: str) -> list[str]:
    keys = os.environ.get(variable, "").replace(",", " ").split()
    if not keys:
        raise ConfigError(
            f"The environment variable {shown(variable)} should hold the gateway's keys, and is "
            f"{'empty' if variable in os.environ else 'not set'}. Set it, separating keys by commas."
        )
    return keys


def _prices(given: object) -> Prices | None:
    if given is None:
        return None
    if given == "genai":
        return Prices.from_genai()
    if not is_object(given):
        raise ConfigError("prices must be `genai`, or in a file a table of prices by model.")
    return Prices(given)


def _settings(given: Mapping[str, Any]) -> Settings:
    check_names(given, _SETTINGS, "settings")
    for group, members in as_object(given.get("groups")).items():
        for member in as_list(members):
            refuse_key(member, "credentials", f"settings.groups.{shown(group)}", _INSTEAD)
    values: dict[str, Any] = dict(given)
    try:
        values["models"] = tuple(map(_model, given.get("models", ())))
        return Settings(**values)
    except TypeError as exc:
        raise ConfigError(f"settings: a value has a type that does not fit ({exc}).") from None


def _model(given: object) -> Model:
    if not is_object(given):
        raise ConfigError("settings.models must be tables: [[settings.models]].")
    check_names(given, _MODEL, "settings.models")
    return Model(**given)


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(
            f"The environment variable {shown(name)} should say where the store is, and is not set."
        )
    return value


def open_store(where: str, folder: Path | None = None, *, as_is: bool = False) -> Store:
    """The store that *where* names: ``memory``, a URL as ``RedisStore`` takes it, or a file in *folder*.

    ``env:NAME`` is what the environment variable NAME says, for a URL with a password in it.

    Args:
        where: As above.
        folder: Default: the working directory.
        as_is: A file is only looked into: see ``SQLiteStore``.

    Raises:
        ConfigError: if it cannot be used, or its package is not installed.
        StoreError: if the file cannot be opened.
    """
    if where.startswith("env:"):
        where = _variable(where.removeprefix("env:"))
    if where == "memory":
        from ..stores.memory import MemoryStore

        return MemoryStore()
    # Also one that RedisStore refuses: taken for a file, its password would stand in the error's message.
    if _URL.match(where):
        from ..stores.redis import RedisStore

        return RedisStore(where)
    from ..stores.sqlite import SQLiteStore

    return SQLiteStore((folder or Path()) / where, as_is=as_is)
