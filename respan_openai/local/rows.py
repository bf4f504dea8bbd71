"""A row of the call log in the making: what is known about one request, as plain JSON values in the end.

1. Credentials never get in: parameters that hold any are left out, and what a request hands to its provider's
   tools to identify itself with is masked.
2. Inputs and outputs are prompts and answers, and the values that are filled into prompts. They stay out
   where ``disable_log`` says so (reference 000:51, 003:75), and are cut beyond ``LONGEST``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .._core.plain import is_list, is_object
from .customers import NANO
from .masking import masked


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._core.trace import Trace, Tried
    from .reading import Asked
    from .rendering import Rendered
    from .router import Candidate
    from .usage import Tokens


__all__ = ["LONGEST", "Row", "coerced"]


#: Characters of an input or output, written as JSON, that are kept.
LONGEST = 1 << 20

#: Parameters that hold credentials, or deep inside where ``credentials`` is their name.
_CREDENTIALS = frozenset({"credential_override", "customer_api_keys", "customer_credentials"})

#: Parameters that hold texts of the call.
_TEXTS = frozenset({"eval_params", "mock_response", "prompt", "variables"})

#: Parameters that have a column of their own.
_COLUMNS = (
    "custom_identifier",
    "thread_identifier",
    "group_identifier",
    "properties",
    "positive_feedback",
    "log_type",
    "session_identifier",
    "evaluation_identifier",
    "span_name",
    "span_path",
    "span_parent_id",
    "span_unique_id",
    "span_workflow_name",
    "span_handoffs",
    "span_tools",
    "trace_name",
    "trace_unique_id",
    "trace_group_identifier",
)


class Row:
    """What is known about one request so far.

    Args:
        at: Seconds since 1970 when it came.
        environment: That its key stands for.
        path: Below ``/api``.

    Attributes:
        id: Of the row, and of the request.
        environment: As given.
        keeps_text: Whether inputs and outputs are kept.
    """

    def __init__(self, at: float, environment: str, path: str) -> None:
        self.id = str(uuid4())
        self.environment = environment
        self.keeps_text = True
        self._values: dict[str, Any] = {
            "id": self.id,
            "at": at,
            "environment": environment,
            "path": path,
            "status": None,
            "model": None,
            "provider": None,
            "customer_identifier": None,
            "custom_identifier": None,
            "thread_identifier": None,
            "attempts": [],
        }

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __getitem__(self, name: str) -> Any:
        """What is known under *name*; ``None`` if nothing is."""
        return self._values.get(name)

    def asked(self, asked: Asked, customer: str | None, *, keeps_text: bool) -> None:
        """Note what the request says."""
        params = asked.params
        self.keeps_text = keeps_text
        self._values |= {name: params[name] for name in _COLUMNS if name in params}
        self._values |= {
            "model": asked.model,
            "stream": asked.streams,
            "customer_identifier": customer,
            "metadata": coerced(params.get("metadata") or {}),
            "params": _shown(params, keeps_text=keeps_text),
        }
        if keeps_text:
            # The body is about as long as its fields written anew, and it is at hand.
            shown = masked(asked.fields)
            self["input"] = shown if len(asked.raw) <= LONGEST else _cut(shown)

    def answered(self, message: object) -> None:
        """Note the message that was answered with; ``None`` is none."""
        if self.keeps_text and message is not None:
            self["output"] = _cut(message)

    def metered(self, tokens: Tokens | None, cost: int | None) -> None:
        """Note what it took: *cost* in 1e-9 USD; ``None`` is unknown, which is not 0."""
        self["tokens"] = None if tokens is None else tokens._asdict()
        self["cost"] = None if cost is None else cost / NANO

    def prompted(self, prompt_id: str, rendered: Rendered) -> None:
        """Note the stored prompt that was filled in."""
        self["prompt"] = {"prompt_id": prompt_id, "version": rendered.version}
        if self.keeps_text:
            self["variables"] = _cut(rendered.variables)

    def attempted(self, trace: Trace, candidates: Iterable[Candidate], began: float) -> None:
        """Note each attempt: who, what came of it, and when, in ms after *began* (monotonic seconds)."""
        reasons: dict[tuple[str, str | None], str] = {
            (candidate.provider, candidate.sent): candidate.why for candidate in candidates
        }
        self["attempts"] = [
            _attempt(tried, reasons.get((tried.target.lower(), tried.model)), began) for tried in trace.tried
        ]

    def finished(self) -> dict[str, Any]:
        """The row as a store keeps it; it goes on to change until the call is over."""
        return self._values


def _attempt(tried: Tried, why: str | None, began: float) -> dict[str, Any]:
    return {
        "provider": tried.target,
        "model": tried.model,
        "status": tried.status,
        "meaning": tried.meaning,
        "error": tried.error,
        "start": round((tried.began - began) * 1000, 3),
        "ms": round((tried.ended - tried.began) * 1000, 3),
        "wait": tried.wait,
        "why": why,
    }


def coerced(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Values as strings, as the gateway keeps ``metadata`` (reference 002:27, 32)."""
    return {name: value if isinstance(value, str) else _text(value) for name, value in metadata.items()}


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _cut(value: object) -> object:
    text = _text(value)
    return value if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def _shown(params: Mapping[str, Any], *, keeps_text: bool) -> dict[str, Any]:
    hidden = _CREDENTIALS if keeps_text else _CREDENTIALS | _TEXTS
    kept = {name: value for name, value in params.items() if name not in hidden}
    return kept | {name: _IN_PART[name](kept[name]) for name in kept.keys() & _IN_PART.keys()}


def _without_credentials(value: object) -> object:
    if is_object(value):
        return {name: _without_credentials(inner) for name, inner in value.items() if name != "credentials"}
    return [_without_credentials(inner) for inner in value] if is_list(value) else value


def _without_secrets(prompt: dict[str, Any]) -> dict[str, Any]:
    return prompt | {name: masked(prompt[name]) for name in ("override_params", "patch") if name in prompt}


#: Parameters that are shown in part.
_IN_PART: Mapping[str, Callable[[Any], object]] = {
    "load_balance_group": _without_credentials,
    "load_balance_models": _without_credentials,
    "prompt": _without_secrets,
}
