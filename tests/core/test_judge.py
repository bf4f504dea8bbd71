"""The table of failures, and that every outcome finds its row: no I/O, only values."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respan_openai._core import judge
from respan_openai._core.judge import (
    LOOKED_AT,
    RULES,
    WAIT_CAP,
    Fault,
    Meaning,
    Read,
    Rule,
    judge_answer,
    judge_body,
    judge_committed,
    judge_error,
    judge_fault,
    retry_after,
)


GATEWAY, PROVIDER = True, False
EITHER = pytest.mark.parametrize("gateway", [GATEWAY, PROVIDER], ids=["gateway", "provider"])

#: Nothing but a name that stands for its bytes; what it says must not be seen anywhere.
PROSE = "Invalid api key sk-canary"

RESPAN_LIMIT = {"detail": "Rate limit exceeded", "retry_after": 60}
OPENAI_LIMIT = {"error": {"message": PROSE, "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
OPENROUTER_LIMIT = {"error": {"code": 429, "message": PROSE, "metadata": {"headers": {}}}}
OPENROUTER_RELAYED = {"error": {"code": 429, "message": PROSE, "metadata": {"provider_name": "Chutes"}}}

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def answer(status, said=b"", *, gateway=PROVIDER, **headers):
    """The verdict on an answer; header names with underscores."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return judge_answer(status, lookup(headers), body, gateway=gateway)


def body_of(path, said, *, content_type=None, status=200, gateway=PROVIDER, **headers):
    """What a complete answer reads as."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return judge_body(path, content_type, status, body, gateway=gateway, header=lookup(headers))


def lookup(headers):
    return {name.replace("_", "-"): value for name, value in headers.items()}.get


def error(code=None, kind=None, **more):
    return {"error": {"message": PROSE, "type": kind, "code": code, **more}}


def shown(value):
    """A name for a body, which may be long."""
    return repr(value[:40]) if isinstance(value, bytes) else None


def adjusted(meaning, **changes):
    return RULES[meaning].replace(**changes)


# -- the table


@pytest.mark.parametrize(
    ("meaning", "rule"),
    [
        (Meaning.NOT_SENT, (False, True, True, 10, False)),
        (Meaning.TRUST, (False, False, False, 0, False)),
        (Meaning.LOCAL, (False, False, False, 0, False)),
        (Meaning.AMBIGUOUS, (False, True, True, 10, True)),
        (Meaning.OVERLOAD, (True, True, True, 10, False)),
        (Meaning.FAULT, (True, True, True, 10, True)),
        (Meaning.POLICY, (False, False, False, 0, False)),
        (Meaning.REQUEST, (False, False, False, 10, False)),
        (Meaning.COMMITTED, (False, False, True, 0, True)),
    ],
)
def test_the_table(meaning, rule) -> None:
    """Row by row: same target, next target, breaker, cost, billed."""
    assert RULES[meaning] == Rule(*rule)


def test_the_table_is_whole_and_fixed() -> None:
    """Every meaning has its row, and nobody changes it for others."""
    assert set(RULES) == set(Meaning)
    with pytest.raises(TypeError):
        RULES[Meaning.TRUST] = RULES[Meaning.FAULT]


def test_meanings_are_words_for_records() -> None:
    """Lower case, no blanks, no two alike."""
    words = [meaning.value for meaning in Meaning]

    assert all(word.isidentifier() and word == word.lower() for word in words)
    assert words == [meaning.name.lower() for meaning in Meaning]


# -- exceptions


@pytest.mark.parametrize(
    ("fault", "meaning", "changes"),
    [
        (Fault.CONNECT, Meaning.NOT_SENT, {}),
        (Fault.CERTIFICATE, Meaning.TRUST, {}),
        (Fault.POOL, Meaning.LOCAL, {}),
        (Fault.UNSENDABLE, Meaning.LOCAL, {}),
        (Fault.PROXY, Meaning.LOCAL, {}),
        (Fault.WRITE, Meaning.AMBIGUOUS, {}),
        (Fault.READ, Meaning.AMBIGUOUS, {}),
        (Fault.READ_TIMEOUT, Meaning.AMBIGUOUS, {}),
        (Fault.STALE, Meaning.AMBIGUOUS, {"same": True, "breaker": False, "cost": 0}),
        (Fault.PROTOCOL, Meaning.FAULT, {"same": False}),
        (Fault.DECODING, Meaning.FAULT, {}),
        (Fault.LIMIT, Meaning.LOCAL, {}),
        (Fault.REDIRECT, Meaning.TRUST, {}),
    ],
)
def test_faults(fault, meaning, changes) -> None:
    """Each finds its row; there is no status, and the reason is the fault's word."""
    verdict = judge_fault(fault)

    assert (verdict.meaning, verdict.rule) == (meaning, adjusted(meaning, **changes))
    assert (verdict.reason, verdict.status, verdict.own) == (fault.value, None, True)
    assert verdict.once is verdict.rule.same
    assert (verdict.wait, verdict.named, verdict.bad_credential, verdict.too_long_wait) == (
        None,
        None,
        False,
        False,
    )


def test_every_fault_is_judged() -> None:
    """None is forgotten."""
    assert {judge_fault(fault).reason for fault in Fault} == {fault.value for fault in Fault}


@pytest.mark.parametrize("fault", [Fault.READ, Fault.STALE, Fault.LIMIT])
def test_after_content_nothing_is_repeated(fault) -> None:
    """The outcome keeps its reason, counts against the target as before, and leads to no further attempt."""
    before = judge_fault(fault)
    verdict = judge_committed(before)

    assert verdict.meaning is Meaning.COMMITTED
    assert verdict.rule == adjusted(Meaning.COMMITTED, breaker=before.rule.breaker)
    assert (verdict.reason, verdict.once, verdict.named) == (before.reason, False, None)


# -- statuses


@EITHER
@pytest.mark.parametrize(
    ("status", "meaning", "changes", "once"),
    [
        (400, Meaning.REQUEST, {}, False),  # S1
        (422, Meaning.REQUEST, {}, False),
        (401, Meaning.POLICY, {}, False),  # S4
        (403, Meaning.POLICY, {}, False),
        (402, Meaning.POLICY, {}, False),  # S5
        (404, Meaning.REQUEST, {}, False),  # S6
        (408, Meaning.AMBIGUOUS, {"same": True}, True),  # S7
        (409, Meaning.REQUEST, {"same": True}, True),
        (425, Meaning.REQUEST, {"same": True}, True),
        (413, Meaning.REQUEST, {}, False),  # S8
        (431, Meaning.REQUEST, {}, False),
        (424, Meaning.FAULT, {"same": False}, False),  # S9
        (500, Meaning.FAULT, {}, True),  # S14
        (502, Meaning.FAULT, {}, True),  # S15
        (503, Meaning.OVERLOAD, {}, False),
        (504, Meaning.AMBIGUOUS, {}, False),
        *[(status, Meaning.OVERLOAD, {}, False) for status in (520, 521, 522, 523, 524, 525, 526, 529)],
        (501, Meaning.REQUEST, {}, False),  # S18
        (505, Meaning.REQUEST, {}, False),
        (511, Meaning.REQUEST, {}, False),
        (999, Meaning.REQUEST, {}, False),
        (600, Meaning.REQUEST, {}, False),
        (0, Meaning.REQUEST, {}, False),
        (-1, Meaning.REQUEST, {}, False),
        (103, Meaning.REQUEST, {}, False),
        (304, Meaning.REQUEST, {}, False),
        (418, Meaning.REQUEST, {}, False),  # unknown: as 400 and as 500
        (507, Meaning.FAULT, {}, True),
        (527, Meaning.FAULT, {}, True),
        (599, Meaning.FAULT, {}, True),
    ],
)
def test_statuses(status, meaning, changes, once, gateway) -> None:
    """Without a body that says more, the status finds the row, from whomever it comes."""
    verdict = answer(status, gateway=gateway)

    assert (verdict.meaning, verdict.rule) == (meaning, adjusted(meaning, **changes))
    assert (verdict.once, verdict.status, verdict.reason) == (once, status, str(status))
    assert (verdict.wait, verdict.named, verdict.too_long_wait) == (None, None, False)


@pytest.mark.parametrize("said", [b"", OPENAI_LIMIT, error(), {"detail": PROSE}])
def test_a_rate_limit_of_a_provider(said) -> None:
    """S10: may be asked again, counts against no breaker, and costs half."""
    verdict = answer(429, said)

    assert (verdict.meaning, verdict.own, verdict.once) == (Meaning.OVERLOAD, True, False)
    assert verdict.rule == adjusted(Meaning.OVERLOAD, breaker=False, cost=5)


@EITHER
@pytest.mark.parametrize(
    "said",
    [
        b'"text"',
        b"[1, 2]",
        b'[{"error": {"code": 500}}]',
        b"<html><body>503</body></html>",
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[" * 200_000,
        b'{"a": ' + b"9" * 6000 + b"}",
        b'{"error": "unavailable"}',
        b'{"error": []}',
        b'{"error": {}}',
        b'{"error": {"code": {"a": 1}, "type": [2], "status": null, "metadata": []}}',
        b'{"error": {"code": "\\ud800", "type": ""}}',
        b"\xef\xbb\xbf{}",
    ],
    ids=shown,
)
def test_bodies_that_say_nothing(said, gateway) -> None:
    """S19: the status stands, whatever came with it."""
    for status, meaning in ((503, Meaning.OVERLOAD), (400, Meaning.REQUEST), (500, Meaning.FAULT)):
        verdict = answer(status, said, gateway=gateway)
        assert (verdict.meaning, verdict.reason) == (meaning, str(status))


def test_only_the_beginning_of_a_body_is_looked_at() -> None:
    """S19: what cannot be read within 64 KiB says nothing."""
    said = json.dumps(error("insufficient_quota")).encode()

    assert LOOKED_AT == 65536
    assert answer(429, said.ljust(LOOKED_AT)).meaning is Meaning.POLICY
    assert answer(429, b" " * LOOKED_AT + said).meaning is Meaning.OVERLOAD


@pytest.mark.parametrize("value", ["-1", "0", "6m0s", "12ms", "garbage", None])
def test_rate_limit_headers_decide_nothing(value) -> None:
    """S21: they are for metrics only."""
    names = ("x_ratelimit_remaining_requests", "x_ratelimit_reset_tokens", "ratelimit")
    headers = {} if value is None else dict.fromkeys(names, value)

    assert answer(429, OPENAI_LIMIT, **headers) == answer(429, OPENAI_LIMIT)


# -- words


@EITHER
@pytest.mark.parametrize(
    ("status", "said", "named", "reason"),
    [
        (400, error("context_length_exceeded", "invalid_request_error"), "context", "context_length_exceeded"),
        (413, error("context_length_exceeded"), "context", "context_length_exceeded"),
        (400, error("content_filter"), "content", "content_filter"),
        (400, error("content_policy_violation"), "content", "content_policy_violation"),
        (400, error(None, "content_filter"), "content", "content_filter"),
        (400, error(400, metadata={"error_type": "context_length_exceeded"}), "context", "context_length_exceeded"),
        (403, error(403, metadata={"error_type": "content_policy_violation"}), "content", "content_policy_violation"),
        (404, error("model_not_found", "invalid_request_error"), "model", "model_not_found"),
        (404, error("DeploymentNotFound"), "model", "DeploymentNotFound"),
        (404, {"code": "model_not_found", "message": PROSE}, "model", "model_not_found"),
        (400, error(None, "invalid_request_error"), None, "invalid_request_error"),
    ],
)  # fmt: skip
def test_named_lists(status, said, named, reason, gateway) -> None:
    """S2, S3, S6: the list that may take the call is told; other targets and repeats stay forbidden."""
    verdict = answer(status, said, gateway=gateway)

    assert (verdict.meaning, verdict.named) == (Meaning.REQUEST, named)
    assert verdict.rule == RULES[Meaning.REQUEST]
    assert verdict.reason == f"{status} {reason}"
    assert not verdict.bad_credential


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": "context_length_exceeded"}},
        {"error": "context_length_exceeded"},
        {"detail": "model_not_found"},
        error("context_length_exceeded "),
        error("Context_Length_Exceeded"),
        error("my_context_length_exceeded"),
        error("content_filtering"),
    ],
)
def test_prose_is_not_read(said) -> None:
    """Only a whole, exact code or type counts."""
    verdict = answer(400, said)

    assert (verdict.named, verdict.reason) == (None, "400")


@EITHER
@pytest.mark.parametrize("status", [400, 402, 403, 429, 500])
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (error("insufficient_quota"), "insufficient_quota"),
        (error(None, "insufficient_quota"), "insufficient_quota"),
        (error("credit_balance_exhausted", "insufficient_quota"), "credit_balance_exhausted"),
        (error("billing_hard_limit_reached", "invalid_request_error"), "billing_hard_limit_reached"),
        (error("organization_usage_limit_exceeded"), "organization_usage_limit_exceeded"),
        (error("organization_spend_limit_exceeded"), "spend_limit_exceeded"),
        (error("sk-canary_spend_limit_exceeded"), "spend_limit_exceeded"),
        (error("rate_limit_exceeded", "insufficient_quota"), "insufficient_quota"),
        (error(None, "budget_exceeded"), "budget_exceeded"),
        ({"code": "insufficient_quota"}, "insufficient_quota"),
    ],
)
def test_a_spent_quota_is_no_rate_limit(status, said, reason, gateway) -> None:
    """S12, S13: neither repeated nor taken elsewhere, even if it says when to come again."""
    verdict = answer(status, said, gateway=gateway, retry_after="1")

    assert (verdict.meaning, verdict.rule) == (Meaning.POLICY, RULES[Meaning.POLICY])
    assert (verdict.reason, verdict.bad_credential) == (f"{status} {reason}", False)


@pytest.mark.parametrize(
    ("status", "said", "bad"),
    [
        (401, {"detail": PROSE}, True),
        (403, b"", True),
        (401, error("invalid_api_key", "invalid_request_error"), True),
        (402, b"", False),
        (403, error("model_not_found"), False),
        (403, error("insufficient_quota"), False),
    ],
)
def test_bad_credentials(status, said, bad) -> None:
    """S4: marked when it is the credential that is refused, and never a reason to ask elsewhere."""
    verdict = answer(status, said)

    assert verdict.bad_credential is bad
    assert not verdict.rule.next
    assert verdict.named is None


def test_a_gateway_with_a_bad_credential_for_its_provider() -> None:
    """Its own credential, the one that was sent, is marked only if the gateway itself refused it."""
    relayed = answer(401, error("invalid_api_key"), gateway=GATEWAY)

    assert (relayed.meaning, relayed.own, relayed.bad_credential) == (Meaning.POLICY, False, False)
    assert answer(401, {"detail": PROSE}, gateway=GATEWAY).bad_credential


# -- whose error it is


@pytest.mark.parametrize(
    ("said", "own"),
    [
        (OPENAI_LIMIT, False),
        (OPENROUTER_RELAYED, False),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": PROSE}}, False),
        ({"error": {"code": 429, "message": PROSE, "status": "RESOURCE_EXHAUSTED"}}, False),
        (OPENROUTER_LIMIT, True),
        ({"error": {"code": 429, "message": PROSE}}, True),
        (error(429, metadata={"provider_name": None}), True),
        (error(429, metadata={"provider_name": ""}), True),
        (error(429, metadata={"provider_name": 5}), True),
        (error(429, metadata=[]), True),
        ({**OPENAI_LIMIT, "detail": PROSE}, True),
        (RESPAN_LIMIT, True),
        ({"detail": PROSE}, True),
        ({"error": PROSE}, True),
        ({"error": {}}, True),
        ({"error": {"code": "rate_limit_exceeded"}}, True),
        (b"<html>", True),
        (b"", True),
    ],
)
def test_whose_429_a_gateway_gives(said, own) -> None:
    """S13: what is not clearly a provider's is the gateway's own limit, and without a wait it is policy."""
    verdict = answer(429, said, gateway=GATEWAY, x_respan_log_id="l")

    assert verdict.own is own
    assert verdict.meaning is (Meaning.POLICY if own else Meaning.OVERLOAD)
    assert verdict.rule.next is not own


@pytest.mark.parametrize("said", [{"detail": PROSE}, {"detail": PROSE, "retry_after": 2}, OPENROUTER_LIMIT])
def test_a_gateways_own_limit_with_a_wait(said) -> None:
    """The same target may be asked again, after the wait; that the limit is the gateway's own is told."""
    verdict = answer(429, said, gateway=GATEWAY, retry_after="3")

    assert (verdict.meaning, verdict.own, verdict.wait) == (Meaning.OVERLOAD, True, 3.0)
    assert verdict.rule.same


def test_a_gateways_own_limit_with_a_long_wait() -> None:
    """S13: the documented answer, 60 seconds, ends the call."""
    verdict = answer(429, RESPAN_LIMIT, gateway=GATEWAY)

    assert (verdict.meaning, verdict.wait, verdict.too_long_wait) == (Meaning.POLICY, None, True)
    assert verdict.rule == RULES[Meaning.POLICY]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 521, 529])
@pytest.mark.parametrize(
    ("said", "headers", "own"),
    [
        (b"", {}, True),
        (b"<html>Bad gateway</html>", {}, True),
        ({"detail": PROSE}, {}, True),
        ({"error": PROSE}, {}, True),
        (b"", {"x_respan_log_id": "l"}, False),
        ({"detail": PROSE}, {"x_respan_log_id": ""}, False),
        (error("server_error"), {}, False),
        ({"error": {"code": 503, "message": PROSE}}, {}, False),
        ({"error": {"x": 1}, "detail": PROSE}, {}, False),
    ],
)
def test_whether_a_gateway_is_down(status, said, headers, own) -> None:
    """S15: only if nothing shows that it had taken the request."""
    assert answer(status, said, gateway=GATEWAY, **headers).own is own


def test_what_respan_calls_a_failed_provider() -> None:
    """S9: 424 is never the gateway's own failure."""
    assert not answer(424, {"detail": PROSE}, gateway=GATEWAY).own
    assert answer(424, {"detail": PROSE}, gateway=PROVIDER).own


def test_a_provider_always_speaks_for_itself() -> None:
    """Whatever its answers look like."""
    for said in (OPENAI_LIMIT, OPENROUTER_RELAYED, {"detail": PROSE}):
        assert answer(429, said, x_respan_log_id="l").own
        assert answer(503, said, x_respan_log_id="l").own


# -- waiting


@pytest.mark.parametrize(
    ("headers", "said", "seconds"),
    [
        ({"retry_after": "7"}, None, 7.0),
        ({"retry_after": " 0.5 "}, None, 0.5),
        ({"retry_after": "0"}, None, 0.0),
        ({"retry_after": "3600"}, None, 3600.0),
        ({"retry_after_ms": "250"}, None, 0.25),
        ({"retry_after_ms": "250", "retry_after": "7"}, {"retry_after": 9}, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "7"}, None, 7.0),
        ({"retry_after": "7"}, {"retry_after": 9}, 7.0),
        ({"retry_after": "nan"}, {"retry_after": 9}, 9.0),
        ({}, {"retry_after": 2.5}, 2.5),
        ({}, {"retry_after": 0}, 0.0),
        ({}, {"retry_after": True}, None),
        ({}, {"retry_after": False}, None),
        ({}, {"retry_after": "5"}, None),
        ({}, {"retry_after": None}, None),
        ({}, {"retry_after": -1}, None),
        ({}, {"retry_after": 10**400}, None),
        ({}, {"retry_after": float("inf")}, None),
        ({}, {"retry_after": float("nan")}, None),
        ({}, [{"retry_after": 5}], None),
        ({}, "retry_after", None),
        *[({"retry_after": value}, None, None) for value in ("inf", "-inf", "nan", "-5", "1e400", "soon", "")],
        ({"retry_after": "9" * 5000}, None, None),
        ({"retry_after": "7 seconds"}, None, None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_how_long_to_wait(headers, said, seconds) -> None:
    """S10, S11: the first that makes sense, in seconds; the rest is as if it were absent."""
    assert retry_after(lookup(headers), said) == seconds


@pytest.mark.parametrize(
    ("after", "date", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:42 GMT", DATE, 5.0),
        (DATE, DATE, 0.0),
        ("Sun, 06 Nov 1994 09:49:37 +0100", DATE, 0.0),
        ("Sun, 06 Nov 1994 08:49:39 -0000", DATE, 2.0),
        ("Sunday, 06-Nov-94 08:49:40 GMT", DATE, 3.0),
        ("Sun Nov  6 08:49:38 1994", DATE, 1.0),
        ("Mon, 07 Nov 1994 08:49:37 GMT", DATE, 86400.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", DATE, None),
        ("Sun, 06 Nov 1994 08:49:42 GMT", None, None),
        ("Sun, 06 Nov 1994 08:49:42 GMT", "yesterday", None),
        ("Sun, 99 Nov 1994 08:49:42 GMT", DATE, None),
        ("Sun, 06 Nov 1994 08:49:42 +99999999", DATE, None),
        ("Sun, 06 Nov 99999999999999999999 08:49:42 GMT", DATE, None),
        ("Sun, 06 Nov 1994 08:49:42 GMT" + " " * 64, DATE, None),
    ],
)
def test_a_date_to_wait_for(after, date, seconds) -> None:
    """D3: it counts from the answer's own date, so that neither our clock nor our time zone matters."""
    headers = {"retry-after": after} if date is None else {"retry-after": after, "date": date}

    assert retry_after(headers.get) == seconds


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503, 529])
def test_waits_within_the_cap(status) -> None:
    """S10: honoured up to the cap, and the cap itself."""
    for seconds in ("0", "2", str(WAIT_CAP)):
        verdict = answer(status, retry_after=seconds)
        assert (verdict.wait, verdict.too_long_wait) == (float(seconds), False)
        assert verdict.rule.same


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503, 529])
@pytest.mark.parametrize("seconds", ["10.001", "3600", "1e300"])
def test_waits_beyond_the_cap(status, seconds) -> None:
    """S11: the same target is not asked again; whether another may be is left as it was."""
    verdict = answer(status, retry_after=seconds)

    assert (verdict.wait, verdict.too_long_wait, verdict.once) == (None, True, False)
    assert verdict.rule == answer(status).rule.replace(same=False)


@pytest.mark.parametrize("seconds", ["inf", "1e400", "-5", "soon", "nan", DATE])
def test_waits_that_make_no_sense(seconds) -> None:
    """S11: as if nothing had been said."""
    assert answer(429, retry_after=seconds) == answer(429)
    assert answer(429, RESPAN_LIMIT, retry_after=seconds) == answer(429, RESPAN_LIMIT)


def test_the_cap_is_the_callers() -> None:
    """It may be shorter or longer than the default."""
    for cap, wait in ((1.0, None), (5.0, 5.0), (100.0, 5.0)):
        verdict = judge_answer(503, {"retry-after": "5"}.get, b"", gateway=False, wait_cap=cap)
        assert (verdict.wait, verdict.too_long_wait) == (wait, wait is None)


# -- x-should-retry


@EITHER
@pytest.mark.parametrize("status", [400, 401, 408, 409, 424, 429, 500, 502, 503, 504, 520, 529])
def test_a_server_that_forbids_repetition(status, gateway) -> None:
    """S16: no attempt follows, here or elsewhere; the rest of the row stays."""
    verdict = answer(status, gateway=gateway, x_should_retry="false")
    plain = answer(status, gateway=gateway)

    assert verdict.meaning is plain.meaning
    assert verdict.rule == plain.rule.replace(same=False, next=False)
    assert not verdict.once


def test_a_forbidden_repetition_leaves_named_lists() -> None:
    """Another model is another request."""
    assert answer(400, error("context_length_exceeded"), x_should_retry="false").named == "context"


@pytest.mark.parametrize(("status", "allowed"), [(304, False), (399, False), (400, True), (404, True), (499, True), (422, True), (413, False), (431, False),
                                                 (401, False), (402, False), (403, False), (501, False), (999, False)])  # fmt: skip
def test_a_server_that_asks_for_repetition(status, allowed) -> None:
    """S17, S8: one repeat of what was refused, unless it is policy or too large; never another target."""
    verdict = answer(status, x_should_retry="true")

    assert (verdict.rule.same, verdict.once, verdict.rule.next) == (allowed, allowed, False)


@pytest.mark.parametrize("hint", ["", "yes", "1", "maybe", "TRUE?"])
def test_hints_that_make_no_sense(hint) -> None:
    """As if absent."""
    assert answer(400, x_should_retry=hint) == answer(400)
    assert answer(503, x_should_retry=hint) == answer(503)


# -- errors inside a 200


@EITHER
@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"code": 400}, 400),
        ({"code": 599}, 599),
        ({"code": "503"}, 503),
        ({"code": "upstream_error", "status": 504}, 504),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, 429),
        ({"status": "UNAVAILABLE"}, 503),
        ({"code": "rate_limit_exceeded", "type": "server_error"}, 429),
        ({"code": "server_error", "message": PROSE}, 500),
        ({"type": "overloaded_error"}, 529),
        ({"type": "error", "code": "model_not_found"}, 404),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, 400),
        ({"code": "bio_policy"}, 400),
        ({"code": "invalid_image_url"}, 400),
        ({"code": "vector_store_timeout"}, 504),
        ({"code": "project_spend_limit_exceeded"}, 429),
        ({"code": None, "type": "authentication_error"}, 401),
        ({"type": "billing_error"}, 402),
        ({"status": "PERMISSION_DENIED"}, 403),
        ({"metadata": {"error_type": "timeout"}}, 408),
        ({"metadata": {"error_type": "precondition_failed"}}, 412),
        ({"type": "request_too_large"}, 413),
        ({"metadata": {"error_type": "unprocessable"}}, 422),
        ({"code": "provider_unavailable", "type": "overloaded_error"}, 502),
        ({"metadata": {"error_type": "provider_overloaded"}}, 503),
        ({"code": 399}, 502),
        ({"code": 600}, 502),
        ({"code": 200}, 502),
        ({"code": True}, 502),
        ({"code": 429.0}, 502),
        ({"code": "0x1"}, 502),
        ({"code": "\uff14\uff12\uff19"}, 502),
        ({"code": "boom", "type": "bang", "message": PROSE}, 502),
        ({"message": PROSE}, 502),
        ({}, 502),
    ],
)
def test_the_status_of_an_error_inside_a_200(said, status, gateway) -> None:
    """B5, E7: by its number, else by a known word, else it is no answer."""
    assert judge_error(said, lookup({}), gateway=gateway).status == status


@pytest.mark.parametrize("status", [400, 401, 402, 404, 408, 409, 424, 429, 500, 502, 503, 504, 529])
def test_an_error_inside_a_200_is_judged_as_its_status(status) -> None:
    """B5, E7: from a provider there is no difference."""
    said = {"code": status, "message": PROSE}

    assert judge_error(said, lookup({"retry_after": "2"}), gateway=False) == answer(
        status, {"error": said}, retry_after="2"
    )


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 529])
def test_a_gateway_that_answered_200_is_not_down(status) -> None:
    """So nobody goes around it."""
    assert not judge_error({"code": status}, lookup({}), gateway=True).own
    assert not judge_error({}, lookup({}), gateway=True).own


def test_a_limit_inside_a_200() -> None:
    """E7: the gateway's own is policy, a provider's is a rate limit with the wait that it gives."""
    own = judge_error(OPENROUTER_LIMIT["error"], lookup({}), gateway=True)
    relayed = judge_error({**OPENROUTER_RELAYED["error"], "retry_after": 4}, lookup({}), gateway=True)

    assert (own.meaning, own.own) == (Meaning.POLICY, True)
    assert (relayed.meaning, relayed.own, relayed.wait) == (Meaning.OVERLOAD, False, 4.0)


# -- complete answers

CHAT = {"id": "1", "model": "m-1", "choices": [{"message": {"content": "Hi"}}], "usage": {"total_tokens": 3}}
JSON_PATHS = ["/chat/completions", "/responses", "/embeddings"]


@EITHER
@pytest.mark.parametrize("path", JSON_PATHS)
def test_an_answer(path, gateway) -> None:
    """No verdict, and what it holds of usage and model."""
    read = body_of(path, CHAT, gateway=gateway)

    assert read.replace(flags=()) == Read(None, {"total_tokens": 3}, "m-1", found=CHAT)


@pytest.mark.parametrize(
    "said",
    [
        {"choices": []},
        {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "", "refusal": "No."}}], "usage": None, "model": None},
        {"choices": [{}], "usage": [], "model": 5, "error": None},
        {"choices": [{}], "error": {}},
        b'{"choices": [{}], "n": NaN, "text": "\\ud800"}',
        b'\xef\xbb\xbf{"choices": [{}]}',
        b'\n\n{"choices": [{}]}',
    ],
)
def test_answers_that_are_delivered(said) -> None:
    """B6, B8: unusual, but what the SDK reads is the SDK's to read."""
    assert body_of("/chat/completions", said).replace(flags=(), found=None) == Read(None)


def _choice(finish_reason: object = "stop", **message: object) -> dict[str, object]:
    return {"message": message, "finish_reason": finish_reason}


def _calls(*arguments: object) -> list[object]:
    return [{"function": {"name": "f", "arguments": each}} for each in arguments]


@pytest.mark.parametrize(
    ("choices", "flags"),
    [
        ([_choice(content="Hi")], ()),
        ([_choice(refusal="No.")], ()),
        ([_choice("tool_calls", tool_calls=_calls('{"a": 1}', "{}", ""))], ()),
        ([_choice("length", content="Hi")], ("length",)),
        ([_choice("content_filter", content="")], ("content_filter", "no content")),
        ([_choice("sk-secret", content="Hi")], ("unfinished",)),
        ([_choice(None, content="Hi")], ("unfinished",)),
        ([_choice(["stop"], content="Hi")], ("unfinished",)),
        ([_choice(content=None)], ("no content",)),
        ([_choice("tool_calls", tool_calls=_calls('{"a": '))], ("broken arguments",)),
        ([_choice("tool_calls", tool_calls=_calls(7))], ()),
        ([_choice("length", content="Hi"), _choice("length", content="")], ("length", "no content")),
        ([7], ("unfinished", "no content")),
        ([], ()),
    ],
)
def test_what_is_flagged(choices, flags) -> None:
    """B6, B7, B12: delivered as it is, and the record says what is odd about it, in known words only."""
    assert body_of("/chat/completions", {"choices": choices}).flags == flags


def test_a_response_that_is_not_completed_is_flagged() -> None:
    """Responses say so themselves."""
    assert body_of("/responses", {"status": "incomplete"}).flags == ("unfinished",)
    assert body_of("/responses", {"status": "completed"}).flags == ()
    assert body_of("/embeddings", {"status": "incomplete"}).flags == ()


@pytest.mark.parametrize("path", JSON_PATHS)
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "empty"),  # B3
        (b" \r\n\t", "empty"),
        (b"<!doctype html><html></html>", "not JSON"),  # B4
        (b"Hi", "not JSON"),
        (b'{"choices": [', "not JSON"),
        (b'{"choices": "\xff"}', "not JSON"),
        (b"[" * 200_000, "nested too deep"),  # B8
        (b'{"choices": [' + b"9" * 6000 + b"]}", "unreadable number"),
        (b"[1, 2]", "not an object"),
        (b'"x"', "not an object"),
        (b"null", "not an object"),
        (b"0", "not an object"),
    ],
    ids=shown,
)
def test_answers_that_are_none(path, said, reason) -> None:
    """B3, B4, B8: a fault with a fixed reason, whatever the type says; one repeat or another target."""
    for kind in (None, "application/json", "text/html; charset=\x00hostile"):
        read = body_of(path, said, content_type=kind)
        verdict = read.verdict

        assert (verdict.meaning, verdict.rule, verdict.reason) == (
            Meaning.FAULT,
            RULES[Meaning.FAULT],
            reason,
        )
        assert (verdict.status, verdict.once, verdict.own) == (200, True, True)
        assert (read.usage, read.model) == (None, None)


@pytest.mark.parametrize("path", [*JSON_PATHS, "/audio/speech", "/audio/transcriptions"])
def test_no_content(path) -> None:
    """B3: 204 is no answer to a question."""
    verdict = body_of(path, CHAT, status=204).verdict

    assert (verdict.meaning, verdict.reason, verdict.status) == (Meaning.FAULT, "empty", 204)


@pytest.mark.parametrize(
    "said", [{}, {"choices": None}, {"choices": {}}, {"choices": "x", "usage": {"a": 1}}]
)
def test_an_answer_without_choices(said) -> None:
    """B6: a fault on chat completions; other paths have none."""
    assert body_of("/chat/completions", said).verdict.reason == "no choices"
    assert body_of("/responses", said).verdict is None
    assert body_of("/embeddings", said).verdict is None


@pytest.mark.parametrize("path", [*JSON_PATHS, "/audio/speech", "/audio/transcriptions"])
@pytest.mark.parametrize(
    ("said", "meaning", "status"),
    [
        (error(429), Meaning.OVERLOAD, 429),
        (error("context_length_exceeded"), Meaning.REQUEST, 400),
        (error("server_error"), Meaning.FAULT, 500),
        ({"error": PROSE}, Meaning.FAULT, 502),
        ({"error": [1]}, Meaning.FAULT, 502),
        ({"error": True, "choices": [{}]}, Meaning.FAULT, 502),
    ],
)
def test_an_error_in_the_body_of_a_200(path, said, meaning, status) -> None:
    """B5, E11: judged as the status that it stands for."""
    verdict = body_of(path, said, content_type="text/plain").verdict

    assert (verdict.meaning, verdict.status) == (meaning, status)


def test_an_error_in_a_body_has_the_answers_headers() -> None:
    """The wait and the cap are those of any other error."""
    said = json.dumps(error(503)).encode()
    header = {"retry-after": "3"}.get

    for cap, wait in ((WAIT_CAP, 3.0), (2.0, None)):
        read = judge_body("/responses", None, 200, said, gateway=False, header=header, wait_cap=cap)
        assert read.verdict.wait == wait


def test_a_body_without_its_headers() -> None:
    """An error has no wait then, and an invalid answer counts as the gateway's own."""
    said = json.dumps(error(503)).encode()

    assert judge_body("/responses", None, 200, said, gateway=True).verdict.wait is None
    assert judge_body("/responses", None, 200, b"", gateway=True).verdict.own


@pytest.mark.parametrize("said", [b"", {"choices": None}])
def test_whose_fault_an_invalid_answer_is(said) -> None:
    """The gateway's own, unless its log id tells that it took the call; always the provider's."""
    assert body_of("/chat/completions", said, gateway=GATEWAY).verdict.own
    assert not body_of("/chat/completions", said, gateway=GATEWAY, x_respan_log_id="l").verdict.own
    assert body_of("/chat/completions", said, gateway=PROVIDER, x_respan_log_id="l").verdict.own


@pytest.mark.parametrize(
    ("path", "content_type", "said", "reason"),
    [
        ("/audio/speech", "audio/mpeg", b"\xff\xfb\x90\x00" * 9, None),
        ("/audio/speech", None, b" ", None),
        ("/audio/speech", "application/json", b"{not JSON", None),
        ("/audio/speech", "audio/mpeg", b"[" * 200_000, None),
        ("/audio/speech", "audio/mpeg", b"", "empty"),
        ("/audio/speech", "text/html; charset=utf-8", b"<html>", "HTML"),
        ("/audio/transcriptions", "text/plain", b"Hello.", None),
        ("/audio/transcriptions", "text/plain; charset=utf-8", b"", None),
        ("/audio/transcriptions", " Text/VTT", b"\n", None),
        ("/audio/transcriptions", None, b"Hello.", None),
        ("/audio/transcriptions", "application/json", b"[" * 200_000, None),
        ("/audio/transcriptions", "application/json", b"", "empty"),
        ("/audio/transcriptions", None, b"\n", "empty"),
        ("/audio/transcriptions", "TEXT/HTML", b"<html>", "HTML"),
        ("/audio/transcriptions", "text/html", b"", "HTML"),
    ],
    ids=shown,
)
def test_audio(path, content_type, said, reason) -> None:
    """B3, B4: any bytes of speech and any text of a transcription, but not nothing and no web page."""
    verdict = body_of(path, said, content_type=content_type).verdict

    assert (None if verdict is None else verdict.reason) == reason


def test_the_usage_of_a_transcription() -> None:
    """Read where the answer is JSON."""
    read = body_of("/audio/transcriptions", {"text": "Hi", "usage": {"seconds": 3}})

    assert read == Read(None, {"seconds": 3})


@pytest.mark.parametrize("path", ["/files", "/models", "", "/chat/completions/", "chat/completions"])
def test_paths_that_are_not_known(path) -> None:
    """Whatever they answer is theirs."""
    for said in (b"", b"<html>", error(500)):
        assert body_of(path, said, status=204) == Read(None)


def test_the_name_of_another_model() -> None:
    """B13: delivered; who answered is told."""
    assert body_of("/chat/completions", {**CHAT, "model": "other"}).model == "other"


# -- whatever comes


TEXTS = st.text(max_size=24)
NUMBERS = st.one_of(st.integers(), st.floats()).map(str)
HEADER_NAMES = ["retry-after", "retry-after-ms", "date", "x-should-retry", "x-respan-log-id"]
HEADER_VALUES = st.one_of(TEXTS, NUMBERS, st.sampled_from(["true", "false", DATE, "soon", "1e400"]))
HEADERS = st.dictionaries(st.sampled_from(HEADER_NAMES), HEADER_VALUES)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.sampled_from(sorted(judge._WORDS))
)
KEYS = st.sampled_from(
    [
        "error",
        "detail",
        "code",
        "type",
        "status",
        "message",
        "metadata",
        "provider_name",
        "error_type",
        "retry_after",
        "choices",
        "usage",
        "model",
    ]
)
OBJECTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner)),
        max_leaves=8,
    ),
)
BODIES = st.one_of(st.binary(max_size=64), OBJECTS.map(lambda said: json.dumps(said).encode()))
STATUSES = st.one_of(st.integers(), st.integers(0, 999), st.sampled_from([401, 403, 404, 408, 424, 429, 503]))

NAMED = {"context", "content", "model", None}


def check(verdict) -> None:
    """What holds for every verdict."""
    assert verdict.rule.cost in {0, 5, 10}
    assert verdict.wait is None or 0 <= verdict.wait <= WAIT_CAP
    assert not (verdict.too_long_wait and (verdict.rule.same or verdict.wait is not None))
    assert not (verdict.once and not verdict.rule.same)
    assert verdict.named in NAMED
    assert verdict.named is None or verdict.meaning is Meaning.REQUEST
    if verdict.meaning in {Meaning.POLICY, Meaning.TRUST, Meaning.LOCAL}:
        assert (verdict.rule.same, verdict.rule.next) == (False, False)
    if verdict.meaning is Meaning.REQUEST:
        assert not verdict.rule.next
    first, *rest = verdict.reason.split(" ", 1)
    assert first == str(verdict.status)
    assert not rest or rest[0] in judge._WORDS


@given(STATUSES, HEADERS, BODIES, st.booleans())
@example(429, {"retry-after": "0" * 5000}, b"", True)
@example(429, {"retry-after": "Sun, 06 Nov 1994 08:49:37 -9999999999", "date": DATE}, b"", False)
def test_any_answer_is_judged(status, headers, body, gateway) -> None:
    """No status, header or body raises, and every verdict is in order."""
    check(judge_answer(status, headers.get, body, gateway=gateway))


@given(OBJECTS, HEADERS, st.booleans())
def test_any_error_inside_a_200_is_judged(said, headers, gateway) -> None:
    """As above; and it always stands for a status that means an error."""
    verdict = judge_error(said, headers.get, gateway=gateway)

    check(verdict)
    assert 400 <= verdict.status <= 599


@given(st.sampled_from(sorted(judge._LOOKS)), st.one_of(st.none(), TEXTS), HEADERS, BODIES, st.booleans())
def test_any_body_is_read(path, content_type, headers, body, gateway) -> None:
    """Nothing raises; what is no answer is judged, and only an answer has usage."""
    read = judge_body(path, content_type, 200, body, gateway=gateway, header=headers.get)

    assert read.verdict is None or (read.usage, read.model) == (None, None)
    if read.verdict is not None and read.verdict.status != 200:
        check(read.verdict)


@given(st.one_of(TEXTS, NUMBERS), st.one_of(TEXTS, st.just(DATE)), st.one_of(SCALARS, OBJECTS))
def test_any_wait_is_finite(after, date, said) -> None:
    """Seconds from zero up, or nothing."""
    seconds = retry_after({"retry-after": after, "retry-after-ms": date, "date": date}.get, said)

    assert seconds is None or 0 <= seconds < float("inf")


@given(STATUSES, st.text(st.characters(categories=["Lu"]), min_size=9, max_size=9))
def test_reasons_hold_no_text_of_a_body(status, secret) -> None:
    """S20: neither a message nor an unknown code."""
    said = {
        "error": {
            "message": secret,
            "code": secret,
            "type": secret + "_spend_limit_exceeded",
            "param": secret,
        }
    }

    assert secret not in repr(answer(status, said))
    assert secret not in repr(answer(status, {"detail": secret, **said}, gateway=GATEWAY))


def test_words_and_lists_agree() -> None:
    """What has a named list or means a limit is a known word, so it can be told; the names are the field's."""
    assert judge._LIMITS | judge._NAMED.keys() <= judge._WORDS.keys()
    assert set(judge._NAMED.values()) == NAMED - {None}
