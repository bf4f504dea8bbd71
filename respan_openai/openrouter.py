"""OpenRouter as the gateway: the same calls, its dialect.

Facts: reference 004 (``POST /api/v1/responses``) and contract.md, section 5. What a Respan parameter means
is said in OpenRouter's words where it has such; what only observes is left out with a warning; anything else
that would change the answer or the bill is an error before anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._azure import deployment_of
from ._core.call import Outgoing, dump_object, parse_object
from ._headers import HeaderRule, header_value
from ._params import NAMES, check_explicit, decode_header
from ._secret import secret_from
from ._warn import warn
from ._wire import CONTAINERS, merge
from .exceptions import ConfigError, ParamsError, RespanError
from .targets import Endpoint, Gateway, checked_base, host_header


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

    from ._core.call import Call, Raw


__all__ = ["OpenRouter"]

HOSTED = "https://openrouter.ai/api/v1"

_KEY_VARIABLES = ("OPENROUTER_API_KEY",)

_RESPONSES = "/responses"

# Limits of reference 004.
_MOST_PAIRS, _LONGEST_KEY, _LONGEST_VALUE, _LONGEST_ID = 16, 64, 512, 256

#: OpenRouter's or OpenAI's own at the top level of a body; not Respan's there.
_NATIVE = frozenset({"metadata", "models", "echo"})

#: Only observe: without them the same answer comes at the same price.
_OBSERVE = frozenset({
    "custom_identifier",
    "customer_email",
    "customer_name",
    "disable_log",
    "environment",
    "eval_params",
    "evaluation_identifier",
    "group_identifier",
    "is_log_omitted",
    "log_type",
    "positive_feedback",
    "properties",
    "prompt_unit_price",
    "completion_unit_price",
    "respan_api_controls",
    "retries",
})  # fmt: skip

#: Keys of ``trace`` that OpenRouter treats specially; further ones are passed on as custom metadata.
_TRACE = {
    "trace_unique_id": "trace_id",
    "trace_name": "trace_name",
    "span_name": "span_name",
    "span_parent_id": "parent_span_id",
    "trace_group_identifier": "trace_group_identifier",
    "session_identifier": "session_identifier",
    "span_unique_id": "span_unique_id",
    "span_path": "span_path",
    "span_workflow_name": "span_workflow_name",
    "span_handoffs": "span_handoffs",
    "span_tools": "span_tools",
}

#: What a customer's entry may hold besides his name without a promise that OpenRouter would not keep.
_CUSTOMER_OBSERVES = frozenset({"customer_identifier", "group_identifier", "name", "email", "metadata"})


class OpenRouter(Endpoint, Gateway):
    """OpenRouter in the gateway's place, for ``/chat/completions`` and ``/responses``; the rest passes through.

    Respan's parameters are translated: ``fallback_models`` -> ``models``, ``exclude_providers`` ->
    ``provider.ignore``, ``thread_identifier`` -> ``session_id``, ``customer_identifier`` -> ``user`` (cut at
    256 characters), ``disable_fallback`` -> ``provider.allow_fallbacks``, trace fields -> ``trace``;
    ``metadata`` is brought into OpenRouter's limits (16 pairs, keys of 64 characters without brackets, values
    of 512, all strings). OpenRouter's own (``models``, ``provider``, ``plugins``, ``trace``, ...) go into
    ``extra_body`` and win over what is translated.

    Args:
        api_key: Default the environment variable ``OPENROUTER_API_KEY``.
        base_url: Default ``https://openrouter.ai/api/v1``, which is also appended to a bare origin.
        referer: Sent as ``HTTP-Referer``: your site, for OpenRouter's rankings.
        title: Sent as ``X-Title``: its name.
        headers: As for :class:`Gateway`.

    Raises:
        ConfigError: as for :class:`Gateway`.
    """

    name = "openrouter"
    prefill = False
    paths = frozenset({"/chat/completions", _RESPONSES})

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str = HOSTED,
        *,
        referer: str | None = None,
        title: str | None = None,
        headers: Iterable[str] = (),
    ) -> None:
        self._base = _base_of(base_url)
        self._key = secret_from(api_key, _KEY_VARIABLES, what="OpenRouter")
        self._rule = HeaderRule(headers, target=self.name)
        self._fixed = [
            (name, header_value(value, what=name.decode()))
            for name, value in ((b"HTTP-Referer", referer), (b"X-Title", title))
            if value is not None
        ]
        self._host = host_header(self._base)

    def build(self, call: Call) -> Outgoing:
        """The request for *call*, in OpenRouter's dialect.

        Raises:
            ParamsError: if a parameter has no counterpart there, or breaks one of its rules.
            ConfigError: if the client is one for Azure: a deployment's name means nothing to OpenRouter.
        """
        if deployment_of(call) is not None:
            raise ConfigError(
                "An Azure client's deployments are not models of OpenRouter. Wrap OpenAI() instead."
            )
        kept, _, carriers = self._rule.split(call.headers)
        body = translated(call, carriers)
        _check_stateless(call.path, body)
        model = body.get("model")
        return self._outgoing(call.path, kept, dump_object(body), model if isinstance(model, str) else None)

    def outgoing(self, path: str, headers: Raw, body: bytes, model: str) -> Outgoing:
        """The request for *path* with *body*, in which nothing is translated.

        Raises:
            ParamsError: if it needs state, which OpenRouter's Responses do not keep.
        """
        if path == _RESPONSES:
            _check_stateless(path, parse_object(body))
        return super().outgoing(path, headers, body, model)

    def with_credential(self, key: str, base_url: str | None = None) -> Self:
        """As for a provider; ``/api/v1`` is appended to a bare origin."""
        other = super().with_credential(key, None if base_url is None else _base_of(base_url))
        vars(other).pop("_known_health", None)  # that of this key and address
        return other

    def unfit(self, call: Call) -> str | None:
        """Why *call* cannot be put in OpenRouter's words; ``None`` if it can."""
        try:
            self.build(call)
        except RespanError as exc:
            return str(exc)
        return None


def _base_of(base_url: str) -> str:
    base = checked_base(base_url)
    return base if urlsplit(base).path else base + "/api/v1"


def translated(call: Call, carriers: Iterable[str] = ()) -> dict[str, Any]:
    """The body of *call* with all its parameters, from whichever carrier, in OpenRouter's words."""
    body = parse_object(call.body)
    params = _gathered(call, body, carriers)
    said: dict[str, Any] = {}
    for name, value in params.items():
        _translate(name, value, said)
    if "metadata" in body or "metadata" in said:
        said["metadata"] = _fitting({**said.get("metadata", {}), **(body.pop("metadata", None) or {})})
    for name in ("provider", "trace"):
        if isinstance(body.get(name), dict) and name in said:
            body[name] = {**said[name], **body[name]}
    return {**said, **body}


def _gathered(call: Call, body: dict[str, Any], carriers: Iterable[str]) -> dict[str, Any]:
    ambient: Mapping[str, Any] = {} if call.params is None else call.params.params
    containers: dict[str, Any] = {name: body.pop(name) for name in CONTAINERS if name in body}
    inner: dict[str, Any] = check_explicit(containers).get(CONTAINERS[0], {})
    ours = {name: body.pop(name) for name in [*body] if name in NAMES and not _is_native(name, body[name])}
    return merge(ambient, *(decode_header(value) for value in carriers), inner, check_explicit(ours))


def _is_native(name: str, value: object) -> bool:
    return name in _NATIVE or (name == "prompt" and not (isinstance(value, dict) and "prompt_id" in value))


def _translate(name: str, value: Any, said: dict[str, Any]) -> None:
    if name in _TRACE:
        said.setdefault("trace", {})[_TRACE[name]] = value
    elif name in _WORDS:
        _WORDS[name](value, said)
    elif name in _OBSERVE:
        warn(
            f"{name} is left out: OpenRouter has no such parameter. It only observes, so the answer is the same."
        )
    elif value not in (False, None):
        raise ParamsError(
            f"`{name}`: OpenRouter has no counterpart, and leaving it out would change the answer or its price. "
            "Leave it out of this call, or use Gateway().",
            param=name,
        )


def _models(value: Any, said: dict[str, Any]) -> None:
    # Without ``model`` a router's candidates, with it fallbacks: OpenRouter tries them in order either way.
    said["models"] = [*said.get("models", ()), *value]


def _exclude_providers(value: Any, said: dict[str, Any]) -> None:
    said.setdefault("provider", {})["ignore"] = value


def _disable_fallback(value: Any, said: dict[str, Any]) -> None:
    if value:
        said.setdefault("provider", {})["allow_fallbacks"] = False


def _thread_identifier(value: Any, said: dict[str, Any]) -> None:
    said["session_id"] = _cut(str(value), "thread_identifier")


def _customer_identifier(value: Any, said: dict[str, Any]) -> None:
    said.setdefault("user", _cut(str(value), "customer_identifier"))


def _customer_params(value: Mapping[str, Any], said: dict[str, Any]) -> None:
    promised = sorted(value.keys() - _CUSTOMER_OBSERVES)
    if promised:
        raise ParamsError(
            f"`customer_params`: OpenRouter does not enforce {', '.join(promised)}. Leave it out, or use Gateway().",
            param="customer_params",
        )
    # It wins over the top-level identifier, as it does at the gateway (contract.md, section 3).
    said["user"] = _cut(str(value["customer_identifier"]), "customer_params.customer_identifier")


def _metadata(value: Any, said: dict[str, Any]) -> None:
    said["metadata"] = value


_WORDS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "customer_identifier": _customer_identifier,
    "customer_params": _customer_params,
    "disable_fallback": _disable_fallback,
    "exclude_providers": _exclude_providers,
    "fallback_models": _models,
    "metadata": _metadata,
    "models": _models,
    "thread_identifier": _thread_identifier,
}


def _cut(value: str, name: str) -> str:
    if len(value) > _LONGEST_ID:
        warn(f"{name} is cut to {_LONGEST_ID} characters, OpenRouter's limit.")
    return value[:_LONGEST_ID]


def _fitting(metadata: Mapping[str, Any]) -> dict[str, str]:
    fitting: dict[str, str] = {}
    for key, value in metadata.items():
        name = key.replace("[", "").replace("]", "")[:_LONGEST_KEY]
        fitting[name] = (value if isinstance(value, str) else dump_object(value).decode())[:_LONGEST_VALUE]
    kept = dict([*fitting.items()][:_MOST_PAIRS])
    if len(kept) < len(metadata) or any(metadata.get(key) != value for key, value in kept.items()):
        warn(
            f"metadata was brought into OpenRouter's limits: {_MOST_PAIRS} pairs, keys of {_LONGEST_KEY} characters "
            f"without brackets, values of {_LONGEST_VALUE}, all strings."
        )
    return kept


def _check_stateless(path: str, body: Mapping[str, Any]) -> None:
    if path != _RESPONSES:
        return
    for name in ("store", "previous_response_id"):
        if body.get(name):
            raise ParamsError(
                f"`{name}`: OpenRouter's Responses are stateless and refuse it with 400 (reference 004). "
                "Send the whole conversation as input.",
                param=name,
            )
