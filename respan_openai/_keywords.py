"""Keywords of the gateway among the keywords of an SDK method: moved into ``extra_body``, checked on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai

from ._params import FIELDS, check, check_explicit, check_keyword, decode_header
from ._wire import CARRIERS, CONTAINERS
from .exceptions import ParamsError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


#: Of the gateway's fields, the names that a provider may know as well are free to go there.
_ONLY_OURS = FIELDS - {"echo", "metadata", "models", "prompt", "variables", "weight"}

#: Where the SDK keeps the methods whose calls the gateway may serve. Elsewhere a parameter would reach the provider.
_PATHS = {
    "openai.resources.chat.completions": "/chat/completions",
    "openai.resources.beta.chat.completions": "/chat/completions",
    "openai.resources.responses.responses": "/responses",
    "openai.resources.embeddings": "/embeddings",
    "openai.resources.audio.transcriptions": "/audio/transcriptions",
    "openai.resources.audio.speech": "/audio/speech",
}
_SENDING = frozenset({"create", "parse", "stream"})

#: With one of these the gateway finds the model, or the messages, by itself (reference 003).
_CHOOSE_MODEL = frozenset(
    {"load_balance_group", "load_balance_models", "loadbalance_models", "models", "prompt"}
)

#: What the SDK takes for "not given"; ``omit`` is the newer name.
_LEFT_OUT = getattr(openai, "omit", openai.NOT_GIVEN)


def moved(
    method: Callable[..., Any], known: frozenset[str], paths: frozenset[str], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """As :func:`~respan_openai._lift.lifted`, for keywords that may be the gateway's."""
    if _is_our_prompt(kwargs.get("prompt")):
        kwargs = {**kwargs, **check({"prompt": kwargs["prompt"]})}
    foreign = kwargs.keys() - known
    extra = kwargs.get("extra_body")
    headers = kwargs.get("extra_headers")
    if headers:
        _check_headers(headers)
    if not foreign and not extra:
        return kwargs
    ours = {name: kwargs[name] for name in kwargs if name in foreign and name in FIELDS}
    for name in foreign - ours.keys():
        check_keyword(name)
    if not _is_served(method, paths):
        _refuse_elsewhere(method, [*ours, *(name for name in extra or () if name in _ONLY_OURS)])
        return kwargs
    rest = {name: value for name, value in kwargs.items() if name not in ours}
    rest["extra_body"] = body = _body(ours, dict(extra or {}))
    return _without_needless(rest, known, body)


def _is_our_prompt(prompt: object) -> bool:
    return isinstance(prompt, dict) and "prompt_id" in prompt  # OpenAI's own has "id"


def _is_served(method: Callable[..., Any], paths: frozenset[str]) -> bool:
    module = getattr(method, "__module__", None) or ""
    if not module.startswith("openai."):
        return True  # a user's own; where its calls go shows only when they are sent
    return getattr(method, "__name__", "") in _SENDING and any(
        module.startswith(prefix) for prefix, path in _PATHS.items() if path in paths
    )


def _body(ours: Mapping[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    twice = ours.keys() & extra.keys()
    if twice:
        name = min(twice)
        raise ParamsError(
            f"{name} is given twice, as a keyword and in extra_body. Keep one of them.", param=name
        )
    containers = {name: ours[name] for name in ours if name in CONTAINERS}
    plain = check({name: value for name, value in ours.items() if name not in containers})
    return {**check_explicit({**extra, **containers}), **plain}


def _without_needless(
    kwargs: dict[str, Any], known: frozenset[str], body: Mapping[str, Any]
) -> dict[str, Any]:
    # The SDK's signature demands model and messages; where the gateway does not, they may be left out.
    left_out = {
        "model": bool(_CHOOSE_MODEL & body.keys()),
        "messages": "prompt" in body,
    }
    absent = {
        name: _LEFT_OUT for name, may in left_out.items() if may and name in known and name not in kwargs
    }
    return {**kwargs, **absent}


def _check_headers(headers: Mapping[str, Any]) -> None:
    for name, value in headers.items():
        if name.lower() in CARRIERS and isinstance(value, str):
            decode_header(value)


def _refuse_elsewhere(method: Callable[..., Any], ours: Sequence[str]) -> None:
    if ours:
        names = ", ".join(f"`{name}`" for name in ours)
        raise ParamsError(
            f"{names}: {method.__qualname__} does not go to the gateway but straight to the provider, which does "
            "not know this parameter. Leave it out of this call.",
            param=ours[0],
        )
