"""The whole gateway in the process, point by point: what the hosted one documents, offline and without an account.

A loopback server plays two providers, ``fast`` and ``cheap``; ``broken`` is one that always fails. Each heading is
one thing that the gateway does; the lines below it are what came of it.
"""

from __future__ import annotations

import json
import queue
import signal
import tempfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import openai
from openai import OpenAI

from respan_openai import (
    Azure,
    Echo,
    LocalGateway,
    Model,
    Provider,
    Settings,
    SQLiteStore,
    StoredPrompt,
    last_call,
    wrap,
)
from respan_openai.local.serving import serve


ASK = [{"role": "user", "content": "What is a gateway?"}]

PROMPT = StoredPrompt.from_json({
    "id": "greeting",
    "deployed": 1,
    "versions": {
        "1": {"messages": [{"role": "system", "content": "Speak to {{name}} in {{language}}."}]},
        "2": {"messages": [{"role": "system", "content": "A draft for {{name}}."}]},
    },
})  # fmt: skip


class Upstream(BaseHTTPRequestHandler):
    """An OpenAI-compatible provider; the path says which."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self) -> None:
        """Answer with the name of the provider, or fail."""
        Upstream.asked += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = self.path.split("/")[1]
        if name == "broken":
            self._answer(500, {"error": {"message": "out of order", "type": "server_error", "code": None}})
            return
        message = {"role": "assistant", "content": f"{name} says: {body['messages'][-1]['content']}"}
        self._answer(
            200,
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
            },
        )

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def head(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}")


def main() -> None:
    """Build a gateway, and call it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as folder:
        local = LocalGateway(
            [
                Provider("fast", f"{url}/fast/v1", "fast-key"),
                Provider("cheap", f"{url}/cheap/v1", "cheap-key"),
                Provider("broken", f"{url}/broken/v1", "broken-key"),
                Azure(f"{url}/azure", "azure-key", "2024-10-21"),
                Echo(),
            ],
            prompts=[PROMPT],
            prices={"fast/m": (2.0, 8.0), "cheap/m": (0.5, 1.5), "echo/m": (0.0, 0.0)},
            store=SQLiteStore(Path(folder) / "gateway.db"),
            settings=Settings(
                models=[Model(name="fast/m", vision=True), Model(name="cheap/m", tools=False)],
                groups={"both": [{"model": "fast/m", "weight": 3}, {"model": "cheap/m", "weight": 1}]},
            ),
        )
        with wrap(OpenAI(api_key="unused"), gateway=local) as client:
            walk(client, local)
        if find_spec("uvicorn"):
            on_a_socket(local)
        else:
            head("12 and 13 need a server: pip install 'respan-openai[server]'")

        local.store.close()
    server.shutdown()
    server.server_close()


def walk(client: OpenAI, local: LocalGateway) -> None:
    """One call, or a few, for each point."""
    create = client.chat.completions.create

    head("1  Requests: parameters are checked, wherever they stand")
    try:
        create(model="fast/m", messages=ASK, extra_body={"respan_params": {"cache_ttl": -1}})
    except openai.OpenAIError as exc:
        print("  ", exc)
    print("  ", client.embeddings.create(model="echo/e", input="a word").data[0].embedding[:2])

    head("2  Model choice: the router takes the cheapest model that can do it")
    for needs in ({}, {"tools": [TOOL]}):
        answer = create(messages=ASK, models=["fast/m", "cheap/m"], **needs)
        print("  ", answer.choices[0].message.content, "|", newest(local)["why"])
    create(messages=ASK, load_balance_group={"group_id": "both"})
    print("  ", newest(local)["why"])

    head("3  Credentials: a call brings its own")
    create(model="fast/m", messages=ASK, credential_override={"fast": {"api_key": "another-key"}})
    print("   credentials in the log:", "another-key" in json.dumps(newest(local)))

    head("4  Fallback: another model answers when one fails")
    answer = create(model="broken/m", messages=ASK, fallback_models=["cheap/m"])
    print(
        "  ", answer.choices[0].message.content, "|", [each["status"] for each in newest(local)["attempts"]]
    )

    head("5  Cache: the second call costs nothing")
    for _ in range(2):
        before = Upstream.asked
        create(model="fast/m", messages=ASK, cache_enabled=True)
        print(
            "   provider asked:",
            Upstream.asked - before,
            "| cost:",
            newest(local)["cost"],
            "| hit:",
            last_call().cache_hit,
        )

    head("6  Prompts: stored, versioned, filled in")
    filled = {"prompt_id": "greeting", "variables": {"name": "Ada", "language": "French"}, "echo": True}
    answer = create(model="fast/m", messages=ASK, prompt=filled)
    print("  ", answer.prompt_message[0]["content"])

    head("7  Customers: a budget is kept before anything is sent")
    customer = {"customer_identifier": "ada", "total_budget": 0.05, "markup_percentage": 10}
    for _ in range(2):
        try:
            create(model="fast/m", messages=ASK, max_tokens=5000, customer_params=customer)
            print(f"   paid {newest(local)['customer_cost']:.4f} USD")
        except openai.RateLimitError as exc:
            print("  ", exc.status_code, exc.body["detail"])

    head("8  Metering: tokens, cost, and the summary in the answer")
    summary = create(model="cheap/m", messages=ASK, request_breakdown=True).request_breakdown
    print("  ", {name: summary[name] for name in ("prompt_tokens", "completion_tokens", "cost", "cached")})

    head("9  Log: a row for each call")
    create(model="echo/m", messages=ASK, metadata={"run": 7}, properties={"run": 7}, disable_log=True)
    row = newest(local)
    print("  ", row["model"], row["metadata"], row["properties"], "| input kept:", "input" in row)

    head("10 Stores: this one is a file that outlives the process")
    print("  ", len(local.store.entries()), "rows")

    head("11 Providers: Azure's deployments, and others")
    create(model="azure/gpt-4o", messages=ASK, model_name_map={"azure/gpt-4o": "azure/my-gpt4"})
    print("  ", newest(local)["attempts"][0]["model"])


def on_a_socket(local: LocalGateway) -> None:
    """The same gateway for other processes, until this one has seen enough."""
    head("12 respan-openai serve: the same on a socket")
    addresses: queue.Queue[str] = queue.Queue()
    stop = threading.Thread(target=look_and_leave, args=(addresses, local))
    stop.start()
    serve(local, port=0, announce=addresses.put)
    stop.join()


def look_and_leave(addresses: queue.Queue[str], local: LocalGateway) -> None:
    """Call the server, read its page, and stop it as Ctrl-C would."""
    base_url = next(word for word in addresses.get(timeout=20).split() if word.startswith("http"))
    try:
        answer = OpenAI(base_url=base_url, api_key="unused").chat.completions.create(
            model="echo/m", messages=ASK
        )
        print("  ", answer.choices[0].message.content)
        head("13 A page to look at: the log, live")
        origin = base_url.removesuffix("/").removesuffix("/api")
        with urllib.request.urlopen(origin) as page:  # noqa: S310 - ourselves
            print("  ", page.status, page.headers["content-type"], "| rows:", len(local.store.entries()))
    finally:
        signal.raise_signal(signal.SIGINT)


TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


def newest(local: LocalGateway) -> dict[str, object]:
    """The newest row of the log."""
    return local.store.entries(limit=1)[0]


if __name__ == "__main__":
    main()
