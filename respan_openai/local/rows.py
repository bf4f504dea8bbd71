"""A row of the call log in the making: what is known about one request, as plain JSON values in the end.

Credentials never get in: parameters that hold any are left out. Inputs and outputs are prompts and answers; they
stay out where ``disable_log`` says so, and are cut beyond ``LONGEST``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .customers import NANO


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._core.trace import Trace, Tried
    from .reading import Asked
    from .rendering import Rendered
    from .router import Candidate
    from .usage import Tokens


__all__ = ["LONGEST", "Row"]


#: Bytes of an input or output that are kept.
LONGEST = 1 << 20

_CREDENTIALS = frozenset({"credential_override", "customer_api_keys", "customer_credentials"})
_BALANCED = frozenset({"load_balance_group", "load_balance_models"})

#: Parameters that have a column of their own.
_COLUMNS = (
    "custom_identifier",
    "thread_identifier",
    "group_identifier",
    "properties",
    "positive_feedback",
    "eval_params",
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
    """What is known about one request so far."""

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
            "params": _shown(params),
        }
        if keeps_text:
            self["input"] = _cut(asked.fields)

    def answered(self, text: Any) -> None:
        """Note the message that was answered with."""
        if self.keeps_text and text is not None:
            self["output"] = _cut(text)

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
        """Note each attempt: who, what came of it, and when, in milliseconds after *began* (monotonic seconds)."""
        reasons = {(candidate.provider, candidate.sent): candidate.why for candidate in candidates}
        self["attempts"] = [
            _attempt(tried, reasons.get((tried.target.lower(), tried.model)), began) for tried in trace.tried
        ]

    def finished(self) -> dict[str, Any]:
        """The row as a store keeps it."""
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


def _text(value: Any) -> str:

    return json.dumps(value, ensure_ascii=False, default=str)


def _shown(params: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in params.items() if name not in _CREDENTIALS | _BALANCED}
    return kept | {name: _without_credentials(params[name]) for name in _BALANCED if name in params}


def _without_credentials(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_credentials(inner) for name, inner in value.items() if name != "credentials"}
    return [_without_credentials(inner) for inner in value] if isinstance(value, list) else value


def _cut(value: Any) -> Any:

    text = json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
