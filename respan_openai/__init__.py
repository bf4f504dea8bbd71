"""Existing openai-python code, through the Respan gateway, by changing one line.

    client = wrap(OpenAI())

Names are loaded when they are first used: importing this package imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ._client import (
        wrap as wrap,
    )
    from ._context import (
        last_call as last_call,
    )
    from ._context import (
        params as params,
    )
    from ._context import (
        record_of as record_of,
    )
    from ._health import (
        TargetHealth as TargetHealth,
    )
    from ._health import (
        health as health,
    )
    from ._params import (
        ApiControls as ApiControls,
    )
    from ._params import (
        CacheOptions as CacheOptions,
    )
    from ._params import (
        ComposedPrompt as ComposedPrompt,
    )
    from ._params import (
        Credential as Credential,
    )
    from ._params import (
        CustomerCredentials as CustomerCredentials,
    )
    from ._params import (
        CustomerParams as CustomerParams,
    )
    from ._params import (
        EvalParams as EvalParams,
    )
    from ._params import (
        ImageVariable as ImageVariable,
    )
    from ._params import (
        JSONVariable as JSONVariable,
    )
    from ._params import (
        LoadBalanceGroup as LoadBalanceGroup,
    )
    from ._params import (
        LoadBalanceModel as LoadBalanceModel,
    )
    from ._params import (
        OverrideConfig as OverrideConfig,
    )
    from ._params import (
        Prompt as Prompt,
    )
    from ._params import (
        RespanParams as RespanParams,
    )
    from ._params import (
        RetryParams as RetryParams,
    )
    from ._params import (
        TextVariable as TextVariable,
    )
    from ._params import (
        body as body,
    )
    from ._transport import (
        AsyncRespanTransport as AsyncRespanTransport,
    )
    from ._transport import (
        RespanTransport as RespanTransport,
    )
    from .calls import (
        Attempt as Attempt,
    )
    from .calls import (
        CallHook as CallHook,
    )
    from .calls import (
        CallRecord as CallRecord,
    )
    from .exceptions import (
        CallFailed as CallFailed,
    )
    from .exceptions import (
        CallTimedOut as CallTimedOut,
    )
    from .exceptions import (
        ConfigError as ConfigError,
    )
    from .exceptions import (
        InvalidAnswer as InvalidAnswer,
    )
    from .exceptions import (
        LimitExceeded as LimitExceeded,
    )
    from .exceptions import (
        NotServedError as NotServedError,
    )
    from .exceptions import (
        ParamsError as ParamsError,
    )
    from .exceptions import (
        RedirectRefused as RedirectRefused,
    )
    from .exceptions import (
        RespanError as RespanError,
    )
    from .exceptions import (
        RespanWarning as RespanWarning,
    )
    from .exceptions import (
        StoreError as StoreError,
    )
    from .exceptions import (
        StreamIncomplete as StreamIncomplete,
    )
    from .exceptions import (
        StreamInterrupted as StreamInterrupted,
    )
    from .fallbacks import (
        DIRECT as DIRECT,
    )
    from .fallbacks import (
        Fallback as Fallback,
    )
    from .local import (
        Azure as Azure,
    )
    from .local import (
        Echo as Echo,
    )
    from .local import (
        LocalGateway as LocalGateway,
    )
    from .local import (
        Model as Model,
    )
    from .local import (
        Price as Price,
    )
    from .local import (
        Prices as Prices,
    )
    from .local import (
        Prompts as Prompts,
    )
    from .local import (
        PromptVersion as PromptVersion,
    )
    from .local import (
        Settings as Settings,
    )
    from .local import (
        StoredPrompt as StoredPrompt,
    )
    from .local import (
        Via as Via,
    )
    from .openrouter import (
        OpenRouter as OpenRouter,
    )
    from .policy import (
        Breaker as Breaker,
    )
    from .policy import (
        Hedge as Hedge,
    )
    from .policy import (
        Limits as Limits,
    )
    from .policy import (
        Retry as Retry,
    )
    from .policy import (
        Streams as Streams,
    )
    from .policy import (
        Timeouts as Timeouts,
    )
    from .stores import (
        Charge as Charge,
    )
    from .stores import (
        MemoryStore as MemoryStore,
    )
    from .stores import (
        RedisStore as RedisStore,
    )
    from .stores import (
        SQLiteStore as SQLiteStore,
    )
    from .stores import (
        Store as Store,
    )
    from .targets import (
        Gateway as Gateway,
    )
    from .targets import (
        Provider as Provider,
    )

    __version__: str

__all__ = [
    "DIRECT",
    "ApiControls",
    "AsyncRespanTransport",
    "Attempt",
    "Azure",
    "Breaker",
    "CacheOptions",
    "CallFailed",
    "CallHook",
    "CallRecord",
    "CallTimedOut",
    "Charge",
    "ComposedPrompt",
    "ConfigError",
    "Credential",
    "CustomerCredentials",
    "CustomerParams",
    "Echo",
    "EvalParams",
    "Fallback",
    "Gateway",
    "Hedge",
    "ImageVariable",
    "InvalidAnswer",
    "JSONVariable",
    "LimitExceeded",
    "Limits",
    "LoadBalanceGroup",
    "LoadBalanceModel",
    "LocalGateway",
    "MemoryStore",
    "Model",
    "NotServedError",
    "OpenRouter",
    "OverrideConfig",
    "ParamsError",
    "Price",
    "Prices",
    "Prompt",
    "PromptVersion",
    "Prompts",
    "Provider",
    "RedirectRefused",
    "RedisStore",
    "RespanError",
    "RespanParams",
    "RespanTransport",
    "RespanWarning",
    "Retry",
    "RetryParams",
    "SQLiteStore",
    "Settings",
    "Store",
    "StoreError",
    "StoredPrompt",
    "StreamIncomplete",
    "StreamInterrupted",
    "Streams",
    "TargetHealth",
    "TextVariable",
    "Timeouts",
    "Via",
    "body",
    "health",
    "last_call",
    "params",
    "record_of",
    "wrap",
]

#: Module -> the public names that live in it.
_HOMES = {
    "_client": ("wrap",),
    "_context": ("last_call", "params", "record_of"),
    "_health": ("TargetHealth", "health"),
    "_params": (
        "ApiControls",
        "CacheOptions",
        "ComposedPrompt",
        "Credential",
        "CustomerCredentials",
        "CustomerParams",
        "EvalParams",
        "ImageVariable",
        "JSONVariable",
        "LoadBalanceGroup",
        "LoadBalanceModel",
        "OverrideConfig",
        "Prompt",
        "RespanParams",
        "RetryParams",
        "TextVariable",
        "body",
    ),
    "_transport": ("AsyncRespanTransport", "RespanTransport"),
    "calls": ("Attempt", "CallHook", "CallRecord"),
    "exceptions": (
        "CallFailed",
        "CallTimedOut",
        "ConfigError",
        "InvalidAnswer",
        "LimitExceeded",
        "NotServedError",
        "ParamsError",
        "RedirectRefused",
        "RespanError",
        "RespanWarning",
        "StoreError",
        "StreamIncomplete",
        "StreamInterrupted",
    ),
    "fallbacks": ("DIRECT", "Fallback"),
    "local": (
        "Azure",
        "Echo",
        "LocalGateway",
        "Model",
        "Price",
        "Prices",
        "PromptVersion",
        "Prompts",
        "Settings",
        "StoredPrompt",
        "Via",
    ),
    "openrouter": ("OpenRouter",),
    "policy": ("Breaker", "Hedge", "Limits", "Retry", "Streams", "Timeouts"),
    "stores": ("Charge", "MemoryStore", "RedisStore", "SQLiteStore", "Store"),
    "targets": ("Gateway", "Provider"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("respan-openai")
    elif name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
