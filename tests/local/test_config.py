"""What ``respan-openai serve`` is told: files, flags and variables, and what each mistake is answered with."""

from __future__ import annotations

import json

import pytest

from respan_openai import Provider
from respan_openai.exceptions import ConfigError
from respan_openai.local.config import configured_gateway, open_store
from respan_openai.local.echo import Echo
from respan_openai.local.providers import Azure
from respan_openai.openrouter import OpenRouter
from respan_openai.stores.memory import MemoryStore
from respan_openai.stores.redis import RedisStore
from respan_openai.stores.sqlite import SQLiteStore


FULL = """
prompts = "prompts"
store = "calls.sqlite3"
prices = { "local/m" = { input = 2.5, output = 10 } }

[providers.local]
base_url = "http://127.0.0.1:11434/v1"
needs_key = false
models = { small = "m-1" }

[providers.my-own]
base_url = "https://own.example/v1"

[providers.cloud]
kind = "azure"
endpoint = "https://mine.openai.azure.com"
api_version = "2024-10-21"
api_key_env = "CLOUD_KEY"
deployments = { "gpt-4o" = "deployed" }

[providers.openrouter]
kind = "openrouter"

[providers.echo]
kind = "echo"

[keys]
production = "KEYS_LIVE"
test = "KEYS_TEST"

[settings]
fallback_models = ["local/m"]

[[settings.models]]
name = "local/m"
vision = true
"""

VARIABLES = {
    "MY_OWN_API_KEY": "canary-own-key",
    "CLOUD_KEY": "canary-cloud-key",
    "OPENROUTER_API_KEY": "canary-openrouter-key",
    "KEYS_LIVE": "canary-live-1, canary-live-2",
    "KEYS_TEST": "canary-test-1",
}


@pytest.fixture(autouse=True)
def _no_other_keys(monkeypatch) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "OPENROUTER_API_KEY", "RESPAN_SERVE_API_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def written(tmp_path):
    """Writes a file and tells where."""

    def write(text: str):
        path = tmp_path / "serve.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_with_everything(written, monkeypatch, tmp_path) -> None:
    """Each part does what it says; paths are beside the file, wherever the process runs."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "prompts").mkdir()
    prompt = {"versions": {"1": {"messages": [{"role": "user", "content": "Hi {{name}}"}]}}, "deployed": 1}
    (tmp_path / "prompts" / "greeting.json").write_text(json.dumps(prompt))

    gateway = configured_gateway(written(FULL))
    gateway.store.close()

    kinds = {name: type(provider) for name, provider in gateway.providers.items()}
    assert kinds == {
        "local": Provider,
        "my-own": Provider,
        "cloud": Azure,
        "openrouter": OpenRouter,
        "echo": Echo,
    }
    assert gateway.providers["local"].models == {"small": "m-1"}
    assert gateway.providers["cloud"].models == {"gpt-4o": "deployed"}
    assert "greeting" in gateway.prompts
    assert gateway.prices.of("local", "m").output == 10
    assert gateway.settings.fallback_models == ("local/m",)
    assert gateway.settings.models[0].vision
    assert (tmp_path / "calls.sqlite3").is_file()
    callers = {
        key: gateway.admit({"authorization": f"Bearer canary-{key}"}).environment
        for key in ("live-2", "test-1")
    }
    assert callers == {"live-2": "production", "test-1": "test"}
    assert "canary" not in repr(gateway)


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"OPENAI_API_KEY": "k" * 9}, ["openai"]),
        ({"OPENAI_API_KEY": "k" * 9, "OPENROUTER_API_KEY": "k" * 9}, ["openai", "openrouter"]),
        (
            {
                "AZURE_OPENAI_API_KEY": "k" * 9,
                "AZURE_OPENAI_ENDPOINT": "https://a.example",
                "OPENAI_API_VERSION": "1",
            },
            ["azure"],
        ),
    ],
)
def test_providers_by_their_variables(monkeypatch, variables, names) -> None:
    """Without a file, those whose keys are there."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert list(configured_gateway().providers) == names


def test_openai_may_be_elsewhere(monkeypatch) -> None:
    """``OPENAI_BASE_URL``, as the SDK itself reads it."""
    monkeypatch.setenv("OPENAI_API_KEY", "k" * 9)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1")

    assert configured_gateway().providers["openai"].base_url == "https://proxy.example/v1"


def test_an_echo_is_asked_for(monkeypatch) -> None:
    """Then no provider is asked, whatever keys are there."""
    monkeypatch.setenv("OPENAI_API_KEY", "k" * 9)

    assert list(configured_gateway(echo=True).providers) == ["echo"]


def test_no_provider_is_no_echo() -> None:
    """A missing key is an error that says what there is to choose from."""
    with pytest.raises(
        ConfigError, match=r"no provider to ask\. Set one of OPENAI_API_KEY.*--config.*--echo"
    ):
        configured_gateway()


def test_keys_by_their_variable(monkeypatch) -> None:
    """Without a file; if it is empty, the gateway is not open to everybody."""
    assert configured_gateway(echo=True).accepts_anyone
    monkeypatch.setenv("RESPAN_SERVE_API_KEYS", "canary-a,canary-b canary-c")
    gateway = configured_gateway(echo=True)
    assert {gateway.admit({"authorization": f"Bearer canary-{key}"}).environment for key in "abc"} == {
        "production"
    }

    monkeypatch.setenv("RESPAN_SERVE_API_KEYS", " ")
    with pytest.raises(
        ConfigError, match="RESPAN_SERVE_API_KEYS should hold the gateway's keys, and is empty"
    ):
        configured_gateway(echo=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("provider = 1", "`provider` is not known; did you mean `providers`?"),
        ("zzz = 1", "`zzz` is not known. Accepted are keys, prices"),
        ("x =", "is not TOML"),
        ("prompts = 1", "`prompts` must be a string"),
        ("keys = 1", "`keys` must be a table"),
        ("providers = 1", "`providers` must be a table"),
        ("[providers]\na = 1", r"providers\.a must be a table"),
        ("[providers.a]\nkind = 'x'", "`kind` must be one of openai, azure, openrouter, echo"),
        ("[providers.a]\nkind = []", "`kind` must be one of"),
        ("[providers.a]\nbase_ur = 'x'", "`base_ur` is not known; did you mean `base_url`?"),
        ("[providers.a]\napi_key = 'canary'", "a key must not stand in a file.*`api_key_env`"),
        ("[providers.a]\nneeds_key = false", "needs a `base_url`"),
        ("[providers.a]\nbase_url = 'https://x.example'", "environment variable A_API_KEY is not set"),
        (
            "[providers.a]\nbase_url = 'https://x.example'\napi_key_env = 1",
            "environment variable 1 is not set",
        ),
        ("[providers.a]\nbase_url = 'x'\nneeds_key = false", "not an absolute http"),
        ("[providers.a]\nkind = 'openrouter'", "is always called 'openrouter'"),
        (
            "[providers.a]\nkind = 'azure'\napi_key_env = 'HOME'",
            "needs `endpoint`, or the environment variable",
        ),
        ("[providers]", "needs a provider to ask"),
        ("[providers.e]\nkind = 'echo'\n[keys]\nlive = 'NOT_SET'", "NOT_SET should hold .* is not set"),
        ("[providers.e]\nkind = 'echo'\n[keys]\nlive = 1", r"keys\.live must be the name"),
        ("[providers.e]\nkind = 'echo'\n[keys]", "api_keys is empty"),
        ("prices = 1\n[providers.e]\nkind = 'echo'", "prices must be `genai`"),
        ("[providers.e]\nkind = 'echo'\n[settings]\ncache = 1", "settings: `cache` is not known"),
        ("[providers.e]\nkind = 'echo'\n[settings]\ncache_ttl = 'x'", "cache_ttl"),
        ("[providers.e]\nkind = 'echo'\n[settings]\nmodels = [1]", "settings.models must be tables"),
        ("[providers.e]\nkind = 'echo'\n[[settings.models]]\nvisio = true", "did you mean `vision`"),
        ("[providers.e]\nkind = 'echo'\n[[settings.models]]\nvision = true", "settings: a value has a type"),
        (
            "providers = { e = { kind = 'echo' } }\n[[settings.groups.g]]\ncredentials = { api_key = 'canary' }",
            r"settings\.groups\.g: a key must not stand in a file.*\[providers\]",
        ),
        ("[providers.e]\nkind = 'echo'\n[settings]\ngroups = 1", "`groups` is 1; it must be a mapping"),
        ("[providers.e]\nkind = 'echo'\n[settings.groups]\ng = 1", "Settings\\(groups=...\\), group g"),
        ("store = 'env:NOT_SET'\n[providers.e]\nkind = 'echo'", "NOT_SET should say where the store is"),
    ],
)
def test_mistakes(written, text, message) -> None:
    """Each is told in the words of the file; no value of a key is."""
    with pytest.raises(ConfigError, match=message) as caught:
        configured_gateway(written(text))

    assert "canary" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path) -> None:
    """With its name, and the flag that named it."""
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read: No such file.*--config"):
        configured_gateway(tmp_path / "missing.toml")


def test_a_gateway_that_cannot_be_built_leaves_no_store_open(written, tmp_path) -> None:
    """Its file is closed again: another one can be put in its place."""
    with pytest.raises(ConfigError):
        configured_gateway(written(f"store = '{tmp_path}/a.sqlite3'\n[providers]"))


def test_flags_go_before_the_file(written, tmp_path) -> None:
    """Store, prompts and prices."""
    (tmp_path / "other").mkdir()
    text = "store = 'a.sqlite3'\nprompts = 'missing'\nprices = 1\n[providers.e]\nkind = 'echo'"
    gateway = configured_gateway(written(text), store="memory", prompts=tmp_path / "other", prices="genai")

    assert isinstance(gateway.store, MemoryStore)
    assert gateway.prices.of("openai", "gpt-4o") is not None


def test_stores(tmp_path, monkeypatch) -> None:
    """By a word, a URL, a variable or a file."""
    monkeypatch.setenv("THE_STORE", "redis://127.0.0.1:1")
    opened = [open_store("memory"), open_store("env:THE_STORE"), open_store("a.sqlite3", tmp_path)]
    for store in opened:
        store.close()

    assert [type(store) for store in opened] == [MemoryStore, RedisStore, SQLiteStore]


@pytest.mark.parametrize(
    "where", ["valkey://:canary@h/0", "Redis://:canary@h/0", "rediss:/:canary@h/0", "http://u:canary@h"]
)
def test_a_store_on_a_server_that_cannot_be_read(tmp_path, where) -> None:
    """What looks like a URL is never taken for a file, whose name would be told with the password in it."""
    with pytest.raises(ConfigError, match="must begin with redis://") as caught:
        open_store(where, tmp_path)

    assert "canary" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["a.sqlite3", "C:/a.sqlite3", "folder/a:b"])
def test_a_store_in_a_file_with_a_colon(tmp_path, where) -> None:
    """A drive, or a name with a colon in it, is no URL."""
    (tmp_path / where).parent.mkdir(exist_ok=True)
    store = open_store(where, tmp_path)
    store.close()

    assert isinstance(store, SQLiteStore)
