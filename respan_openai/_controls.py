"""What a call says about its own repetition: in its parameters, its state, or because it is a repetition itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core.call import parse_object
from ._core.plan import Controls
from ._params import decode_header
from ._wire import CARRIERS, CONTAINERS, merge


if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._core.call import Call


#: The SDK's count of its own retries (openai/_base_client.py, ``_build_headers``): above 0, somebody else repeats.
_RETRY_COUNT = b"x-stainless-retry-count"

#: In a Responses body: what lies at one provider, under one account, and means nothing elsewhere.
_STATE = ("previous_response_id", "conversation")
_STATE_INSIDE = (b'"file_id"', b'"encrypted_content"')


def controls_of(call: Call) -> Controls:
    """What *call* asks for: ``retry_params``, ``disable_fallback``, stored state."""
    body = parse_object(call.body)
    params = _gathered(call, body)
    retry: dict[str, Any] = params.get("retry_params") or {}
    stored = body.get("store") is True or bool(body.get("background")) or bool(body.get("conversation"))
    state = call.path == "/responses" and (
        any(body.get(name) for name in _STATE) or any(name in (call.body or b"") for name in _STATE_INSIDE)
    )
    return Controls(
        attempts=1 if (call.header(_RETRY_COUNT) or "0") != "0" else _attempts(retry),
        backoff=retry.get("retry_after"),
        stays=bool(params.get("disable_fallback")) or stored or state,
        once=stored,
        several=body.get("n") not in (None, 1),
    )


def _attempts(retry: dict[str, Any]) -> int | None:
    if not retry:
        return None
    if not retry.get("retry_enabled", True):
        return 1
    retries = retry.get("num_retries")
    return None if retries is None else 1 + int(retries)


def _gathered(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    headers = [value for name in CARRIERS if (value := call.header(name.encode()))]
    ambient: Mapping[str, Any] = {} if call.params is None else call.params.params
    inner = [body[name] for name in reversed(CONTAINERS) if isinstance(body.get(name), dict)]
    return merge(ambient, *(decode_header(value) for value in headers), *inner, body)
