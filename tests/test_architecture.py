"""The architecture: what may import what, and what an import brings along."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import respan_openai


PACKAGE = Path(respan_openai.__file__).parent

#: From the bottom up: each module imports only modules further up in this list. It is the reading order.
LADDER = [
    "exceptions",
    "_warn",
    "_wire",
    "_check",
    "_params",
    "_accepts",
    "policy",
    "calls",
    "_core.values",
    "_core.plain",
    "_core.call",
    "_core.origin",
    "_core.backoff",
    "_core.judge",
    "_core.snapshot",
    "_core.health",
    "_core.steps",
    "_core.sse",
    "_core.trace",
    "_core.plan",
    "_core.attempt",
    "_core.course",
    "_core.hedge",
    "_core.flow",
    "_clock",
    "testing",
    "_secret",
    "_carriers",
    "_headers",
    "_azure",
    "targets",
    "openrouter",
    "fallbacks",
    "_controls",
    "_families",
    "_building",
    "_bodies",
    "_tapes",
    "_drive",
    "_race",
    "_perform",
    "stores._amounts",
    "stores._forks",
    "stores._parts",
    "stores.protocol",
    "stores._values",
    "stores.memory",
    "stores._breaker",
    "_extras",
    "stores._redis_client",
    "stores._scripts",
    "stores.redis",
    "stores._schema",
    "stores._connection",
    "stores._files",
    "stores._opening",
    "stores._statements",
    "stores.sqlite",
    "stores",
    "local.contract",
    "local.minimal",
    "local.echo",
    "local.callers",
    "local.forms",
    "local.reading",
    "local.catalogue",
    "local.flights",
    "local.aftercare",
    "local.steps",
    "local.streaming",
    "local.answers",
    "local.settings",
    "local.asking",
    "local.cache",
    "local.complete",
    "local.events",
    "local.entries",
    "local.messages",
    "local.relay",
    "local.usage_stream",
    "local.delivery",
    "local.customers",
    "local.masking",
    "local.rows",
    "local.exchange",
    "local.keeping",
    "local.listing",
    "local.breakdown",
    "local.usage",
    "local.price",
    "local.genai",
    "local.prices",
    "local.metering",
    "local.prompts",
    "local.providers",
    "local.rendering",
    "local.spending",
    "local.targets",
    "local.balance",
    "local.api_base",
    "local.credentials",
    "local.groups",
    "local.needs",
    "local.choice",
    "local.primary",
    "local.handling",
    "local.recent",
    "local.router",
    "local.bridge",
    "local.transport",
    "local.gateway",
    "local.asgi",
    "local.configured",
    "local.config",
    "local.figures",
    "local.markup",
    "local.page",
    "local.waterfall",
    "local.page_call",
    "local.search",
    "local.visitors",
    "local.server",
    "local.serving",
    "local",
    "_context",
    "_guard",
    "_continuation",
    "_delivery",
    "_shim",
    "_transport",
    "_keywords",
    "_lift",
    "_proxies",
    "_client",
    "_health",
    "testing._edits",
    "testing._plain",
    "testing._alignment",
    "testing.recording",
    "testing._contents",
    "testing._answers",
    "testing._credentials",
    "testing.errors",
    "testing.secrets",
    "testing._asked",
    "testing._splices",
    "testing._base64",
    "testing._shapes",
    "testing._borders",
    "testing._damage",
    "testing._demands",
    "testing.faults",
    "testing._paths",
    "testing.rules",
    "testing.match",
    "testing._words",
    "testing._noise",
    "testing._sender",
    "testing._shown",
    "testing.difference",
    "testing.closest",
    "testing.mismatch",
    "testing.options",
    "testing.playing",
    "testing._gathered",
    "testing.questions",
    "testing._hooks",
    "testing._escapes",
    "testing._strings",
    "testing._leaves",
    "testing._sweep",
    "testing.redact",
    "testing._marks",
    "testing._printer",
    "testing._request",
    "testing._framing",
    "testing._styles",
    "testing._stream",
    "testing._events",
    "testing._says",
    "testing._replay",
    "testing.bodies",
    "testing._response",
    "testing.format",
    "testing.gate",
    "testing._files",
    "_versions",
    "testing.saving",
    "testing._structure",
    "testing.shapes",
    "testing.views",
    "testing._outbound",
    "testing._seen",
    "testing._shot",
    "testing._late",
    "testing._troubles",
    "testing._cassette",
    "testing._conversation",
    "testing._contrast",
    "testing._yaml",
    "testing.importing",
    "testing.leftovers",
    "testing.names",
    "testing._upkeep",
    "testing.commands",
    "testing.plugin_config",
    "testing.plugin_orphans",
    "testing.plugin_end",
    "testing.plugin_keys",
    "testing.plugin_ledger",
    "testing.plugin_network",
    "testing.plugin_places",
    "testing.plugin_player",
    "testing.plugin_settings",
    "testing.plugin_run",
    "_checkup",
    "_listing",
    "_commands",
    "cli",
    "pytest_plugin",
    "cassettes",
    "testing._block",
]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def modules() -> dict[str, Path]:
    return {module_of(path): path for path in PACKAGE.rglob("*.py") if module_of(path) not in {"", "_core"}}


def imports(path: Path) -> set[str]:
    """Modules imported at run time, as absolute names; those of type checking alone are left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    package = ["respan_openai", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            found.add(".".join([*base, node.module] if node.module else base))
    return found


def printed_by(code: str) -> str:
    """What *code* prints in a fresh interpreter."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_every_module_has_its_place() -> None:
    """A new module is put on the ladder."""
    assert sorted(modules()) == sorted(LADDER)


@pytest.mark.parametrize("name", LADDER)
def test_modules_import_only_what_lies_below(name) -> None:
    """The ladder is the reading order: no module needs one that comes later."""
    below = {f"respan_openai.{module}" for module in LADDER[: LADDER.index(name)]}

    ours = {found for found in imports(modules()[name]) if found.startswith("respan_openai")}

    assert ours <= below


def test_the_core_imports_only_the_standard_library() -> None:
    """No HTTP library, no SDK: decisions can be tested without any."""
    for path in (PACKAGE / "_core").glob("*.py"):
        foreign = {name.partition(".")[0] for name in imports(path)} - sys.stdlib_module_names
        assert foreign <= {"respan_openai"}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import respan_openai", ("openai", "httpx", "httpx2", "wrapt", "pydantic", "asyncio")),
        ("import respan_openai._core.flow", ("openai", "httpx", "httpx2", "wrapt", "pydantic", "asyncio")),
        (
            "from respan_openai import Gateway, params, wrap",
            ("respan_openai.local", "respan_openai.openrouter", "uvicorn", "trio"),
        ),
        (  # what a plain call does without
            "from respan_openai import Gateway, params, wrap",
            (
                "respan_openai._params",
                "respan_openai._guard",
                "respan_openai._core.sse",
                "respan_openai.calls",
            ),
        ),
    ],
)
def test_what_an_import_does_not_bring(statement, absent) -> None:
    """A fresh interpreter after the import has not loaded what was not asked for."""
    code = f"import sys; {statement}; print(*[name for name in {absent!r} if name in sys.modules])"

    assert printed_by(code) == ""


def test_legacy_httpx_is_never_imported_by_us() -> None:
    """On openai 3 a wrapped call works without httpx being loaded at all."""
    openai = pytest.importorskip("openai", minversion="3")
    code = (
        "import sys, openai, httpx2, respan_openai as r;"
        "t = httpx2.MockTransport(lambda q: httpx2.Response(200, json={'id': '1', 'choices': []}));"
        "c = r.wrap(openai.OpenAI(api_key='a', http_client=httpx2.Client(transport=t)), gateway=r.Gateway('b'));"
        "c.chat.completions.create(model='m', messages=[]); print('httpx' in sys.modules)"
    )

    assert printed_by(code) == "False"
    assert openai is not None


def test_an_import_has_no_side_effects() -> None:
    """No thread, no file, no network, and no change to the classes of others."""
    code = (
        "import threading, openai, httpx;"
        "before = dict(vars(openai.OpenAI)), dict(vars(httpx.Client)), threading.active_count();"
        "import respan_openai; [getattr(respan_openai, name) for name in respan_openai.__all__];"
        "print(before == (dict(vars(openai.OpenAI)), dict(vars(httpx.Client)), threading.active_count()))"
    )

    assert printed_by(code) == "True"
