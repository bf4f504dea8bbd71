"""The examples and the README's snippets: each runs as it stands, offline, and prints what it promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

import respan_openai
from respan_openai._params import LEGACY, NAMES


ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = {path.name: path for path in sorted((ROOT / "examples").glob("*.py"))}

#: Runs the file in its first argument, without any network but this machine's own.
OFFLINE = """
import runpy, sys

def audit(event, args):
    if event == "socket.connect" and args[1][0] != "127.0.0.1":
        raise AssertionError(f"{event}{args[1:]}")
    if event == "socket.getaddrinfo" and args[0] != "127.0.0.1":
        raise AssertionError(f"{event}{args[:1]}")

if sys.argv[2]:
    sys.modules[sys.argv[2]] = None
sys.addaudithook(audit)
runpy.run_path(sys.argv[1], run_name="__main__")
"""

#: For each example: what it prints, in this order, among other things.
PRINTED = {
    "agents_sdk.py": [
        "  /chat/completions target=local model=gpt-4o-mini status=200\n",
        "echo: Hello from an agent\n",
        "  /responses target=local model=gpt-4o-mini status=200\n",
        "echo: And in pieces\n",
    ],
    "azure.py": [
        "sent   POST http://respan.invalid/api/chat/completions\n",
        "model: azure/my-gpt4\n",
        "x-respan-route-provider: azure\n",
        "Azure's key among the headers: False\n",
        "built  POST https://my-resource.openai.azure.com/openai/deployments/my-gpt4/chat/completions?api-version=",
        "answer echo: Hello from a deployment\n",
        "sent   POST http://respan.invalid/api/responses\n",
        "model: azure/my-gpt4\n",
        "built  POST https://my-resource.openai.azure.com/openai/responses?api-version=",
        "answer echo: And from Responses\n",
    ],
    "local_gateway.py": [
        "`respan_params.cache_ttl` must be more than 0; got -1.\n",
        "   cheap says: What is a gateway? | router: cheapest\n",
        "   fast says: What is a gateway? | only candidate\n",
        "   group both, weight ",
        "   credentials in the log: False\n",
        "   cheap says: What is a gateway? | [500, 200]\n",
        "   provider asked: 1 | cost: 0.006 | hit: False\n",
        "   provider asked: 0 | cost: 0.0 | hit: True\n",
        "   Speak to Ada in French.\n",
        "   paid 0.0066 USD\n",
        "   429 The customer's total budget of 0.05 USD is used up",
        "   {'prompt_tokens': 1000, 'completion_tokens': 500, 'cost': 0.00125, 'cached': False}\n",
        "   echo/m {'run': '7'} {'run': 7} | input kept: False\n",
        "   13 rows\n",
        "   my-gpt4\n",
        "   echo: What is a gateway?\n",
        "   200 text/html; charset=utf-8 | rows: 15\n",
    ],
    "openrouter.py": [
        "> POST https://openrouter.ai/api/v1/chat/completions\n",
        '"user": "user_123"',
        '"session_id": "chat_9"',
        '"models": [\n    "openai/gpt-4o"\n  ]',
        '"provider": {\n    "ignore": [\n      "azure"\n    ]\n  }',
        "< Hello!\n",
        "> POST https://openrouter.ai/api/v1/responses\n",
        '"session_id": "chat_9"',
        '"provider": {\n    "sort": "price"\n  }',
        "< Hello again!\n",
        "ParamsError: `cache_enabled`: OpenRouter has no counterpart",
    ],
    "outage.py": [
        "█",
        "█ gateway  █ direct  █ nobody",
        " by the gateway, ",
        " directly\n",
    ],
    "parameters.py": [
        "defaults= of wrap()\n",
        '  body   {}\n  header {"customer_identifier": "default"}\n',
        "keywords of the call\n",
        '  body   {"customer_identifier": "call", "fallback_models": ["gpt-4o"]}\n  header {}\n',
        "extra_body=body(...)",
        '  body   {"customer_identifier": "call"}\n  header {}\n',
        "a params(...) block",
        '  body   {}\n  header {"customer_identifier": "inner", "metadata": {"run": 7}}\n',
        '  body   {"customer_identifier": "call"}\n  header {"metadata": {"run": 7}}\n',
        "the decorator\n",
        '"customer_identifier": "default", "thread_identifier": "nightly", "disable_log": true}\n',
        "more than 4 KiB",
        "  body   respan_params with ['customer_identifier', 'metadata']\n  header False\n",
        "did you mean `fallback_models`?\n",
        "`cache_ttl` must be a number",
    ],
    "quickstart.py": [
        "1. A plain call\n",
        "> POST http://respan.invalid/api/chat/completions\n> authorization: Bearer ***\n",
        "< echo: Hello, gateway!\n",
        "= /chat/completions target=local model=gpt-4o-mini status=200 attempts=1 bytes=",
        "2. A streamed one",
        "< echo:  | one  | two  | three\n",
        "3. With parameters",
        '> x-data-respan-params: {"customer_identifier": "user_123", "metadata": {"run": 7}}\n',
        '"fallback_models":["gpt-4o"]}\n',
        "< echo: Who asks?\n",
        "4. Async",
        "> POST http://respan.invalid/api/responses\n",
        '"thread_identifier":"chat_9"}\n',
        "< echo: Hello from a task\n",
        "= /responses target=local model=gpt-4o-mini status=200 attempts=1",
    ],
    "rust_gateway.py": [
        "Anthropic was asked: /v1/messages claude-haiku-5-5 Hi\n",
        "The caller got: Hello from Claude\n",
        "The log has: rust claude-haiku-5-5 0.000025 USD\n",
    ],
    "web_handler.py": [f"I am {n} -> sent for user_{n} -> echo: I am {n}\n" for n in range(10)],
}

#: Examples of a framework that openai does not bring along.
NEEDS = {"agents_sdk.py": "agents", "rust_gateway.py": "respan_gateway", "web_handler.py": "starlette"}


def printed(path: Path, *, without: str = "") -> str:
    """What *path* prints, run in an interpreter of its own: no keys, no network, and warnings as errors.

    It lacks the package that *without* names.
    """
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE, str(path), without],
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


# --- examples --------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name) -> None:
    """It runs as it stands, warns of nothing, prints what it is about in this order, and no key."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])

    text = printed(EXAMPLES[name])

    at = 0
    for fragment in PRINTED[name]:
        found = text.find(fragment, at)
        assert found >= 0, f"{fragment!r} is missing in the rest of what was printed:\n{text[at:]}"
        at = found + len(fragment)
    assert "not used here" not in text
    assert "-key" not in re.sub(r"x-api-key|api-key", "", text)


def test_the_local_gateway_without_the_server() -> None:
    """The rest of the example runs, and it says what to install for more."""
    *_, azure, _, left_out = printed(EXAMPLES["local_gateway.py"], without="uvicorn").splitlines()

    assert azure == "   my-gpt4"
    assert left_out.startswith("12 and 13 ")
    assert left_out.endswith("pip install 'respan-openai[server]'")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_it_shows(name) -> None:
    """It has a docstring, and a line in the README."""
    assert ast.get_docstring(ast.parse(EXAMPLES[name].read_text(encoding="utf-8")))
    assert f"(examples/{name})" in README


# --- the README ------------------------------------------------------------


class Block(NamedTuple):
    """A Python snippet of the README; *output* is ``None`` if it is not marked as runnable."""

    line: int
    code: str
    output: str | None


_FENCED = re.compile(
    r"(?P<runs><!-- runs -->\n)?```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL
)


def blocks() -> list[Block]:
    return [
        Block(
            README.count("\n", 0, found.start("code")),
            found["code"],
            (found["output"] or "") if found["runs"] else None,
        )
        for found in _FENCED.finditer(README)
    ]


RUNNABLE = [block for block in blocks() if block.output is not None]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each runnable block prints: all in one script, since they continue each other, on the README's own lines."""
    script = ""
    for block in RUNNABLE:
        script += "\n" * (block.line - script.count("\n")) + block.code + "print('\\x1e')\n"
    path = tmp_path_factory.mktemp("readme") / "README.py"
    path.write_text(script, encoding="utf-8")
    return printed(path).split("\x1e\n")[:-1]


@pytest.mark.parametrize("number", range(len(RUNNABLE)), ids=lambda number: f"line {RUNNABLE[number].line}")
def test_a_snippet_prints_what_stands_below_it(outputs, number) -> None:
    """Those marked ``<!-- runs -->``, from the first to the last."""
    assert outputs[number] == RUNNABLE[number].output


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"line {block.line}")
def test_every_snippet_is_python_and_imports_public_names(block) -> None:
    """Also those that need a key or another package."""
    tree = compile(
        block.code, "README.md", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )

    names = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "respan_openai"
        for alias in node.names
    ]
    assert all(hasattr(import_module(module), name) for module, name in names)
    assert {name for _, name in names} <= {*respan_openai.__all__}


def test_its_first_screen() -> None:
    """The first code is near the top, short, and complete."""
    first = blocks()[0]

    assert first.line < 30
    assert first.output is not None
    assert first.code.count("\n") <= 10


def test_its_links() -> None:
    """Files that it points to exist, and so do the headings."""
    targets = re.findall(r"\]\(([^)]+)\)", README)
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).strip().lower().replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }

    for target in targets:
        if target.startswith("#"):
            assert target[1:] in headings
        elif "://" not in target:
            assert (ROOT / target).is_file()


def test_every_parameter_is_in_the_local_gateway_s_table() -> None:
    """Each name has one row, and says what becomes of it hosted and local."""
    start = README.index("| parameter | hosted gateway | local gateway |")
    rows = [line.split("|")[1:-1] for line in README[start : README.index("\n\n", start)].splitlines()[2:]]

    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]

    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows)
    assert sorted(named) == sorted(NAMES - LEGACY.keys())
