"""The call log in a real browser: headless Chromium, without a driver.

Needs Debian's package ``chromium`` (``apt-get install -y chromium``). Screenshots are put into the folder that
``RESPAN_ARTEFACTS`` names, else into the test's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import openai
import pytest
from local_support import COMPLETION, answer, listening, stream
from serve_support import PATIENCE, served

from respan_openai import Provider
from respan_openai.local import LocalGateway
from respan_openai.stores.memory import MemoryStore


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install -y chromium")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--window-size=1280,900",
)  # fmt: skip

HOSTILE = "</pre><script>document.title = 'owned'</script>"


class Browser:
    """Opens one page at a time, each in a profile of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._artefacts = Path(os.environ.get("RESPAN_ARTEFACTS", folder))
        self._opened = 0

    def _run(self, url: str, *flags: str) -> str:
        self._opened += 1
        profile = f"--user-data-dir={self._folder / f'profile-{self._opened}'}"
        result = subprocess.run(
            [str(CHROMIUM), *FLAGS, profile, "--virtual-time-budget=4000", *flags, url],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        assert ":CONSOLE" not in result.stderr, "the page broke its own policy, or its script failed"
        return result.stdout

    def seen(self, url: str) -> str:
        """The page as it stands after some seconds of the browser's time."""
        return self._run(url, "--dump-dom")

    def shot(self, url: str, name: str, *flags: str) -> bytes:
        """A picture of it, which is kept."""
        self._artefacts.mkdir(parents=True, exist_ok=True)
        path = self._artefacts / f"{name}.png"
        self._run(url, f"--screenshot={path}", *flags)
        return path.read_bytes()


@pytest.fixture
def browser(tmp_path):
    return Browser(tmp_path)


def rows_in(dom: str) -> list[str]:
    """The text of each row of a table."""
    body = re.search(r"<tbody>(.*?)</tbody>", dom, re.DOTALL)
    found = [] if body is None else re.findall(r"<tr.*?</tr>", body[1], re.DOTALL)
    return [re.sub(r"<[^>]+>", " ", row) for row in found]


@pytest.fixture
def base():
    """A gateway with three calls behind it: one that needed a second provider, one refused, one with a hostile prompt."""
    with listening() as bad, listening() as good:
        usage = {"prompt_tokens": 1200, "completion_tokens": 80, "total_tokens": 1280}
        good.respond = lambda wfile, _raw: answer(wfile, 200, {**COMPLETION, "usage": usage})
        bad.respond = lambda wfile, _raw: answer(wfile, 500, {"error": {"message": "down"}})
        gateway = LocalGateway(
            [Provider("good", good.base_url, "k" * 12), Provider("bad", bad.base_url, "k" * 12)],
            prices={"good/m": (2.5, 10)},
        )
        with (
            served(gateway) as base,
            openai.OpenAI(base_url=f"{base}/api", api_key="any", max_retries=0) as client,
        ):
            create = client.chat.completions.create
            messages = [{"role": "user", "content": HOSTILE}]
            create(
                model="bad/m",
                messages=messages,
                extra_body={"fallback_models": ["good/m"], "customer_identifier": "ada"},
            )
            with pytest.raises(openai.InternalServerError):
                create(model="bad/m", messages=messages, extra_body={"customer_identifier": HOSTILE})
            create(model="good/m", messages=messages, extra_body={"metadata": {"note": HOSTILE}})
            yield base


def test_the_table_and_a_filter(browser, base) -> None:
    """All calls, then those that a filter wants; what callers say is shown and never run."""
    everything = browser.seen(base)

    assert len(rows_in(everything)) == 3
    assert "owned" not in re.search(r"<title>(.*?)</title>", everything)[1]
    (refused,) = rows_in(browser.seen(f"{base}/?status=5xx"))
    assert "500" in refused
    assert "&lt;script&gt;" in refused
    assert all("$0.0038" in row for row in rows_in(everything) if "500" not in row)
    assert browser.shot(base, "calls").startswith(b"\x89PNG")


def test_the_waterfall(browser, base) -> None:
    """Two attempts, one after the other, as bars of some width; and the prompt as text."""
    (link,) = re.findall(r'href="(/calls/[^"]+)"', browser.seen(f"{base}/?customer_identifier=ada"))
    dom = browser.seen(base + link)
    bars = [(kind, float(left)) for left, kind in re.findall(r'<rect x="([\d.]+)%"[^>]*class="(\w+)"', dom)]

    assert [kind for kind, _ in bars if kind in {"bad", "good"}] == ["bad", "good"]
    assert bars == sorted(bars, key=lambda bar: bar[1])
    assert "owned" not in re.search(r"<title>(.*?)</title>", dom)[1]
    assert "document.title" in dom
    assert browser.shot(base + link, "call").startswith(b"\x89PNG")
    assert browser.shot(
        base + link, "call-narrow-dark", "--window-size=500,900", "--blink-settings=preferredColorScheme=0"
    ).startswith(b"\x89PNG")


def test_a_call_that_ends_while_somebody_looks(browser) -> None:
    """The page shows it running, and then its end, without having been loaded again."""
    gate, logged = threading.Event(), threading.Event()
    runs_at_first: list[bool] = []

    class Store(MemoryStore):
        blocks = True  # so that looking may wait for the call's end

        def entries(self, **asked: object):
            if runs_at_first:
                gate.set()
                assert logged.wait(PATIENCE)
            else:
                runs_at_first.append(bool(gateway.running))
            return super().entries(**asked)

        def log(self, row) -> None:
            super().log(row)
            logged.set()

    with listening() as upstream:
        upstream.respond = lambda wfile, _raw: stream(
            wfile, b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', gate
        )
        gateway = LocalGateway([Provider("slow", upstream.base_url, "k" * 12)], store=Store())
        with served(gateway) as base, openai.OpenAI(base_url=f"{base}/api", api_key="any") as client:
            chunks = client.chat.completions.create(model="m", messages=[], stream=True)
            next(chunks)
            (row,) = rows_in(browser.seen(base))
            chunks.close()

    assert runs_at_first == [True]
    assert "200" in row
    assert "running" not in row
