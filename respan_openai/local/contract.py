"""What a request says, and what this gateway does not do yet and therefore refuses.

1. Top-level body fields win over ``respan_params``, and those over the header; ``variables`` alone merge
   inside (reference 000-003, "Merge order"). A carrier's current name wins over its legacy name.
2. What cannot be read is an error, never ignored: the call would run without the customer's limits.
3. A parameter that would change the answer or the bill is honoured or refused, never left out silently.
   ``PARAMETERS`` says which, and why.

Some names mean two things. ``echo`` at the top level is OpenAI's (reference 003 lists it there). ``prompt``
is OpenAI's on Responses if it has ``id`` and no ``prompt_id``. ``metadata`` is Respan's, and goes to the
provider too if OpenAI would take it: at most 16 pairs of strings and, on chat completions, only with
``store``, because OpenAI answers 400 to ``metadata`` without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeGuard

from .._core.call import dump_object, with_string
from .._params import CONTAINERS, HEADER, LEGACY_HEADER, NAMES, check, decode_header, merge
from ..exceptions import ParamsError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Object = dict[str, Any]


__all__ = [
    "JSON",
    "PARAMETERS",
    "PATHS",
    "ROUTE_HEADER",
    "Asked",
    "ContractError",
    "Reply",
    "detail",
    "invalid",
    "is_object",
    "read",
]


JSON = "application/json"
PATHS = ("/chat/completions", "/responses")
ROUTE_HEADER = "X-Respan-Route-Provider"

#: Fields of the provider that ``params.NAMES`` has too: OpenAI's flag, and Perplexity's fields on Responses.
_PROVIDERS = frozenset({"echo", "language_preference", "max_steps", "preset", "skills"})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in plain values; a stream has one chunk for each event."""

    status: int
    content_type: str
    chunks: tuple[bytes, ...]
    headers: tuple[tuple[str, str], ...] = ()


class ContractError(Exception):
    """Ends a request with an answer of the gateway's own; never leaves the gateway as an exception."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def detail(status: int, message: str, *headers: tuple[str, str]) -> ContractError:
    """The gateway's plain error: ``{"detail": message}``."""
    return ContractError(Reply(status, JSON, (dump_object({"detail": message}),), headers))


def invalid(message: str, param: str | None, code: str = "invalid_parameter") -> ContractError:
    """400 in OpenAI's shape, so that the SDK's exception has ``param`` and ``code``."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return ContractError(Reply(400, JSON, (dump_object({"error": error}),)))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, taken apart.

    Attributes:
        path: Below ``/api``.
        model: As asked for, any provider's prefix included.
        route: The provider that the route header names, or ``None``.
        params: Respan's parameters of all carriers, checked.
        upstream: OpenAI's fields.
        raw: The body as it came.
        untouched: Whether the body held OpenAI's fields only.
    """

    path: str
    model: str
    route: str | None
    params: Object
    upstream: Object
    raw: bytes
    untouched: bool

    def body_for(self, model: str) -> bytes:
        """The body for a provider that calls the model *model*; what need not change stays byte for byte."""
        if not self.untouched:
            return _dumped({**self.upstream, "model": model})
        return self.raw if self.upstream.get("model") == model else with_string(self.raw, "model", model)


def read(path: str, headers: Mapping[str, str], body: bytes) -> Asked:
    """Take a request apart.

    Raises:
        ContractError: 400 if the body, a carrier or a parameter cannot be read, or if a parameter is not
            honoured by the local gateway.
    """
    fields = _parsed(body)
    params = _parameters(path, fields, headers)
    _refuse_what_is_not_honoured(params, fields)
    upstream = {name: value for name, value in fields.items() if _goes_upstream(path, name, fields)}
    return Asked(
        path=path,
        model=_model(fields, params),
        route=headers.get(ROUTE_HEADER),
        params=params,
        upstream=upstream,
        raw=body,
        untouched=len(upstream) == len(fields),
    )


def _parsed(body: bytes) -> Object:
    try:
        fields = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise invalid("The body is not valid JSON.", None) from None
    if not is_object(fields):
        raise invalid("The body must be a JSON object.", None)
    return fields


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether *value*, which comes from JSON, is an object."""
    return isinstance(value, dict)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity: Python reads them, JSON does not have them


def _dumped(fields: Object) -> bytes:
    try:
        return dump_object(fields)
    except ValueError:
        raise invalid("The body holds a number or a string that cannot be sent on as JSON.", None) from None


def _model(fields: Object, params: Object) -> str:
    model = fields.get("model")
    if model is None:
        model = next(iter(params.get("models") or ()), None)
    if not isinstance(model, str) or not model:
        raise invalid("Pass model: the name of the model to call, as a non-empty string.", "model")
    return model


# -- the three carriers


def _parameters(path: str, fields: Object, headers: Mapping[str, str]) -> Object:
    own = {name: fields[name] for name in fields if name in NAMES and _is_respans(path, name, fields)}
    try:
        return merge(*_lower_layers(fields, headers), check(own))
    except ParamsError as exc:
        raise invalid(str(exc), exc.param) from None


def _lower_layers(fields: Object, headers: Mapping[str, str]) -> Iterator[Object]:
    for name in (LEGACY_HEADER, HEADER):
        value = headers.get(name)
        if value is not None:
            yield decode_header(value)
    for name in reversed(CONTAINERS):
        value = fields.get(name)
        if value is not None:
            yield check(value, where=name)


def _is_respans(path: str, name: str, fields: Object) -> bool:
    return name not in _PROVIDERS and not (name == "prompt" and _is_native_prompt(path, fields))


def _goes_upstream(path: str, name: str, fields: Object) -> bool:
    if name in CONTAINERS:
        return False
    if name == "metadata":
        return _is_native_metadata(fields[name]) and (path == "/responses" or fields.get("store") is True)
    return name not in NAMES or not _is_respans(path, name, fields)


def _is_native_prompt(path: str, fields: Object) -> bool:
    prompt = fields["prompt"]
    return path == "/responses" and is_object(prompt) and "id" in prompt and "prompt_id" not in prompt


def _is_native_metadata(value: Any) -> bool:
    # 16 pairs, 64 and 512 characters: openai/types/shared/metadata.py
    return (
        is_object(value)
        and len(value) <= 16
        and all(len(key) <= 64 for key in value)
        and all(isinstance(text, str) and len(text) <= 512 for text in value.values())
    )


# -- what is honoured


class Treatment(NamedTuple):
    """What becomes of a parameter: refused if ``matters(value, body)``; the reason for that or the contrary."""

    matters: Callable[[Any, Object], bool]
    reason: str


def _never(_value: Any, _fields: Object) -> bool:
    return False


def _always(_value: Any, _fields: Object) -> bool:
    return True


def _if_true(value: Any, _fields: Object) -> bool:
    return value is True


def _if_limiting(value: Any, _fields: Object) -> bool:
    return not value.keys().isdisjoint({"period_budget", "total_budget", "rate_limit"})


def _without_model(_value: Any, fields: Object) -> bool:
    return fields.get("model") is None


#: What is refused, when and why; what is accepted, and why that is harmless. Names are separated by spaces.
_TABLE = (
    (_never, "describes the call in a log, and this gateway keeps none", """
        completion_unit_price custom_identifier customer_email customer_identifier customer_name disable_log
        environment eval_params evaluation_identifier group_identifier is_log_omitted log_type metadata
        positive_feedback prompt_unit_price properties respan_api_controls session_identifier span_handoffs
        span_name span_parent_id span_path span_tools span_unique_id span_workflow_name thread_identifier
        trace_group_identifier trace_name trace_unique_id"""),
    (_never, "matters only when the provider fails, and then its failure is passed on", """
        disable_fallback fallback_models first_token_timeout retries retry_params"""),
    (_never, "the first one is the model if there is no other; more are fallbacks", "models"),
    (_never, "says how to cache, and cache_enabled is refused", "cache_options cache_ttl"),
    (_if_true, "a repeated call would be billed again instead of answered from a cache", "cache_enabled"),
    (_if_true, "the answer would lack the summary", "request_breakdown"),
    (_if_limiting, "its budgets and rate limit would not stop anything", "customer_params"),
    (_without_model, "the router would have to leave models out, unless `model` names one", """
        exclude_models exclude_providers"""),
    (_always, "another account would have to pay", "credential_override customer_api_keys customer_credentials"),
    (_always, "another model might have to answer", "load_balance_group load_balance_models model_name_map weight"),
    (_always, "another provider might have to answer; use the header X-Respan-Route-Provider", "route_provider_override"),
    (_always, "a provider would be asked and paid for another answer", "mock_response"),
    (_always, "the model would have to be asked something else", "prompt variables"),
    (_always, "the stream would have to be framed differently", "delimiter field_name"),
    (_always, "it is the provider's own field, and passed on only from the top level of the body", """
        echo language_preference max_steps preset skills"""),
)  # fmt: skip

#: Every parameter of ``params.NAMES``, legacy spellings aside.
PARAMETERS = {name: Treatment(matters, reason) for matters, reason, names in _TABLE for name in names.split()}


def _refuse_what_is_not_honoured(params: Object, fields: Object) -> None:
    for name, value in params.items():
        treatment = PARAMETERS[name]
        if treatment.matters(value, fields):
            message = f"The local gateway does not honour `{name}` yet: {treatment.reason}. Leave it out."
            raise invalid(message, name, "not_supported")
