"""``wrap()``: a client of the same type whose calls go through the gateway.

The client is copied, its HTTP client stands behind a proxy that intercepts ``send``, and the copy behind
proxies that lift Respan's keywords into ``extra_body`` (``_proxies``). The original is not changed.
"""

from __future__ import annotations

import copy
import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

import openai

from ._core.origin import same_origin
from ._proxies import WrappedClient, held_by, http_proxy, is_sdk, wrapped_client
from ._shim import Settings, make_shim
from ._warn import warn
from .exceptions import ConfigError
from .targets import Gateway, gateway_base


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeVar

    from ._params import RespanParams
    from ._shim import Shim
    from .calls import CallHook
    from .fallbacks import Fallback
    from .policy import Breaker, Hedge, Limits, Retry, Streams, Timeouts

    C = TypeVar("C", bound=openai.OpenAI | openai.AsyncOpenAI)


__all__ = ["wrap"]


def wrap(
    client: C,
    *,
    gateway: Gateway | None = None,
    fallbacks: Sequence[object] | Fallback | None = None,
    retry: Retry | None = None,
    timeouts: Timeouts | None = None,
    breaker: Breaker | None = None,
    hedge: Hedge | None = None,
    streams: Streams | None = None,
    limits: Limits | None = None,
    defaults: RespanParams | None = None,
    on_call: CallHook | None = None,
) -> C:
    """A client that behaves like *client* and calls through the gateway; *client* itself is not changed.

    What the gateway documents (chat completions, Responses, embeddings, transcription, speech) goes there;
    files, batches, images, fine-tuning and all else go to the provider exactly as the SDK built them.
    Websockets (``realtime``, ``responses.connect``) do not use the HTTP client and are not touched; a client that
    has only the gateway's key refuses to open one.

    Respan's parameters can be given as keywords of a call, in ``extra_body``, in a ``params(...)`` block, or
    here as ``defaults``; they win over each other in that order, key by key.

    A client built with the gateway's own key (``OpenAI(api_key=os.environ["RESPAN_API_KEY"])``) may be
    wrapped too: calls that the gateway does not serve then raise, since that key never goes to a provider.
    A client whose ``base_url`` already is the gateway keeps everything there.

    Both share one HTTP client, so closing either closes both. Wrapping a wrapped client gives it new settings,
    or, without any, returns it as it is. Instrument a client *after* wrapping it: what a tracer has put on the
    instance does not survive a copy.

    Args:
        client: ``OpenAI``, ``AsyncOpenAI``, ``AzureOpenAI``, ``AsyncAzureOpenAI`` or a subclass.
        gateway: Where calls go; default ``Gateway()``, with the key from ``RESPAN_API_KEY``.
        fallbacks: Who is asked when the gateway fails, in this order: ``DIRECT``, ``Provider(...)``, another
            ``Gateway(...)``, ``OpenRouter(...)``; or a :class:`Fallback`, which also has lists for prompts that are too
            long, filtered, or for a model that is not there. Default: nobody.
        retry: How often and after which waits; default ``Retry()``, three attempts in all.
        timeouts: Limits for streams; default ``Timeouts()``. The call as a whole is bounded by the client's own
            ``timeout`` (the longer of ``read`` and ``connect``), all attempts and waits together.
        breaker: When a target counts as down; default ``Breaker()``.
        hedge: A second attempt at a slow target's next neighbour; default none, since it may bill twice.
        streams: What becomes of streams that end before their end; default ``Streams()``, an error.
        limits: Sizes that an answer may have; default ``Limits()``.
        defaults: Parameters for every call of this client.
        on_call: Called with the ``CallRecord`` of each call when it has ended.

    Raises:
        ConfigError: if the client cannot be rerouted (``provider=``, ``workload_identity=``,
            ``data_residency=``), is no OpenAI client, or no key is found.
        ParamsError: if *defaults* are not accepted.
    """
    settings = Settings(
        gateway, fallbacks, retry, timeouts, breaker, hedge, streams, limits, defaults, on_call
    )
    inner: Any = client
    if issubclass(type(inner), WrappedClient):
        if settings == Settings():
            return client
        inner = inner.__wrapped__
    _check_client(inner)
    if gateway is None:
        settings = settings.replace(gateway=_own_gateway(inner))
    shim = make_shim(settings, client=inner)
    return wrapped_client(_clone(inner, shim), shim)  # type: ignore[return-value]


_REFUSED = {
    "_provider": "provider=...: that provider signs each request for its own endpoint, so it cannot be rerouted",
    "workload_identity": "workload_identity=...: its short-lived token is issued for OpenAI and must not leave it",
    "_data_residency": "data_residency=...: its calls were promised to stay in a region, which a gateway would break",
}


def _check_client(client: object) -> None:
    if not isinstance(client, openai.OpenAI | openai.AsyncOpenAI):
        raise ConfigError(
            f"wrap() takes an OpenAI client, got {type(client).__module__}.{type(client).__qualname__}. "
            "Wrap the client first and hand the result to tracers or frameworks; for module-level use set "
            "openai.http_client to a client with a RespanTransport."
        )
    for attribute, reason in _REFUSED.items():
        if getattr(client, attribute, None) is not None:
            raise ConfigError(f"This client was built with {reason}. Build one without it for the gateway.")


def _own_gateway(client: Any) -> Gateway | None:
    """The gateway that *client* already speaks to, with the client's own key; ``None`` if it speaks to another."""
    base = gateway_base(None)
    if not same_origin(str(client.base_url), base):
        return None
    # A client whose key is a function has none yet; each call brings what the function returned.
    return Gateway.of_client(client.api_key or "brought-by-each-call", base)


def _clone(client: Any, shim: Shim) -> Any:
    # with_options() would lose what a subclass keeps on the instance, and fail where its constructor takes
    # other arguments; a shallow copy has all of it, only its resources still belong to the original.
    instrumented = sorted(_instrumented(client))
    if instrumented:
        warn(
            f"{', '.join(instrumented)} of this client was replaced, by a tracer perhaps, and the wrapped client "
            "does not have it. Wrap first, then trace: tracer(wrap(client))."
        )
    clone = copy.copy(client)
    clone._client = http_proxy(client._client, shim)  # noqa: SLF001 -- what the SDK sends with; no public name
    for name in [*_shadowing(client)]:
        # What a subclass computed once and kept is its own; children of the SDK are made anew when asked for.
        if not _is_own_cache(client, name):
            del vars(clone)[name]
    for name, value in [*held_by(clone).items()]:
        if is_sdk(value):  # openai 1 makes its resources in the constructor
            setattr(clone, name, _rebuilt(name, value, clone))
    return clone


def _rebuilt(name: str, resource: Any, client: Any) -> Any:
    try:
        return type(resource)(client)
    except TypeError:
        warn(
            f"client.{name} cannot be made anew for the wrapped client, because its constructor takes more than "
            "the client. It still calls the provider directly; make it from the wrapped client instead."
        )
        return resource


def _shadowing(thing: object) -> Iterator[str]:
    """Names on the instance that hide a method or a cached child of its class."""
    for name in vars(thing):
        static = inspect.getattr_static(type(thing), name, None)
        if isinstance(static, cached_property) or inspect.isroutine(static):
            yield name


def _instrumented(thing: Any, path: str = "") -> Iterator[str]:
    """Methods that were replaced on the instance of *thing* or of a resource below it."""
    shadowing = {*_shadowing(thing)}
    for name, value in held_by(thing).items():
        if is_sdk(value):
            yield from _instrumented(value, f"{path}{name}.")
        elif name in shadowing and not _is_own_cache(thing, name):
            yield path + name


def _is_own_cache(thing: object, name: str) -> bool:
    static = inspect.getattr_static(type(thing), name)
    return isinstance(static, cached_property) and not static.func.__module__.startswith("openai.")
