"""The end of a broken stream, written by another target: the text so far is put to it as the answer's beginning.

Only plain text can be continued. Tool arguments, JSON and log probabilities would be spliced from two answers that
know nothing of each other, and most models take a last assistant message for a finished turn, so a target is asked
only if its ``prefill`` says that it goes on from there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ._core.call import dump_object, parse_object


if TYPE_CHECKING:
    from ._core.call import Call
    from ._core.plan import Plan
    from ._core.sse import Watch


#: With one of these an answer is more than its text.
_MORE_THAN_TEXT = ("tools", "functions", "response_format", "logprobs", "audio", "modalities", "prediction")


def continued(call: Call, plan: Plan, watch: Watch | None) -> tuple[Call, Plan] | None:
    """The call for the rest of a stream of which *watch* has seen the beginning, and who may take it.

    ``None`` if it cannot be continued, or nobody can do it.
    """
    targets = tuple(target for target in plan.targets if getattr(target, "prefill", False))
    if watch is None or not targets or call.path != "/chat/completions" or not watch.plain or not watch.text:
        return None
    if plan.controls(call).stays:
        return None
    body = parse_object(call.body)
    messages: list[Any] | None = body.get("messages")
    if (
        not isinstance(messages, list)
        or any(body.get(name) for name in _MORE_THAN_TEXT)
        or body.get("n", 1) != 1
    ):
        return None
    begun = {"role": "assistant", "content": watch.text}
    longer: list[Any] = [*messages, begun]
    call = call.replace(body=dump_object({**body, "messages": longer}))
    return call, plan.replace(targets=targets, named={}, retry=replace(plan.retry, attempts=1))
