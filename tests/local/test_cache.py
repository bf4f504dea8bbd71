"""Which calls the cache answers, for how long, and that no two calls share a key that should not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from respan_openai.local.cache import LONGEST_TTL, Caching, cache_key, caching_of, is_cacheable, why_not
from respan_openai.local.settings import THIRTY_DAYS, Settings


CHAT = "/chat/completions"
RESPONSES = "/responses"
MESSAGES = [{"role": "user", "content": "Hi"}]


# -- what a call says


def test_nothing_said_is_no_cache() -> None:
    """Off unless somebody switches it on, and then for 30 days (reference 000:40, 002:23), apart for each model."""
    assert caching_of({}, Settings()) == Caching(
        enabled=False, ttl=THIRTY_DAYS, by_customer=True, by_model=True, omit_log=False
    )


@pytest.mark.parametrize(
    ("params", "field", "expected"),
    [
        ({"cache_enabled": True}, "enabled", True),  # reference 000:37, 001:56, 002:22, 003:61
        ({"cache_ttl": 60}, "ttl", 60.0),  # reference 000:39, 001:58, 002:23
        ({"cache_ttl": 0.5}, "ttl", 0.5),  # reference 003:63 has a double
        ({"cache_ttl": 2 * LONGEST_TTL}, "ttl", LONGEST_TTL),
        ({"cache_options": {"cache_by_customer": False}}, "by_customer", False),  # reference 003:69
        ({"cache_options": {"cache_by_customer": True}}, "by_customer", True),
        ({"cache_options": {"is_cached_by_model": False}}, "by_model", False),  # reference 000:42, 002:24
        ({"cache_options": {"is_cached_by_model": True}}, "by_model", True),
        ({"cache_options": {"omit_log": True}}, "omit_log", True),  # reference 000:42, 002:24
        ({"cache_options": {}}, "by_customer", True),
    ],
)
def test_a_parameter_is_honoured(params: dict[str, Any], field: str, expected: Any) -> None:
    """Each parameter has its effect, and only that."""
    caching = caching_of(params, Settings())

    assert caching == caching_of({}, Settings())._replace(**{field: expected})


def test_settings_hold_where_a_call_says_nothing() -> None:
    """What an organization has switched on holds for calls that do not say otherwise."""
    settings = Settings(cache_enabled=True, cache_ttl=5, omit_log_on_hit=True)

    caching = caching_of({}, settings)

    assert (caching.enabled, caching.ttl, caching.omit_log) == (True, 5.0, True)


def test_a_call_wins_over_the_settings() -> None:
    """A parameter that is there wins, also if it is false."""
    settings = Settings(cache_enabled=True, cache_ttl=5, omit_log_on_hit=True)
    said = {"cache_enabled": False, "cache_ttl": 7, "cache_options": {"omit_log": False}}

    caching = caching_of(said, settings)

    assert (caching.enabled, caching.ttl, caching.omit_log) == (False, 7.0, False)


def test_no_time_to_live_passes_what_a_request_may_ask_for() -> None:
    """Settings may be absurdly large; what stores are given is not."""
    assert caching_of({}, Settings(cache_ttl=1e300)).ttl == LONGEST_TTL


# -- partitions


CACHING = caching_of({}, Settings())


def test_customers_are_apart() -> None:
    """With a customer identifier a call has answers of its own (reference 003:69)."""
    names: list[str | None] = [None, "", "u1", "u2"]

    assert len({CACHING.partition("test", "mark", name) for name in names}) == len(names)


def test_customers_share_if_told_to() -> None:
    """Without ``cache_by_customer`` customers share answers with each other and with calls that have none."""
    shared = CACHING._replace(by_customer=False)

    assert shared.partition("test", "mark", "u1") == shared.partition("test", "mark", None)


def test_credentials_and_environments_are_always_apart() -> None:
    """No option lets one key's or environment's answers be served to another."""
    shared = CACHING._replace(by_customer=False)

    assert len({shared.partition(where, mark, "u") for where in ("test", "live") for mark in ("a", "b")}) == 4


# -- what is cacheable


@pytest.mark.parametrize("path", ["/embeddings", "/audio/speech", "/audio/transcriptions", "/models"])
def test_only_chat_and_responses_are_cached(path: str) -> None:
    """The documents offer a cache for these two (reference 000:37, 001:56, 002:22)."""
    assert why_not(path, {"model": "m"}) == "the path has no cache"


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Messages with one that has *parts*."""
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


def tools(*kinds: str | None) -> dict[str, Any]:
    """Fields with one tool of each kind."""
    return {"tools": [{"type": kind, "name": "t"} for kind in kinds]}


CACHEABLE: dict[str, dict[str, Any]] = {
    "randomness": {"temperature": 1.5, "n": 3, "seed": 1},
    "a stream": {"stream": True, "stream_options": {"include_usage": True}},
    "the caller's own tools": tools("function", "custom"),
    "no tools": {"tools": []},
    "tools that are no list": {"tools": "function"},
    "an image that is in the call": {
        "messages": user({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})
    },
    "an image that is in the input": {
        "input": user({"type": "input_image", "image_url": "data:image/png;base64,A"})
    },
    "a file that is in the call": {"input": user({"type": "input_file", "file_data": "JVBERi0="})},
    "an address that is only text": {"messages": [{"role": "user", "content": "See https://example.com/"}]},
    "a citation": {
        "input": [{"role": "assistant", "content": [{"url": "https://example.com/"}], "id": "msg_1"}]
    },
    "text that looks like a field": {"messages": [{"role": "user", "content": '"file_id": "file-1"'}]},
    "state switched off": {
        "store": False,
        "background": False,
        "previous_response_id": None,
        "conversation": None,
    },
    "only text": {"modalities": ["text"]},
    "input as text": {"input": "Hi"},
    "sound that is in the call": {"messages": user({"type": "input_audio", "input_audio": {"data": "AAAA"}})},
    "an item with more than its id": {
        "input": [{"type": "function_call_output", "id": "fc_1", "output": "1"}]
    },
}


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("what", CACHEABLE)
def test_what_stands_in_the_call_is_cached(what: str, path: str) -> None:
    """A call that says everything itself may be answered with an earlier answer."""
    assert is_cacheable(path, {"model": "gpt-4o-mini", **CACHEABLE[what]})


KEEPS = "it goes on from what the provider keeps"
OUTSIDE = "it refers to files or addresses, whose content can change"
RUNS = "the provider runs tools for it"
SEARCHES = "its model searches the web"
WEB = "the provider searches the web for it"
ITEMS = "it refers to items that the provider keeps"

OBSTACLES: dict[str, tuple[dict[str, Any], str]] = {
    "an earlier response": ({"previous_response_id": "resp_1"}, KEEPS),
    "a conversation": ({"conversation": {"id": "conv_1"}}, KEEPS),
    "in the background": ({"background": True}, "its answer is fetched later"),
    "to be kept": ({"store": True}, "the provider is to keep this very answer"),
    "a stored prompt": (
        {"prompt": {"id": "pmpt_1"}},
        "its prompt lies with the provider, where it can be edited",
    ),
    "OpenAI's search": ({"web_search_options": {"search_context_size": "low"}}, WEB),
    "xAI's search": ({"search_parameters": {"mode": "auto"}}, WEB),
    "OpenRouter's plugins": ({"plugins": [{"id": "web"}]}, WEB),
    "OpenAI's search model": ({"model": "gpt-4o-search-preview"}, SEARCHES),
    "Perplexity": ({"model": "perplexity/Sonar-Pro"}, SEARCHES),
    "OpenRouter's suffix": ({"model": "openai/gpt-4o:online"}, SEARCHES),
    **{
        kind: (tools("function", kind), RUNS)
        for kind in ("web_search", "code_interpreter", "file_search", "mcp")
    },
    "a tool without a type": (tools(None), RUNS),
    "a tool that is none": ({"tools": ["web_search"]}, RUNS),
    "a tool whose type is none": ({"tools": [{"type": {}}]}, RUNS),
    "a spoken answer": ({"modalities": ["text", "audio"]}, "an answer's audio expires"),
    "an item's id": ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ITEMS),
    "an item's bare id": ({"input": [{"id": "msg_1"}]}, ITEMS),
    "a file's id": ({"messages": user({"type": "file", "file": {"file_id": "file-1"}})}, OUTSIDE),
    "a file's address": (
        {"input": user({"type": "input_file", "file_url": "https://example.com/a.pdf"})},
        OUTSIDE,
    ),
    "a file's address as data": (
        {"messages": user({"file": {"file_data": "https://example.com/a.pdf"}})},
        OUTSIDE,
    ),
    "an image's address": ({"messages": user({"image_url": {"url": "https://example.com/a.png"}})}, OUTSIDE),
    "an image's plain address": ({"input": user({"image_url": "HTTPS://example.com/a.png"})}, OUTSIDE),
    "a video's address": ({"messages": user({"video_url": {"url": "gs://bucket/a.mp4"}})}, OUTSIDE),
    "an earlier spoken answer": ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, OUTSIDE),
}


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("what", OBSTACLES)
def test_what_lies_elsewhere_is_not_cached(what: str, path: str) -> None:
    """Nothing stale is served: what the provider keeps, runs or fetches may have changed since."""
    fields, reason = OBSTACLES[what]

    assert why_not(path, {"model": "gpt-4o-mini", **fields}) == reason
    assert not is_cacheable(path, {"model": "gpt-4o-mini", **fields})


def test_a_call_may_be_nested_deeply() -> None:
    """However deep a message is, it is looked through."""
    content: Any = {"file_id": "file-1"}
    for _ in range(100_000):
        content = [content]

    assert why_not(CHAT, {"messages": content}) == OUTSIDE


# -- keys


def key(fields: dict[str, Any], path: str = CHAT, **options: Any) -> str:
    """The key of a call that is like any other where nothing else is said."""
    return cache_key(
        path, fields, **{"model": "m", "by_model": True, "partition": ("test", "mark"), **options}
    )


def test_a_key_is_short_and_tells_nothing() -> None:
    """64 hexadecimal digits, whatever goes in."""
    text = key({"messages": [{"role": "user", "content": "\ud83d secret \u2603"}]})

    assert len(text) == 64
    assert int(text, 16)


def test_a_key_is_the_same_in_every_process() -> None:
    """Several processes, and this library's next release, find what one of them kept."""
    expected = "797db1fbd581ce984cd02733d4f44e61f2ac040a7a8598ed451bdada74b85aea"

    assert key({"messages": MESSAGES, "tools": [{"type": "function"}], "stream": True}) == expected


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, 0.5])
    | st.text("ab\u2603", max_size=3)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["messages", "input", "temperature", "tools", "response_format", "text", "user", "n", "other"]
)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=5)
IN_ORDER = ("functions", "response_format", "text", "tools")


def turned(value: Any) -> Any:
    """*value* with the keys of its objects the other way round."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(fields=FIELDS)
def test_equal_calls_have_equal_keys(fields: dict[str, Any]) -> None:
    """The order of keys does not matter, save inside the fields that hold schemas."""
    other = {name: value if name in IN_ORDER else turned(value) for name, value in fields.items()}

    assert key(dict(reversed(other.items()))) == key(fields)


def written(value: Any) -> str:
    """*value* as JSON with sorted keys: what tells two calls apart."""
    return json.dumps(value, sort_keys=True)


@given(fields=FIELDS, others=FIELDS)
def test_different_calls_have_different_keys(fields: dict[str, Any], others: dict[str, Any]) -> None:
    """Whatever a provider could tell apart has keys apart."""
    assume(written(fields) != written(others))

    assert key(fields) != key(others)


@given(fields=FIELDS, name=NAMES, value=VALUES)
def test_any_change_gives_another_key(fields: dict[str, Any], name: str, value: Any) -> None:
    """One field that is changed, added or taken away makes it another call."""
    changed = {**fields, name: value}
    assume(written(changed) != written(fields))

    assert key(changed) != key(fields)


@pytest.mark.parametrize("name", IN_ORDER)
def test_a_schema_is_kept_in_its_order(name: str) -> None:
    """Models answer in the order of a schema's keys, so the same keys in another order are another question."""
    schema: dict[str, Any] = {"properties": {"reason": {}, "answer": {}}}

    assert key({name: schema}) != key({name: turned(schema)})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"temperature": 1}, {"temperature": True}),
        ({"temperature": 1}, {"temperature": "1"}),
        ({"seed": None}, {}),
        ({"messages": ["a", "b"]}, {"messages": ["b", "a"]}),
        ({"stream": True}, {"stream": False}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
        ({"user": "a"}, {"user": "b"}),
        ({"safety_identifier": "a"}, {}),
        ({"tools": []}, {}),
        ({"text": {}, "tools": {}}, {"tools": {}, "tool_choice": "auto"}),
    ],
)
def test_what_a_provider_may_treat_differently_is_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    """In doubt two calls are different: that costs a call, and a wrong answer costs more."""
    assert key(one) != key(other)


@pytest.mark.parametrize("value", [False, None])
def test_a_stream_that_is_none(value: object) -> None:
    """``stream: false`` asks for what no ``stream`` asks for."""
    assert key({"messages": MESSAGES, "stream": value}) == key({"messages": MESSAGES})


@pytest.mark.parametrize("label", [{"metadata": {"run": "7"}}, {"store": False}])
def test_labels_of_a_chat_do_not_matter(label: dict[str, Any]) -> None:
    """They only label what the provider keeps, so runs of one prompt share its answer."""
    assert key({"messages": MESSAGES, **label}) == key({"messages": MESSAGES})


@pytest.mark.parametrize("label", [{"metadata": {"run": "7"}}, {"store": False}])
def test_labels_of_a_response_matter(label: dict[str, Any]) -> None:
    """A response repeats them, so the one with another label would be somebody else's."""
    assert key({"input": "Hi", **label}, RESPONSES) != key({"input": "Hi"}, RESPONSES)


def test_paths_are_apart() -> None:
    """A chat is not answered with a response."""
    assert key({"messages": MESSAGES}, CHAT) != key({"messages": MESSAGES}, RESPONSES)


def test_models_are_apart() -> None:
    """Another model's answer is foreign, whatever model the body names (reference 000:42, 002:24)."""
    assert key({"model": "x"}, model="a") != key({"model": "x"}, model="b")
    assert key({"model": "x"}, model="a") == key({"model": "y"}, model="a")


def test_models_share_if_told_to() -> None:
    """Without ``is_cached_by_model`` the same prompt may get another model's answer."""
    assert key({"model": "x"}, model="a", by_model=False) == key({"model": "y"}, model="b", by_model=False)


def test_no_model_is_taken_for_all_of_them() -> None:
    """What models share is apart from what each has of its own, whatever a model is called."""
    shared = key({}, model="null", by_model=False)

    assert shared not in {key({}, model="null"), key({}, model="")}


@given(
    one=st.lists(st.text('ab,"[]', max_size=3), max_size=4),
    other=st.lists(st.text('ab,"[]', max_size=3), max_size=4),
)
def test_partitions_never_run_together(one: list[str], other: list[str]) -> None:
    """Two partitions have one key only if they are one, wherever their parts begin and end."""
    assert (key({}, partition=one) == key({}, partition=other)) == (one == other)


def test_the_parts_of_a_partition_keep_their_places() -> None:
    """A customer ``bc`` of ``a`` is not the customer ``c`` of ``ab``."""
    assert key({}, partition=("a", "bc")) != key({}, partition=("ab", "c"))
    assert key({}, partition=["a", "b"]) == key({}, partition=("a", "b"))
