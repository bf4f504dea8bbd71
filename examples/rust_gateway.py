"""Respan's own gateway in Rust (PyPI: respan-gateway) as a provider: it speaks to Anthropic and Gemini.

A loopback server plays Anthropic. The call is in OpenAI's words on one side and in Anthropic's on the other; the
cache, the budgets and the log of the local gateway work as with any provider. Runs offline.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import respan_gateway
from openai import OpenAI

from respan_openai import LocalGateway, Via, wrap


class Anthropic(BaseHTTPRequestHandler):
    """Answers ``POST /v1/messages`` as Anthropic does."""

    def do_POST(self) -> None:
        """Print the question, and answer it."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        print("Anthropic was asked:", self.path, asked["model"], asked["messages"][0]["content"])
        answer = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": asked["model"],
            "content": [{"type": "text", "text": "Hello from Claude"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 4},
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """One call, and its row in the log."""
    server = HTTPServer(("127.0.0.1", 0), Anthropic)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base_url = f"http://127.0.0.1:{server.server_port}"
    config = {
        "providers": {"anthropic": {"vendor": "anthropic", "base_url": base_url, "key": "anthropic-key"}}
    }
    with respan_gateway.Gateway(config) as rust:
        local = LocalGateway(
            [Via("rust", rust.transport(), rust.async_transport(), base_url="http://respan-gateway/v1")],
            prices={"rust/claude-haiku-5-5": (1.0, 5.0)},
        )
        with wrap(OpenAI(api_key="unused"), gateway=local) as client:
            answer = client.chat.completions.create(
                model="rust/claude-haiku-5-5", messages=[{"role": "user", "content": "Hi"}], max_tokens=50
            )
        print("The caller got:", answer.choices[0].message.content)
        row = local.store.entries()[0]
        print(f"The log has: {row['provider']} {row['answer_model']} {row['cost']:.6f} USD")
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
