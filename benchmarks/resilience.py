"""How a wrapped client fares while its targets fail: attempts, successes, recovery, and what hedging does for p99.

Servers on the loopback fail as they are told. Time passes as the calls say (ten calls a second) without being
waited for, by ``no_waiting()``, except for hedging, which is about real time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import socketserver
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openai import APIError, AsyncOpenAI, OpenAI

from respan_openai import Gateway, Hedge, Provider, last_call, wrap
from respan_openai._clock import now, sleep
from respan_openai.testing import no_waiting


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


CALLS = 1000
CALLS_A_SECOND = 10

OUTAGE_TARGET = 1.1
ERRORS_TARGET = 1.35
RECOVERY_TARGET_SECONDS = 36.0  # the longest time that a breaker stays open, its jitter included

HEDGED_CALLS = 1200
HEDGED_AT_ONCE = 8
USUAL_SECONDS, SLOW_SECONDS, SLOW_SHARE = 0.01, 0.5, 0.02

_MESSAGES = [{"role": "user", "content": "Hello"}]
_BODY = json.dumps({
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
}).encode()  # fmt: skip


@dataclass
class Target:
    """A server that answers with the status that *behave* returns, and counts."""

    behave: Callable[[], int]
    origin: str = ""
    seen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self) -> bytes:
        """One answer, as bytes on the wire."""
        with self.lock:
            self.seen += 1
        status = self.behave()
        body = _BODY if status == 200 else b""
        return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            status,
            len(body),
            body,
        )


@contextmanager
def serving(behave: Callable[[], int]) -> Iterator[Target]:
    """A target on the loopback for as long as the block runs."""
    target = Target(behave)

    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            while self.rfile.readline():
                length = 0
                while (line := self.rfile.readline()) not in {b"\r\n", b""}:
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                self.rfile.read(length)
                self.wfile.write(target.answer())

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        target.origin = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield target
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Row:
    """One line of the result; *met* is ``None`` for information only."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None


def run() -> None:
    """Measure everything and print it."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    logging.disable(logging.INFO)
    print(f"{'case':58} {'measured':>22}  {'target':>12}")
    for row in _rows():
        verdict = "" if row.met is None else "met" if row.met else "MISSED"
        print(f"{row.name:58} {row.value:>22}  {row.target:>12}  {verdict}", flush=True)


def _rows() -> Iterator[Row]:
    with no_waiting():
        yield _outage(0)
        yield _outage(100)
        yield from _errors()
        yield from _recovery()
    yield from _hedging()


def _client(gateway: Target, *fallbacks: Target) -> OpenAI:
    others = [Provider(f"p{n}", target.origin, "key-of-p") for n, target in enumerate(fallbacks, 2)]
    return wrap(
        OpenAI(api_key="unused", max_retries=0), gateway=Gateway("key", gateway.origin), fallbacks=others
    )


def _call(client: OpenAI) -> bool:
    sleep(1 / CALLS_A_SECOND)
    try:
        client.chat.completions.create(model="m", messages=_MESSAGES)
    except APIError:
        return False
    return True


def _outage(warm_up: int) -> Row:
    with serving(lambda: 503) as gateway, _client(gateway) as client:
        for _ in range(warm_up):
            _call(client)
        before = gateway.seen
        for _ in range(CALLS):
            _call(client)
        attempts = (gateway.seen - before) / CALLS
    since = f" after {warm_up} calls" if warm_up else " from the first call on"
    name = f"full outage: attempts per call{since}"
    return Row(name, f"{attempts:.3f}", f"<= {OUTAGE_TARGET}", attempts <= OUTAGE_TARGET)


def _errors() -> Iterator[Row]:
    chance = random.Random(7)
    with serving(lambda: 500 if chance.random() < 0.3 else 200) as gateway, serving(lambda: 200) as other:
        with _client(gateway, other) as client:
            good = sum(_call(client) for _ in range(CALLS))
        attempts = (gateway.seen + other.seen) / CALLS
    yield Row("30 % errors, healthy fallback: success", f"{good / CALLS:.1%}", "100 %", good == CALLS)
    yield Row(
        "30 % errors, healthy fallback: attempts per call",
        f"{attempts:.3f}",
        f"<= {ERRORS_TARGET}",
        attempts <= ERRORS_TARGET,
    )
    with serving(lambda: 500 if chance.random() < 0.3 else 200) as gateway, _client(gateway) as client:
        good = sum(_call(client) for _ in range(CALLS))
        attempts = gateway.seen / CALLS
    yield Row("30 % errors, nobody else: success", f"{good / CALLS:.1%}", ">= 84 %", good >= 0.84 * CALLS)
    yield Row("30 % errors, nobody else: attempts per call", f"{attempts:.3f}", "<= 1.3", attempts <= 1.3)


def _recovery() -> Iterator[Row]:
    is_down = True
    with (
        serving(lambda: 503 if is_down else 200) as gateway,
        serving(lambda: 200) as other,
        _client(gateway, other) as client,
    ):
        good = sum(_call(client) for _ in range(CALLS))
        asked = gateway.seen
        is_down, back_at = False, now()
        while _call(client) and (record := last_call()) and record.target != "respan":
            pass
        recovered = now() - back_at
    yield Row("100 s outage, healthy fallback: success", f"{good / CALLS:.1%}", "100 %", good == CALLS)
    yield Row("100 s outage: requests that the dead gateway saw", f"{asked} of {CALLS}")
    yield Row(
        "after it: seconds until the gateway answers again",
        f"{recovered:.1f} s",
        f"<= {RECOVERY_TARGET_SECONDS:.0f} s",
        recovered <= RECOVERY_TARGET_SECONDS,
    )


def _hedging() -> Iterator[Row]:
    plain, _ = asyncio.run(_latencies(None))
    hedged, extra = asyncio.run(_latencies(Hedge(floor=0.05)))
    yield Row("2 % slow calls: p50, p99 without hedging", _quantiles(plain))
    yield Row("2 % slow calls: p50, p99 with Hedge(floor=0.05)", _quantiles(hedged))
    most = 0.05 + 5 / HEDGED_CALLS
    yield Row("requests that hedging added", f"{extra:.1%}", f"<= {most:.1%}", extra <= most)


def _quantiles(latencies: list[float]) -> str:
    latencies = sorted(latencies)
    return f"{latencies[len(latencies) // 2] * 1000:.0f} ms, {latencies[int(len(latencies) * 0.99)] * 1000:.0f} ms"


async def _latencies(hedge: Hedge | None) -> tuple[list[float], float]:
    chance = random.Random(7)

    def slow_at_times() -> int:
        time.sleep(SLOW_SECONDS if chance.random() < SLOW_SHARE else USUAL_SECONDS)
        return 200

    latencies: list[float] = []
    with serving(slow_at_times) as gateway:
        client = wrap(
            AsyncOpenAI(api_key="unused", max_retries=0),
            gateway=Gateway("key", gateway.origin),
            hedge=hedge,
        )

        async def some() -> None:
            for _ in range(HEDGED_CALLS // HEDGED_AT_ONCE):
                began = time.perf_counter()
                await client.chat.completions.create(model="m", messages=_MESSAGES)
                latencies.append(time.perf_counter() - began)

        async with client:
            await asyncio.gather(*(some() for _ in range(HEDGED_AT_ONCE)))
        return latencies, gateway.seen / len(latencies) - 1
