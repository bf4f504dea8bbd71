"""An outage, live: the gateway dies, calls go on directly, the gateway comes back.

Two servers on this machine stand for the gateway and the provider. The gateway is shut down for two seconds, and
every call is answered all the same: the first few find the gateway gone and are taken to the provider at once, then
the breaker is open and nobody asks the gateway any more but a probe now and then. Needs the extra ``cli`` (rich).
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from openai import OpenAI
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from respan_openai import DIRECT, Breaker, Gateway, health, last_call, wrap


if TYPE_CHECKING:
    from collections.abc import Iterator


SECONDS = 6.0
DIES_AT, BACK_AT = 1.5, 3.5
EVERY = 0.1

COLOURS = {"respan": "green", "direct": "yellow", None: "red"}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "gpt-4o-mini",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Still here."}}
    ],
}


class Handler(BaseHTTPRequestHandler):
    """Answers every call alike."""

    def do_POST(self) -> None:
        """One call."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Quietly."""


@contextmanager
def serving(port: int = 0) -> Iterator[int]:
    """A server on this machine for as long as the block runs; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Timeline:
    """One block for each call, in the colour of whoever answered, above the seconds."""

    def __init__(self) -> None:
        self.answered: list[str | None] = []

    def __rich__(self) -> Group:
        """Drawn again after each call."""
        calls = Text()
        for name in self.answered:
            calls.append("█", COLOURS[name])
        scale = Text("".join(f"{second:<10}" for second in range(int(SECONDS))), "dim")
        state = ", ".join(f"{target.name}: {target.state}" for target in health())
        legend = Text.assemble(
            ("█ gateway  ", "green"), ("█ direct  ", "yellow"), ("█ nobody  ", "red"), state
        )
        return Group(calls, scale, legend)


def main() -> None:
    """Call ten times a second, and take the gateway away in the middle."""
    timeline = Timeline()
    with serving() as provider, ExitStack() as gateway:
        port = gateway.enter_context(serving())
        client = wrap(
            OpenAI(api_key="the provider's", base_url=f"http://127.0.0.1:{provider}/v1"),
            gateway=Gateway("the-gateways", f"http://127.0.0.1:{port}"),
            fallbacks=[DIRECT],
            breaker=Breaker(open_for=0.5, open_cap=1.0),
        )
        changes = [(DIES_AT, gateway.close), (BACK_AT, lambda: gateway.enter_context(serving(port)))]
        began = time.monotonic()
        with client, Live(timeline, auto_refresh=False, console=Console(width=80)) as live:
            while (at := time.monotonic() - began) < SECONDS:
                if changes and at >= changes[0][0]:
                    changes.pop(0)[1]()
                timeline.answered.append(who_answers(client))
                live.update(timeline, refresh=True)
                time.sleep(max(0.0, EVERY - (time.monotonic() - began - at)))
    answered = timeline.answered
    print(f"\n{len(answered)} calls, {len(answered) - answered.count(None)} answered:", end=" ")
    print(f"{answered.count('respan')} by the gateway, {answered.count('direct')} directly")


def who_answers(client: OpenAI) -> str | None:
    """The name of the target that answers one call."""
    client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Are you there?"}]
    )
    record = last_call()
    return record and record.target


if __name__ == "__main__":
    main()
