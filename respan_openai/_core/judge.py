"""What an outcome means: one table of failures, and the functions that find the row.

1. A row says what may follow, what that costs, and whether the failed attempt may have been billed. What is known
   about one status, word or header adjusts the row for that outcome alone.
2. Machine words decide, prose never does: ``code`` and ``type`` are compared exactly, in the first 64 KiB of an
   error answer. A body that cannot be read leaves its status as it is.
3. Whose error it is decides where else to ask, and doubt falls on the safe side. A limit that is not clearly a
   provider's is the gateway's own, and nobody goes around it. A gateway that gives any sign of life is not down.

Words and shapes are those of OpenAI (its error code guide; openai/types/responses/response_error.py), OpenRouter
(``ApiErrorType`` in its OpenAPI document), Anthropic (its errors page), Google (google.rpc.Code) and LiteLLM's
proxy (``budget_exceeded``); Respan's shapes are in contract.md, section 4.
"""

from __future__ import annotations

import json
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .call import parse_object
from .plain import DICT, LIST, as_list, as_object, parsed
from .values import Value


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Literal

    Header = Callable[[str], str | None]
    Object = Mapping[str, Any]
    Named = Literal["context", "content", "model"]
    _Row = tuple["Meaning", "Rule"]


#: Longest wait in seconds that is honoured, unless the caller says otherwise.
WAIT_CAP = 10.0

#: Bytes of an error answer that are looked at.
LOOKED_AT = 64 * 1024

_LOG_ID = "x-respan-log-id"


class Meaning(Enum):
    """What a failure means for the call; the values are words for records."""

    NOT_SENT = "not_sent"
    """Nothing of the request went out, so nobody worked on it."""
    TRUST = "trust"
    """The other side may be an impostor. To go elsewhere would hide that."""
    LOCAL = "local"
    """Our own side could not do it."""
    AMBIGUOUS = "ambiguous"
    """It went out and nothing came back, so somebody may have worked on it."""
    OVERLOAD = "overload"
    """Not now."""
    FAULT = "fault"
    """The target failed, or sent what is no answer."""
    POLICY = "policy"
    """This credential or customer may not. To go elsewhere would be a way around it."""
    REQUEST = "request"
    """Refused for what it is, and so would be its repetition."""
    COMMITTED = "committed"
    """Too late: content was handed over before."""


class Rule(Value):
    """What may follow a failure.

    Attributes:
        same: The same target may be asked again, after a wait.
        next: Another target may be asked.
        breaker: Counts against the target's health.
        cost: Tokens that an attempt which follows takes from the retry bucket.
        billed: The provider may have worked and billed: an attempt which follows may be a duplicate.
    """

    def __init__(self, same: bool, next: bool, breaker: bool, cost: float, billed: bool) -> None:  # noqa: A002 -- as above
        self.same = same
        self.next = next
        self.breaker = breaker
        self.cost = cost
        self.billed = billed


#: The table, before adjustment.
RULES: Mapping[Meaning, Rule] = MappingProxyType({
    Meaning.NOT_SENT: Rule(same=False, next=True, breaker=True, cost=10.0, billed=False),
    Meaning.TRUST: Rule(same=False, next=False, breaker=False, cost=0.0, billed=False),
    Meaning.LOCAL: Rule(same=False, next=False, breaker=False, cost=0.0, billed=False),
    Meaning.AMBIGUOUS: Rule(same=False, next=True, breaker=True, cost=10.0, billed=True),
    Meaning.OVERLOAD: Rule(same=True, next=True, breaker=True, cost=10.0, billed=False),
    Meaning.FAULT: Rule(same=True, next=True, breaker=True, cost=10.0, billed=True),
    Meaning.POLICY: Rule(same=False, next=False, breaker=False, cost=0.0, billed=False),
    Meaning.REQUEST: Rule(same=False, next=False, breaker=False, cost=10.0, billed=False),
    Meaning.COMMITTED: Rule(same=False, next=False, breaker=True, cost=0.0, billed=True),
})  # fmt: skip


class Fault(Enum):
    """What an HTTP library raised instead of an answer, in neutral words."""

    CONNECT = "connect"
    """No connection (name, refused, timeout, handshake), or not one byte of the request written."""
    CERTIFICATE = "certificate"
    """The certificate was not accepted."""
    POOL = "pool"
    """The client's own pool had no connection free in time."""
    UNSENDABLE = "unsendable"
    """The library would not write the request: a header or URL that HTTP does not allow."""
    PROXY = "proxy"
    """The proxy in between refused or failed."""
    WRITE = "write"
    """Broken off or timed out while the request was written."""
    READ = "read"
    """Broken off after the request was written, before the answer was whole."""
    READ_TIMEOUT = "read_timeout"
    """The answer, or its first content, did not come in time."""
    LATE = "late"
    """The time was over while our own side did nothing for a while: the answer may have come, unread."""
    STALE = "stale"
    """A connection kept from an earlier call was closed before one byte of the answer came."""
    PROTOCOL = "protocol"
    """What came is not HTTP, or is beyond the library's limits for it."""
    DECODING = "decoding"
    """The content encoding of the body is broken."""
    LIMIT = "limit"
    """The answer is larger than our own limits allow."""
    REDIRECT = "redirect"
    """A redirect to another origin, or one that would change the method."""


class Verdict(Value):
    """The row found for one outcome.

    Attributes:
        meaning: The row's name.
        rule: The row, adjusted to this outcome.
        reason: Short and safe for logs and records: a fault's word, or the status and a known code word, such as
            ``429 insufficient_quota``. Never other text from a body.
        wait: Seconds that the server asked to wait, at most the cap; ``None`` if it asked for none or for more.
        status: The HTTP status, or the one that an error inside a 200 stands for; ``None`` if no answer came.
        own: The asked endpoint itself failed or refused. False: a gateway passes on what a provider behind it did.
        named: The list of fallbacks that may take this call, if the user has set it, although ``rule.next`` is
            false.
        once: ``rule.same`` holds for one repeat only.
        bad_credential: The endpoint did not accept the credential that it got, and will not for a while.
        too_long_wait: The server asked for a longer wait than the cap: go to another target, or return at once.
    """

    def __init__(
        self,
        meaning: Meaning,
        rule: Rule,
        reason: str,
        wait: float | None = None,
        status: int | None = None,
        own: bool = True,
        named: Named | None = None,
        once: bool = False,
        bad_credential: bool = False,
        too_long_wait: bool = False,
    ) -> None:
        self.meaning = meaning
        self.rule = rule
        self.reason = reason
        self.wait = wait
        self.status = status
        self.own = own
        self.named = named
        self.once = once
        self.bad_credential = bad_credential
        self.too_long_wait = too_long_wait


def _row(meaning: Meaning, **adjusted: Any) -> _Row:
    return meaning, RULES[meaning].replace(**adjusted)


# -- exceptions

_FAULTS = {
    Fault.CONNECT: _row(Meaning.NOT_SENT),
    Fault.CERTIFICATE: _row(Meaning.TRUST),
    Fault.POOL: _row(Meaning.LOCAL),
    Fault.UNSENDABLE: _row(Meaning.LOCAL),
    Fault.PROXY: _row(Meaning.LOCAL),  # the way to another target leads through it too
    Fault.WRITE: _row(Meaning.AMBIGUOUS),
    Fault.READ: _row(Meaning.AMBIGUOUS),
    Fault.READ_TIMEOUT: _row(Meaning.AMBIGUOUS),
    Fault.LATE: _row(Meaning.AMBIGUOUS, breaker=False),
    # Healthy servers close idle connections all the time. A sick one fails the fresh connection too, and that counts.
    Fault.STALE: _row(Meaning.AMBIGUOUS, same=True, breaker=False, cost=0.0),
    Fault.PROTOCOL: _row(Meaning.FAULT, same=False),
    Fault.DECODING: _row(Meaning.FAULT),
    Fault.LIMIT: _row(Meaning.LOCAL),
    Fault.REDIRECT: _row(Meaning.TRUST),
}


def judge_fault(fault: Fault) -> Verdict:
    """What it means that *fault* came instead of an answer.

    A stale connection may be repeated once, free of charge, on a fresh one. The server may have read the request
    before it closed (RFC 9112, 9.3.1), so even that repeat counts as a possible duplicate.
    """
    meaning, rule = _FAULTS[fault]
    return Verdict(meaning, rule, fault.value, once=rule.same)


def judge_committed(verdict: Verdict) -> Verdict:
    """*verdict*, found after content was handed over: it counts against the target if it did so before."""
    rule = RULES[Meaning.COMMITTED].replace(breaker=verdict.rule.breaker)
    return verdict.replace(meaning=Meaning.COMMITTED, rule=rule, named=None, once=False)


# -- statuses and words

_POLICY, _REQUEST, _FAULT = _row(Meaning.POLICY), _row(Meaning.REQUEST), _row(Meaning.FAULT)

_STATUSES = {
    **dict.fromkeys((401, 402, 403), _POLICY),
    408: _row(Meaning.AMBIGUOUS, same=True),
    **dict.fromkeys((409, 425), _row(Meaning.REQUEST, same=True)),
    424: _row(Meaning.FAULT, same=False),
    429: _row(Meaning.OVERLOAD, breaker=False, cost=5.0),
    **dict.fromkeys((501, 505, 511), _REQUEST),  # not now, not ever, and not before somebody logs in
    **dict.fromkeys((503, *range(520, 527), 529), _row(Meaning.OVERLOAD)),  # 52x: Cloudflare, 529: Anthropic
    504: _row(Meaning.AMBIGUOUS),
}

#: A repeat is as large.
_TOO_LARGE = frozenset({413, 431})

_BY_STATUS = {
    400: """invalid_request_error invalid_request invalid_prompt invalid_parameter string_too_long refusal
        max_tokens_exceeded token_limit_exceeded context_length_exceeded data_residency_mismatch bio_policy
        misalignment_policy_violation content_filter content_policy_violation image_content_policy_violation
        empty_image_file failed_to_download_image image_download_failed image_file_not_found image_file_too_large
        image_not_found image_parse_error image_too_large image_too_small invalid_base64_image invalid_image
        invalid_image_format invalid_image_mode invalid_image_url unsupported_image_format
        unsupported_image_media_type INVALID_ARGUMENT FAILED_PRECONDITION""",
    401: "authentication_error authentication invalid_api_key UNAUTHENTICATED",
    402: "payment_required billing_error",
    403: "permission_error permission_denied unsupported_country_region_territory PERMISSION_DENIED",
    404: "not_found_error not_found model_not_found DeploymentNotFound NOT_FOUND",
    408: "timeout",
    412: "precondition_failed",
    413: "payload_too_large request_too_large",
    422: "unprocessable",
    429: """rate_limit_exceeded rate_limit_error slow_down insufficient_quota credit_balance_exhausted
        billing_hard_limit_reached organization_usage_limit_exceeded spend_limit_exceeded budget_exceeded
        RESOURCE_EXHAUSTED""",
    500: "server_error api_error internal_server_error server unmapped INTERNAL",
    502: "provider_unavailable",
    503: "service_unavailable_error server_is_overloaded provider_overloaded UNAVAILABLE",
    504: "timeout_error vector_store_timeout DEADLINE_EXCEEDED",
    529: "overloaded_error",
}

#: Every known word, and the status that it stands for inside a 200.
_WORDS = {word: status for status, words in _BY_STATUS.items() for word in words.split()}

_SPENT = "spend_limit_exceeded"  # OpenAI says whose before it: organization_, project_

#: Whatever their status: somebody has to pay or to raise a limit, and no wait changes that.
_LIMITS = frozenset({
    "billing_hard_limit_reached",
    "budget_exceeded",
    "credit_balance_exhausted",
    "insufficient_quota",
    "organization_usage_limit_exceeded",
    _SPENT,
})  # fmt: skip

_NAMED: Mapping[str | None, Named] = {
    "context_length_exceeded": "context",
    "content_filter": "content",
    "content_policy_violation": "content",
    "image_content_policy_violation": "content",
    "model_not_found": "model",
    "DeploymentNotFound": "model",
}


def _word_in(error: Object) -> str | None:
    """The known word that says most: a limit before what has a named list, and that before any other."""
    kind = as_object(error.get("metadata")).get("error_type")
    said = map(_known, (error.get("code"), error.get("status"), error.get("type"), kind))
    return min(filter(None, said), key=lambda word: (word not in _LIMITS, word not in _NAMED), default=None)


def _known(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    if value.endswith("_" + _SPENT):
        return _SPENT
    return value if value in _WORDS else None


def _row_of(status: int, word: str | None) -> _Row:
    if word in _LIMITS:
        return _POLICY
    if status == 403 and _NAMED.get(word) == "content":
        return _REQUEST  # OpenRouter's moderation refuses what is said, not who says it
    unknown = _FAULT if 500 <= status <= 599 else _REQUEST  # as a 500 or a 400 (RFC 9110, 15)
    return _STATUSES.get(status, unknown)


# -- error answers


def judge_answer(
    status: int, header: Header, body: bytes, *, gateway: bool, wait_cap: float = WAIT_CAP
) -> Verdict:
    """What an answer means that is no success.

    Args:
        status: Any number. A 1xx or 3xx that nobody made use of, and what HTTP does not know, goes to the
            caller as a 400 does.
        header: Looks up a header by its lower-case name.
        body: What was read of it; anything but a JSON object leaves the answer judged by its status.
        gateway: Whether the endpoint is a gateway, whose errors may be those of a provider behind it.
        wait_cap: In seconds.

    A gateway's 429 counts as a provider's only if its body clearly is one: ``{"error": {...}}``, for OpenRouter
    with ``metadata.provider_name``. Any other is the gateway's own limit: OVERLOAD if it gives a wait within the
    cap, so that the gateway may be asked again, else POLICY. A gateway's 408 or 5xx counts as its own only
    without an error object and without ``x-respan-log-id``, for each shows that it had taken the request. To
    take one for the other by mistake costs an attempt elsewhere, and never lets a call past a limit.

    ``x-should-retry: false`` forbids the same target and the next, though not a named list: another model is
    another request. ``true`` allows one repeat of what was refused, unless it is too large.
    """
    said = parse_object(body[:LOOKED_AT])
    error = as_object(said.get("error"))
    is_up = bool(error) or header(_LOG_ID) is not None
    own = not gateway or _is_own(status, {} if "detail" in said else error, is_up=is_up)
    # Without that object the words may lie at the top (openai/_client.py, _make_status_error).
    asked = retry_after(header, said)
    return _verdict(status, error or said, header, asked, wait_cap, own=own, gateway=gateway)


def judge_error(error: Object, header: Header, *, gateway: bool, wait_cap: float = WAIT_CAP) -> Verdict:
    """What an error object means that came in a 200 answer or a stream.

    It stands for the status that ``code`` or ``status`` names, a number from 400 to 599 or the text of one, else
    for that of a known ``code``, ``status`` or ``type``, else for 502. Then as for :func:`judge_answer`, except
    that a gateway which has answered 200 is never down.
    """
    status = _status_in(error)
    own = not gateway or _is_own(status, error, is_up=True)
    return _verdict(status, error, header, retry_after(header, error), wait_cap, own=own, gateway=gateway)


def _verdict(
    status: int,
    error: Object,
    header: Header,
    asked: float | None,
    wait_cap: float,
    *,
    own: bool,
    gateway: bool,
) -> Verdict:
    word = _word_in(error)
    wait = None if asked is None or asked > wait_cap else asked
    is_own_limit = gateway and own and status == 429
    meaning, rule = _POLICY if is_own_limit and wait is None else _row_of(status, word)
    rule = _as_told(header("x-should-retry"), status, meaning, rule)
    too_long = asked is not None and wait is None
    return Verdict(
        meaning,
        rule.replace(same=False) if too_long else rule,
        str(status) if word is None else f"{status} {word}",
        wait,
        status,
        own,
        _NAMED.get(word) if meaning is Meaning.REQUEST else None,
        once=rule.same and not too_long and meaning is not Meaning.OVERLOAD,
        bad_credential=own and meaning is Meaning.POLICY and status in {401, 403} and not _is_other(word),
        too_long_wait=too_long,
    )


def _as_told(hint: str | None, status: int, meaning: Meaning, rule: Rule) -> Rule:
    if hint == "false":
        return rule.replace(same=False, next=False)
    refused = meaning is Meaning.REQUEST and 400 <= status <= 499 and status not in _TOO_LARGE
    return rule.replace(same=True) if hint == "true" and refused else rule


def _is_other(word: str | None) -> bool:
    """Whether *word* tells that something else than the credential is refused."""
    return word in _LIMITS or word in _NAMED


def _is_own(status: int, error: Object, *, is_up: bool) -> bool:
    if status == 424:  # Respan's word for "a provider failed"
        return False
    return not is_up if status == 408 or status >= 500 else not _is_providers(error)


def _is_providers(error: Object) -> bool:
    metadata = as_object(error.get("metadata"))
    if metadata:
        name = metadata.get("provider_name")
        return isinstance(name, str) and name != ""
    # A number for a code is OpenRouter's own, unless Google's word for it stands beside.
    numbered = isinstance(error.get("code"), int) and not isinstance(error.get("status"), str)
    return isinstance(error.get("message"), str) and not numbered


def _status_in(error: Object) -> int:
    numbers = (_number_in(error.get("code")), _number_in(error.get("status")))
    return numbers[0] or numbers[1] or _WORDS.get(_word_in(error) or "", 502)


def _number_in(value: object) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else None


# -- how long to wait


def retry_after(header: Header, error_body: object = None) -> float | None:
    """Seconds that the server asked to wait, however many; ``None`` if it did not, or makes no sense.

    In this order: the headers ``retry-after-ms`` and ``retry-after`` (a number, or a date: RFC 9110, 10.2.3), then
    a number ``retry_after`` in the parsed JSON *error_body*, where Respan puts it. A date counts from the answer's
    own ``date``, for the server's clock and ours may differ. What is negative, infinite or no number, or a date
    without the other, is as if it were absent.
    """
    after = header("retry-after")
    asked = (
        _seconds(header("retry-after-ms"), 0.001),
        _seconds(after),
        _until(after, header),
        _number(as_object(error_body).get("retry_after")),
    )
    return next((seconds for seconds in asked if seconds is not None), None)


def _number(value: object) -> float | None:
    return _seconds(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _seconds(value: Any, unit: float = 1.0) -> float | None:
    try:
        seconds = float(value) * unit
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _until(after: str | None, header: Header) -> float | None:
    then, now = _time(after), _time(header("date"))
    return None if then is None or now is None else _seconds(then - now)


def _time(value: str | None) -> float | None:
    if not value or len(value) > 64:
        return None
    from datetime import UTC
    from email.utils import parsedate_to_datetime  # loads sockets, for what few answers have

    try:
        time = parsedate_to_datetime(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


# -- complete answers


class Read(Value):
    """What a complete body holds, read once.

    Attributes:
        verdict: ``None`` if it is an answer.
        usage: The answer's ``usage`` object, if it has one.
        model: The model that the answer names.
        flags: What makes an answer that is delivered doubtful: see :func:`flags_of`.
        found: All of an answer that is JSON, for whoever wants it parsed; nothing else here is part of it.
    """

    def __init__(
        self,
        verdict: Verdict | None,
        usage: Object | None = None,
        model: str | None = None,
        flags: tuple[str, ...] = (),
        found: Object | None = None,
    ) -> None:
        self.verdict = verdict
        self.usage = usage
        self.model = model
        self.flags = flags
        self.found = found


def _no_header(_name: str) -> str | None:
    return None


def judge_body(
    path: str,
    content_type: str | None,
    status: int,
    body: bytes,
    *,
    gateway: bool,
    header: Header = _no_header,
    wait_cap: float = WAIT_CAP,
) -> Read:
    """Whether the complete body of a 2xx answer, not a stream, is what *path* answers with.

    JSON is told by its content. What Python's parser reads is delivered, NaN and lone surrogates too, and so are
    ``choices`` without a message or without text. Speech may be any bytes and a transcription any text, if it is
    neither an error object nor HTML by its type; a transcription may be empty if its type is text. A path that is
    not known is not looked at.

    Args:
        path: Below the base, as in :class:`~respan_openai._core.call.Call`.
        content_type: The answer's; looked at for audio only.
        status: 204 has no body, whatever came.
        body: The whole of it, decoded.
        gateway: As for :func:`judge_answer`.
        header: Looks up the answer's headers; without it no log id tells that a gateway was up, and an error in
            the body has no wait.
        wait_cap: In seconds.
    """
    look = _LOOKS.get(path)
    if look is None:
        return Read(None)
    found = look(content_type, b"" if status == 204 else body)
    if isinstance(found, str):
        return _no_answer(found, status, own=not gateway or header(_LOG_ID) is None)
    if found.get("error"):
        error = as_object(found["error"])
        return Read(judge_error(error, header, gateway=gateway, wait_cap=wait_cap))
    if path == "/chat/completions" and not isinstance(found.get("choices"), list):
        return _no_answer("no choices", status, own=not gateway or header(_LOG_ID) is None)
    model, usage = found.get("model"), found.get("usage")
    return Read(
        None,
        _copied(usage) if usage and isinstance(usage, DICT) else None,
        model if isinstance(model, str) else None,
        flags_of(path, found),
        found if look is _json else None,
    )


def _copied(value: Any) -> Any:
    if isinstance(value, DICT):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, LIST) else value


#: How an answer ends that is whole; other words are shown only if they are known.
_GOOD_ENDS = frozenset({"stop", "tool_calls", "function_call"})
_KNOWN_ENDS = frozenset({"length", "content_filter", "error"})


def flags_of(path: str, found: Object) -> tuple[str, ...]:
    """What makes the answer *found* doubtful, although it is one; empty for most.

    ``length``, ``content_filter``, ``error`` or ``unfinished`` for how it ended, ``no content`` for neither text nor
    tool call nor refusal, ``broken arguments`` for those of a tool call that are no JSON.
    """
    if path == "/responses":
        return () if found.get("status", "completed") == "completed" else ("unfinished",)
    if path != "/chat/completions":
        return ()
    choices: Any = found.get("choices")
    flags: dict[str, None] = {}
    for choice in choices if isinstance(choices, LIST) else ():
        if not _is_plain(choice):
            flags |= dict.fromkeys(_doubts(as_object(choice)))
    return tuple(flags)


def _is_plain(choice: Any) -> bool:
    """Whether *choice* is a text that came to its end, as most are: there is no doubt about it then."""
    if not isinstance(choice, DICT) or choice.get("finish_reason") != "stop":
        return False
    message = choice.get("message")
    return isinstance(message, DICT) and bool(message.get("content")) and not message.get("tool_calls")


def end_flag(reason: object) -> str | None:
    """The flag for a choice that ended with *reason*; ``None`` for a good end."""
    if not isinstance(reason, str):
        return "unfinished"
    return None if reason in _GOOD_ENDS else reason if reason in _KNOWN_ENDS else "unfinished"


def _doubts(choice: Object) -> Iterator[str]:
    ended = end_flag(choice.get("finish_reason"))
    if ended is not None:
        yield ended
    message = as_object(choice.get("message"))
    calls = as_list(message.get("tool_calls"))
    if calls:
        if not all(map(_has_arguments, calls)):
            yield "broken arguments"
    elif not any(message.get(name) for name in ("content", "refusal", "function_call", "audio")):
        yield "no content"


def _has_arguments(call: object) -> bool:
    function = as_object(as_object(call).get("function"))
    arguments = function.get("arguments")
    if not isinstance(arguments, str) or arguments.strip() in {"", "{}"}:
        return True
    return bool(parse_object(arguments.encode(errors="replace")))


def _no_answer(reason: str, status: int, *, own: bool) -> Read:
    return Read(Verdict(*_FAULT, reason, status=status, own=own, once=True))


def _json(_content_type: str | None, body: bytes) -> Object | str:
    """The object in *body*, or why there is none."""
    if not body or body.isspace():
        return "empty"
    try:
        found = parsed(body)
    except RecursionError:
        return "nested too deep"
    except (json.JSONDecodeError, UnicodeDecodeError):
        return "not JSON"
    except ValueError:  # more digits than Python converts
        return "unreadable number"
    return found if isinstance(found, DICT) else "not an object"


def _speech(content_type: str | None, body: bytes) -> Object | str:
    if _is(content_type, "text/html"):
        return "HTML"
    return parse_object(body[:LOOKED_AT]) if body else "empty"


def _transcription(content_type: str | None, body: bytes) -> Object | str:
    if _is(content_type, "text/html"):
        return "HTML"
    if not body or body.isspace():
        return {} if _is(content_type, "text/") else "empty"
    return parse_object(body)


def _is(content_type: str | None, kind: str) -> bool:
    return content_type is not None and content_type.strip().lower().startswith(kind)


_LOOKS: Mapping[str, Callable[[str | None, bytes], Object | str]] = {
    "/chat/completions": _json,
    "/responses": _json,
    "/embeddings": _json,
    "/audio/speech": _speech,
    "/audio/transcriptions": _transcription,
}
