"""Respan's request parameters: their names, shapes and limits.

The gateway takes them as top-level body fields, inside a body field ``respan_params``, and base64-encoded in
the header ``X-Data-Respan-Params``; the first wins over the second, the second over the third, key by key.
It *ignores* a container that it cannot read and serves the call without it, that is without the customer's
keys and limits. So everything is checked here, before it is sent.

The TypedDicts are the only place where names, types and limits are written; ``check`` is compiled from them.
Sources in the field notes: ``reference/000`` to ``003`` are Respan's pages on /api/responses and
/api/chat/completions (003: "Respan documentation, create-chat-completion"); "respan-sdk" and "respan-api"
are Respan's packages on PyPI, whose fields no page describes.
"""

# Annotations here are evaluated at import on purpose: as strings they take twice as long, one `compile` each.

import base64
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal, Required, TypeAlias, cast

from typing_extensions import TypedDict, Unpack

from ._check import (
    OPEN,
    Checker,
    Place,
    Shape,
    at_least,
    at_most,
    capped,
    cut,
    fail,
    more_than,
    nearest,
    obeys,
    one_line,
    within,
)
from ._wire import CONTAINERS, HEADER, merge
from .exceptions import ParamsError


__all__ = [
    "FIELDS",
    "LEGACY",
    "NAMES",
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
    "PromptVariable",
    "RespanParams",
    "RetryParams",
    "TextVariable",
    "body",
    "check",
    "check_explicit",
    "check_keyword",
    "decode_header",
]

LEGACY: Final[Mapping[str, str]] = {
    "fallback": "fallback_models",
    "keywordsai_api_controls": "respan_api_controls",
    "loadbalance_models": "load_balance_models",
}
"""Old names that are still accepted, each with the name under which it is sent."""


# ---------------------------------------------------------------------------------------------- rules


def _is_email(value: str, place: Place) -> None:
    name, at, domain = value.rpartition("@")
    if not (name and at and domain) or any(char.isspace() for char in value):
        raise fail(place, "must be an e-mail address: name@domain.")


def _is_date(value: str, place: Place) -> None:
    try:
        well_formed = date.fromisoformat(value).isoformat() == value
    except ValueError:
        well_formed = False
    if not well_formed:
        raise fail(place, "must be a date like 2026-01-31 (YYYY-MM-DD).")


def _is_ours(prompt: Mapping[str, object], place: Place) -> None:
    if "id" in prompt and "prompt_id" not in prompt:
        raise fail(
            place,
            "has an `id`, so it is OpenAI's own: pass it as responses.create(prompt=...). "
            "A prompt stored at Respan is named by `prompt_id`.",
        )


def _is_last_level(variables: Mapping[Any, Any], place: Place) -> None:
    for name, value in variables.items():
        tag = cast("dict[str, object]", value).get("_type") if isinstance(value, dict) else None
        if isinstance(tag, str) and tag == "prompt":
            raise fail((place, name), "is a prompt in a prompt in a prompt; the gateway composes 2 levels.")


def _is_consistent(prompt: Mapping[str, Any], place: Place) -> None:
    _is_acyclic(prompt["prompt_id"], prompt.get("variables", {}), (place, "variables"))
    if "patch" not in prompt:
        return
    if prompt.get("schema_version") != 2:
        raise fail((place, "patch"), "works only with `schema_version` 2; add `schema_version=2`.")
    taken = [f"`{key}`" for key in ("messages", "input") if key in prompt["patch"]]
    if taken:
        raise fail((place, "patch"), f"must not hold {' or '.join(taken)}; pass that to the call itself.")


def _is_acyclic(prompt_id: object, variables: Mapping[str, Any], place: Place) -> None:
    for name, value in variables.items():
        if isinstance(value, dict) and value["_type"] == "prompt" and value["prompt_id"] == prompt_id:
            raise fail(
                (place, name), "is the prompt that it is a part of; the gateway answers 400 to a cycle."
            )


# ---------------------------------------------------------------------------------------------- shapes

_Id: TypeAlias = Annotated[str | int, one_line()]
_Text: TypeAlias = Annotated[str, one_line()]
_Name: TypeAlias = Annotated[str, one_line(empty=False)]
_Names: TypeAlias = Sequence[_Name]
_CustomerId: TypeAlias = Annotated[str | int, one_line(), cut(254)]
_Positive: TypeAlias = Annotated[float, more_than(0)]
_NotNegative: TypeAlias = Annotated[float, at_least(0)]
_Count: TypeAlias = Annotated[int, at_least(0)]
_Email: TypeAlias = Annotated[str, one_line(), obeys(_is_email)]
_Date: TypeAlias = Annotated[str, obeys(_is_date)]
_Version: TypeAlias = _Count | Literal["latest"]
# A mebibyte of it is a mistake: it would be stored and indexed with every call.
_Record: TypeAlias = Annotated[Mapping[str, object], within(1 << 20)]


class RetryParams(TypedDict, total=False):
    """The gateway's own retries for one request; other keys are errors (reference/003, respan-sdk)."""

    retry_enabled: Required[bool]
    """Whether the gateway retries. Required."""
    num_retries: Annotated[int, at_least(1)]
    """Number of retries, at least 1. Default 3 (respan-sdk)."""
    retry_after: _Positive
    """Seconds before a retry, more than 0. Default 0.2 (respan-sdk)."""


class CacheOptions(TypedDict, total=False):
    """How cached answers are kept apart and logged (reference/000, 002; 003's "boolean" is a slip)."""

    cache_by_customer: bool
    """Whether each ``customer_identifier`` has entries of its own. Default false."""
    is_cached_by_model: bool
    """Whether each model has entries of its own; if not, another model's answer may come. Default false."""
    omit_log: bool
    """Whether a hit is left out of the log. Default false."""


class CustomerParams(TypedDict, total=False):
    """The end user of a call, with a budget (reference/003)."""

    customer_identifier: Required[_CustomerId]
    """The end user's id, at most 254 characters; wins over the top-level one. Required."""
    group_identifier: _Id
    """Id of a group of spans."""
    name: str
    """Display name."""
    email: _Email
    """E-mail address."""
    period_start: _Date
    """First day of the budget period, YYYY-MM-DD."""
    period_end: _Date
    """Last day of the budget period, YYYY-MM-DD."""
    budget_duration: Literal["daily", "weekly", "monthly", "yearly"]
    """Length of a budget period; ``yearly`` only in reference/003."""
    period_budget: _NotNegative
    """Budget of one period, US dollars, at least 0."""
    total_budget: _NotNegative
    """Budget over all time, US dollars, at least 0."""
    markup_percentage: float
    """Percentage added to reported usage: 20 reports 1.2 times the cost."""
    metadata: _Record
    """Free key-value pairs of the customer, at most 1 MiB (respan-sdk)."""
    rate_limit: _Count
    """Requests per minute; beyond it the gateway answers 429 (respan-sdk)."""


class TextVariable(TypedDict, total=False):
    """A prompt variable that is text, the same as the plain string (respan-sdk)."""

    _type: Required[Literal["text"]]
    """``"text"``."""
    value: Required[str]
    """The text; inert, nothing in it is a template."""


class ImageVariable(TypedDict, total=False):
    """A prompt variable that is an image (respan-sdk)."""

    _type: Required[Literal["image_url"]]
    """``"image_url"``."""
    value: Required[str]
    """URL of the image, ``data:`` included."""


class JSONVariable(TypedDict, total=False):
    """A prompt variable that is an object (respan-sdk)."""

    _type: Required[Literal["json"]]
    """``"json"``."""
    value: Required[Mapping[str, object]]
    """The object."""


_PlainVariable: TypeAlias = (
    str | float | bool | Sequence[object] | TextVariable | ImageVariable | JSONVariable | None
)


class ComposedPrompt(TypedDict, total=False):
    """A prompt variable that is a prompt: rendered first, then put in as plain text (reference/003)."""

    _type: Required[Literal["prompt"]]
    """``"prompt"``."""
    prompt_id: Required[_Name]
    """Id of the inner prompt; the outer prompt's own is an error."""
    version: _Version
    """Version number, or ``"latest"`` for the newest draft. Default: the deployed version."""
    variables: Annotated[Mapping[str, _PlainVariable], obeys(_is_last_level, before=True)]
    """Variables of the inner prompt; no further prompts, because 2 levels are the limit."""


PromptVariable: TypeAlias = _PlainVariable | ComposedPrompt
"""A value for a prompt's variable: plain, or an object that says its ``_type``."""


class OverrideConfig(TypedDict, total=False):
    """How a request overrides a prompt of schema version 1 (reference/003)."""

    messages_override_mode: Literal["append", "override"]
    """Append the request's messages to the prompt's, or replace them. Default ``"override"`` (respan-sdk)."""


class Prompt(TypedDict, total=False):
    """A prompt stored at Respan (reference/003); OpenAI's own has an ``id`` and is ``responses.create``'s."""

    prompt_id: Required[_Name]
    """Id of the prompt. Required."""
    prompt_slug: _Text
    """Slug of the prompt; no page describes it (respan-api)."""
    variables: Mapping[str, PromptVariable]
    """Values for the prompt's variables."""
    version: _Version
    """Version number, or ``"latest"`` for the newest draft. Default: the deployed version."""
    echo: bool
    """Whether the answer carries the rendered messages as ``prompt_message``."""
    override: bool
    """Schema version 1: true lets the prompt's settings win, false the request's."""
    override_params: Mapping[str, object]
    """Schema version 1: OpenAI parameters that replace the prompt's; 003 wants ``override=True`` with it."""
    override_config: OverrideConfig
    """Schema version 1: how messages are overridden."""
    schema_version: Literal[1, 2]
    """1: ``override`` decides. 2: the prompt's settings always win, then ``patch``. Default 1."""
    patch: Mapping[str, object]
    """Schema version 2 only: parameters laid over the prompt's; not ``messages``, not ``input``."""
    is_custom_prompt: bool
    """Whether the prompt is kept outside Respan, so that nothing is looked up (respan-sdk). Default false."""


class Credential(TypedDict, total=False):
    """A provider's credential; fields of other providers pass too (reference/000, 003, respan-api)."""

    api_key: _Text
    """The provider's key; never the Respan key."""
    api_base: _Text
    """Base URL, for Azure."""
    api_version: _Text
    """API version, for Azure."""
    vertex_ai_project: _Text
    """Google Cloud project."""
    vertex_ai_location: _Text
    """Google Cloud region."""
    vertex_ai_credentials: Mapping[str, object]
    """Google service account, as its JSON object."""
    aws_access_key_id: _Text
    """AWS access key id."""
    aws_secret_access_key: _Text
    """AWS secret access key."""
    aws_region_name: _Text
    """AWS region."""


_Credential: TypeAlias = Annotated[Credential, OPEN]


class CustomerCredentials(TypedDict, total=False):
    """One of several deployments that share the load of a customer's calls (respan-sdk)."""

    credentials: Required[Mapping[_Text, _Text | _Credential]]
    """Provider to key or credential; within one provider's list the credential's fields. Required."""
    weight: _Positive
    """Share of the calls, more than 0."""
    available_models: _Names
    """Models that may use this deployment. Default: all."""
    exclude_models: _Names
    """Models that may not use this deployment."""


class LoadBalanceModel(TypedDict, total=False):
    """One model of a weighted list (reference/003)."""

    model: Required[_Name]
    """Slug of the model. Required."""
    weight: Required[_Positive]
    """Share of the calls, more than 0. Required."""
    credentials: _Credential
    """Credential for this model. Default: the stored one."""


class LoadBalanceGroup(TypedDict, total=False):
    """A weighted group of models that is stored at Respan (reference/003)."""

    group_id: Required[_Name]
    """Id of the group, from the load balancing page. Required."""
    models: Sequence[LoadBalanceModel]
    """List that replaces the stored one."""


class EvalParams(TypedDict, total=False):
    """Evaluations of the answer; no page describes them (respan-sdk)."""

    evaluators: Sequence[object]
    """Evaluators to run."""
    evaluation_identifier: _Id
    """Id of the evaluation."""
    last_n_messages: _Count
    """How many of the last messages to look at; 0 is all. Default 1."""
    eval_inputs: Mapping[str, object]
    """Further inputs for the evaluators."""
    sample_percentage: Annotated[float, at_least(0), at_most(100)]
    """Percentage of calls that are evaluated, 0 to 100. Default: the organisation's setting."""


class ApiControls(TypedDict, total=False):
    """How the gateway logs a call (respan-sdk)."""

    block: bool
    """Whether the answer waits for the log; false answers first."""


class RespanParams(TypedDict, total=False):
    """Every parameter that a caller may send to the gateway.

    ``model``, messages and the other parameters of OpenAI are not here: they are the call's own.
    """

    models: _Names
    """Candidates of the router; with ``model`` they are fallbacks, a single one is the model. Unset: all."""
    exclude_providers: _Names
    """Providers that the router leaves out; binds neither ``model`` nor ``fallback_models``."""
    exclude_models: _Names
    """Models that the router leaves out; binds neither ``model`` nor ``fallback_models``."""
    fallback_models: Annotated[_Names, capped(5)]
    """Models to try in order when the first fails; repetitions are dropped, beyond 5 cut with a warning."""
    load_balance_group: LoadBalanceGroup
    """Stored group of models to pick from; ``model``, if given, wins over it."""
    load_balance_models: Sequence[LoadBalanceModel]
    """Inline weighted list of models; wins over ``model``. 003 deprecates it for ``load_balance_group``."""
    weight: _NotNegative
    """Load balancing weight, at least 0; no page says more (respan-api)."""
    model_name_map: Mapping[_Text, _Name]
    """Azure only: a model's slug to the slug of your deployment."""
    route_provider_override: _Text
    """Provider to pin, as the header ``X-Respan-Route-Provider`` does (respan-api)."""
    disable_fallback: bool
    """Whether fallbacks are skipped (respan-sdk). Default false."""
    first_token_timeout: _Positive
    """Seconds until the first token, more than 0 (respan-sdk; the unit is presumed)."""

    customer_credentials: (
        Mapping[_Text, _Text | _Credential | Sequence[CustomerCredentials | _Credential]]
        | Sequence[CustomerCredentials]
    )
    """Provider to key, credential, or list of either with weights; or a list of deployments. Never logged."""
    credential_override: Mapping[_Text, _Credential]
    """Model slug (or provider) to the credential for this one request; wins over all other credentials."""
    customer_api_keys: Mapping[_Text, _Text]
    """Model to key. Deprecated in 003: use ``customer_credentials``."""

    cache_enabled: bool
    """Whether an identical conversation may be answered from the cache. Unset: organisation's setting."""
    # Ten years: no cache is meant to outlive that, and a Unix time or a year in milliseconds exceeds it.
    cache_ttl: Annotated[float, more_than(0), at_most(315_360_000)]
    """Seconds for which a stored answer is served, more than 0, at most ten years. Default 30 days (003)."""
    cache_options: CacheOptions
    """How cached answers are kept apart and logged."""

    prompt: Annotated[Prompt, obeys(_is_ours, before=True), obeys(_is_consistent)]
    """Stored prompt to render and merge into the request."""
    variables: Mapping[str, PromptVariable]
    """Prompt variables; merge key by key over those of the other carriers (respan-api)."""
    echo: bool
    """OpenAI's old flag: whether the completion repeats the prompt; not ``prompt["echo"]``."""

    retry_params: RetryParams
    """The gateway's own retries."""
    retries: _Count
    """Accepted and without effect (respan-api)."""

    disable_log: bool
    """Whether inputs and outputs are left out of the log; metrics stay. Default false."""
    request_breakdown: bool
    """Whether the answer carries a summary; streamed, as one more last chunk. Default false."""
    metadata: _Record
    """Free key-value pairs, at most 1 MiB; the gateway makes the values strings. Replaces OpenAI's own."""
    properties: _Record
    """Like ``metadata``, but values keep their JSON types; at most 1 MiB."""
    custom_identifier: _Id
    """A tag of your own, indexed, found as "Custom ID"."""
    customer_identifier: _CustomerId
    """The end user's id, for analytics, budgets and cache; beyond 254 characters cut with a warning."""
    customer_params: CustomerParams
    """The end user with a profile and a budget; its identifier wins over ``customer_identifier``."""
    thread_identifier: _Id
    """Id of the conversation; groups its spans."""
    group_identifier: _Id
    """Id of a group of spans."""
    positive_feedback: bool
    """Whether the user liked the output."""
    span_name: Annotated[str, one_line(), cut(255)]
    """Name of the span; beyond 255 characters cut with a warning (respan-sdk)."""
    customer_email: _Text
    """The end user's e-mail address."""
    customer_name: str
    """The end user's display name."""
    trace_unique_id: _Text
    """Id of the trace (respan-sdk)."""
    trace_name: _Text
    """Name of the trace (respan-sdk)."""
    trace_group_identifier: _Id
    """Id of a group of traces (respan-sdk)."""
    session_identifier: _Id
    """Id of the session (respan-sdk)."""
    span_unique_id: _Text
    """Id of the span (respan-sdk)."""
    span_parent_id: _Text
    """Id of the span above (respan-sdk)."""
    span_path: _Text
    """Path of the span in its trace (respan-sdk)."""
    span_workflow_name: _Text
    """Name of the workflow (respan-sdk)."""
    span_handoffs: Sequence[_Text]
    """Agents handed over to (respan-sdk)."""
    span_tools: Sequence[_Text]
    """Tools of the span (respan-sdk)."""
    evaluation_identifier: _Id
    """Id of the evaluation (respan-sdk)."""
    log_type: _Text
    """Kind of the log row (respan-sdk)."""
    environment: _Text
    """Environment label of the log row; cannot override the key's environment (respan-api)."""
    prompt_unit_price: _NotNegative
    """US dollars per million prompt tokens, for models of your own; at least 0 (respan-sdk)."""
    completion_unit_price: _NotNegative
    """US dollars per million completion tokens, for models of your own; at least 0 (respan-sdk)."""
    respan_api_controls: ApiControls
    """How the gateway logs the call."""
    is_log_omitted: bool
    """Whether the call is not logged at all (respan-sdk)."""
    mock_response: str
    """Text to answer with, presumably without a provider (respan-sdk)."""
    field_name: str
    """Prefix of a streamed record (respan-sdk). Default ``"data: "``."""
    delimiter: str
    """End of a streamed record (respan-sdk). Default two line feeds."""
    eval_params: EvalParams
    """Evaluations of the answer."""

    preset: _Text
    """Perplexity on /api/responses: preset, besides ``model`` or ``models`` (respan-api)."""
    max_steps: Annotated[int, at_least(1)]
    """Perplexity on /api/responses: most steps of the agent, at least 1 (respan-api)."""
    language_preference: _Text
    """Perplexity on /api/responses: language of the answer (respan-api)."""
    skills: Sequence[object]
    """Perplexity on /api/responses: skills (respan-api)."""


NAMES: Final = frozenset(RespanParams.__optional_keys__ | LEGACY.keys())
"""Every name that a caller may use, legacy names included."""

FIELDS: Final = NAMES.union(CONTAINERS)
"""All of the gateway's that may stand at the top of a body."""


# ---------------------------------------------------------------------------------------------- checking

# Names that would otherwise be told "did you mean": what they are, and where they go.
_ELSEWHERE: Final[Mapping[str, str]] = {
    **dict.fromkeys(CONTAINERS, "is a container: pass the parameters inside it directly."),
    "env": "does not exist at Respan: the key decides whether a call is test or production.",
    "extra_body": "is the SDK's own argument: pass it to the call.",
    "extra_headers": "is the SDK's own argument: pass it to the call.",
    "format": "is a query parameter: pass `extra_query` to the call.",
    "input": "is OpenAI's own parameter: pass it to the call.",
    "is_token_breakdown_enabled": "is set by the gateway itself, from the header `X-Respan-Beta`.",
    "messages": "is OpenAI's own parameter: pass it to the call.",
    "model": "is OpenAI's own parameter: pass it to the call. Candidates for the router are `models`.",
    "respan_route_provider": "is a header: set the gateway's `route_provider`, or `X-Respan-Route-Provider`.",
    "response_format": "is OpenAI's own parameter: pass it to the call.",
}

# A body field of OpenAI or OpenRouter that is as like one of ours as a slip of the pen would be.
_LOOKALIKES: Final = frozenset({"model"})

# Spelled like ours, but perhaps OpenAI's or OpenRouter's: when a body's value is ours.
_TWO_MEANINGS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "echo": lambda value: isinstance(value, bool),
    "metadata": lambda value: isinstance(value, Mapping),
    "models": lambda value: isinstance(value, list | tuple),
    "prompt": lambda value: isinstance(value, Mapping) and ("id" not in value or "prompt_id" in value),
}

_ORDINARY: Final = frozenset({str, int, float, bool, dict, list})


def check(params: Mapping[str, object], *, where: str = "") -> dict[str, Any]:
    """A checked, normalised copy of *params*; later changes to *params* do not reach it.

    Legacy names become today's, tuples become lists, and repeated ``fallback_models`` are dropped.
    A parameter that is ``None``, ``openai.omit`` or ``openai.NOT_GIVEN`` counts as not given, so
    ``customer_identifier=None`` is harmless; so does a key that is ``None`` in one of the shapes here.
    In free objects such as ``metadata``, ``None`` stays, as JSON's null.

    Args:
        params: Names from ``NAMES``, with values as in ``RespanParams``.
        where: Name of what holds *params*, put before each name in messages: ``respan_params``.

    Raises:
        ParamsError: If *params* is no mapping; if a name is unknown, or given in its old and its new
            spelling; if a value has the wrong type, is out of range, or is a bool where a number is due; if
            a shape has an unknown or lacks a required key; if ``patch`` holds ``messages`` or ``input``, or
            comes without schema version 2; if prompts are nested more than 2 deep or contain themselves; if a
            name or identifier holds CR, LF or NUL; if any value is not JSON: NaN, infinity, bytes, sets,
            keys that are no strings, lone surrogates, an object that holds itself, more than 64 levels or
            100,000 values. Messages hold types and numbers, never a string that was passed as a value.

    Warns:
        RespanWarning: If a customer's identifier (254 characters), ``span_name`` (255 characters) or
            ``fallback_models`` (5) was cut. It points to the caller's line.
    """
    _require_dict(params, where)
    checkers = _checkers()
    checked: dict[str, Any] = {}
    for name, value in params.items():
        known = checkers.get(name)
        if known is None:
            raise _unknown(name, where)
        if value is not None and (type(value) in _ORDINARY or not _is_left_out(value)):
            canonical, checker = known
            if canonical in checked:
                raise fail((where, name), f"is given under its old and its new name; keep `{canonical}`.")
            checked[canonical] = checker(value, (where, name) if where else name)
    if "variables" in checked and "prompt" in checked:
        _is_acyclic(checked["prompt"]["prompt_id"], checked["variables"], (where, "variables"))
    return checked


def check_explicit(params: Mapping[str, object]) -> dict[str, Any]:
    """A copy of a call's ``extra_body`` in which Respan's parameters are checked and normalised.

    Only names from ``NAMES`` are checked, and all that is in ``respan_params``; every other key belongs to
    the provider and stays as it is, in its place. So do ``metadata``, ``models``, ``echo`` and ``prompt`` where
    they have OpenAI's or OpenRouter's form. ``keywordsai_params`` is merged below ``respan_params``.

    Raises:
        ParamsError: As ``check``; if a container is no object, which the gateway would silently ignore; if
            another key is nearly a Respan name, because the gateway would drop it.
    """
    _require_dict(params, "extra_body")
    ours = {name: value for name, value in params.items() if _means_ours(name, value)}
    settled = check(ours)
    checked: dict[str, Any] = {}
    for name, value in params.items():
        canonical = LEGACY.get(name, name)
        if name in CONTAINERS:
            _add_container(checked, name, value)
        elif name not in ours:
            check_keyword(name)
            checked[name] = value
        elif canonical in settled:
            checked[canonical] = settled[canonical]
    return checked


def check_keyword(name: str) -> None:
    """Refuse a keyword that is nearly a Respan name; whether any other is known, its method will say.

    Raises:
        ParamsError: If *name* is not in ``NAMES``, but nearly.
    """
    near = None if name in NAMES or name in CONTAINERS else _near_miss(name)
    if near:
        raise fail(name, f"is not known; did you mean `{near}`?")


def body(**params: Unpack[RespanParams]) -> dict[str, Any]:
    """Checked parameters for ``extra_body``, with names and types that an editor knows.

    Example::

        client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Hello"}],
            extra_body=body(customer_identifier="user_123", fallback_models=["gpt-4o"]),
        )

    Raises:
        ParamsError: As ``check``.
    """
    return check(params)


@functools.cache
def _checkers() -> dict[str, tuple[str, Checker]]:
    fields = Shape(RespanParams).fields
    names = {name: name for name in fields} | dict(LEGACY)
    return {name: (canonical, fields[canonical]) for name, canonical in names.items()}


def _require_dict(params: object, where: str) -> None:
    if not isinstance(params, Mapping):
        raise fail(
            where or "params",
            f"must be a dict of parameters; got {type(params).__name__}. The gateway would ignore it and "
            "serve the call without any of them.",
        )


def _is_left_out(value: object) -> bool:
    # By name, since `openai._types` is private and 1.x has no public `omit`.
    kind = type(value)
    return kind.__name__ in {"NotGiven", "Omit"} and kind.__module__.partition(".")[0] == "openai"


def _unknown(name: object, where: str) -> ParamsError:
    if not isinstance(name, str):
        return fail(where or "params", f"must have strings as keys; got {type(name).__name__}.")
    if name in _ELSEWHERE:
        return fail((where, name), _ELSEWHERE[name])
    near = nearest(name, sorted(NAMES))
    if near:
        return fail((where, name), f"is not known; did you mean `{LEGACY.get(near, near)}`?")
    return fail((where, name), "is no parameter of Respan; a provider's own go straight into `extra_body`.")


def _add_container(checked: dict[str, Any], name: str, value: Any) -> None:
    if value is None or _is_left_out(value):
        return
    inner, earlier = check(value, where=name), checked.get("respan_params", {})
    layers = (earlier, inner) if name == "respan_params" else (inner, earlier)
    checked["respan_params"] = merge(*layers)


def _means_ours(name: str, value: object) -> bool:
    return name in NAMES and (name not in _TWO_MEANINGS or _TWO_MEANINGS[name](value))


# A body has the same few keys in every call, and a look through all names takes a millisecond.
@functools.lru_cache(maxsize=512)
def _near_miss(name: str) -> str | None:
    if name in _LOOKALIKES:
        return None
    near = nearest(name, sorted(FIELDS), 0.88)
    return near and LEGACY.get(near, near)


# ---------------------------------------------------------------------------------------------- carriers


def decode_header(value: str | bytes) -> dict[str, Any]:
    """The checked parameters in a value of ``HEADER``.

    Raises:
        ParamsError: If *value* is not base64, or not of a JSON object; the gateway would serve the call
            while ignoring all of its parameters. And as ``check``.
    """
    decoded = _decode(value)
    if not isinstance(decoded, dict):
        raise fail(
            HEADER,
            "must be base64 (standard alphabet, padded) of a JSON object; the gateway would serve the call "
            "while ignoring all parameters in it. `encode_header` makes a valid one.",
        )
    return check(cast("dict[str, object]", decoded), where=HEADER)


def _decode(value: str | bytes) -> Any:
    try:
        return json.loads(base64.b64decode(value, validate=True).decode())
    except (ValueError, RecursionError):
        # Swallowed, because these errors carry the text, credentials and all.
        return None
