"""Which values are secret, what stands for them, and what gives a secret away that nobody told of."""

from __future__ import annotations

import pickle
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from respan_openai.testing._credentials import (
    SHAPES,
    is_credential,
    is_field_of_secrets,
    is_variable_of_secrets,
)
from respan_openai.testing._hooks import Hooks
from respan_openai.testing.errors import CassetteError
from respan_openai.testing.secrets import Secrets, is_placeholder


KEY = "sk-canary-0123456789"


def known(secrets: Secrets) -> set[bytes]:
    """All that is looked for."""
    return {needle for needle, _ in secrets.needles}


def stand_in(secrets: Secrets, value: str, *, answered: bool = False) -> str:
    """The placeholder of *value*."""
    return secrets.placeholder(value.encode(), answered=answered).decode()


# -- the environment


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "GITHUB_TOKEN", "DJANGO_SECRET", "PG_PASSWORD", "openai_api_key"]
)
def test_variables_are_secret_by_their_name(name: str) -> None:
    """Whatever they hold, in upper or lower case."""
    secrets = Secrets({name: "a value of mine"})

    assert stand_in(secrets, "a value of mine") == f"{{{{env:{name}}}}}"


@pytest.mark.parametrize("name", ["OPENAI_API_KEYS", "KEY", "_KEY", "TOKENIZERS", "KEY_ID", "HOME"])
def test_other_variables_are_not(name: str) -> None:
    """Only the end of a name counts, and something must stand before it."""
    assert not is_variable_of_secrets(name)
    assert known(Secrets({name: "a value of mine"})) == set()


def test_short_values_of_the_environment_are_no_secrets() -> None:
    """They would be found by chance; white space around a value does not make it longer."""
    assert known(Secrets({"A_KEY": "1234567", "B_KEY": " 1234567\n"})) == set()
    assert known(Secrets({"A_KEY": "12345678\n"})) == {b"12345678"}


def test_of_several_variables_with_one_value_the_first_by_name_stands_for_it() -> None:
    """In whatever order the environment has them."""
    secrets = Secrets({"RESPAN_API_KEY": KEY, "OPENAI_API_KEY": KEY})

    assert stand_in(secrets, KEY) == "{{env:OPENAI_API_KEY}}"


def test_a_variable_with_a_strange_name_is_counted() -> None:
    """Its name may hold what a placeholder must not."""
    secrets = Secrets({"A}} B_KEY": KEY})

    assert stand_in(secrets, KEY) == "{{secret:1}}"


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when it is made."""
    monkeypatch.setenv("SOME_CANARY_TOKEN", KEY)

    assert stand_in(Secrets(), KEY) == "{{env:SOME_CANARY_TOKEN}}"


# -- what is told


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"Basic {KEY}", KEY])
@pytest.mark.parametrize("header", ["Authorization", "api-key", "X-API-Key"])
def test_keys_are_learned_from_headers(header: str, value: str) -> None:
    """With their scheme or without; nothing else of the headers is."""
    secrets = Secrets({})
    secrets.learn([(header, value), ("user-agent", "some-agent/1.0"), ("x-other", "Bearer 1234567890")])

    assert known(secrets) == {KEY.encode()}


@pytest.mark.parametrize(
    ("name", "value", "keys"),
    [
        ("X-Goog-Api-Key", "correct-horse", {b"correct-horse"}),
        ("Ocp-Apim-Subscription-Key", "correct-horse", {b"correct-horse"}),
        ("x-webhook-secret", "correct horse battery", {b"correct horse battery", b"correct+horse+battery"}),
        ("apikey", "correct-horse", {b"correct-horse"}),
        ("Proxy-Authorization", "Negotiate  correct-horse", {b"correct-horse"}),
        (
            "Authorization",
            "Basic c3ZjOm9wZW4gc2VzYW1l",
            {b"c3ZjOm9wZW4gc2VzYW1l", b"open sesame", b"open+sesame"},
        ),
        ("Authorization", "basic Y29ycmVjdC1ob3JzZTo=", {b"Y29ycmVjdC1ob3JzZTo=", b"correct-horse"}),
        ("Authorization", "Basic not-base-64!", {b"not-base-64!"}),
        ("Idempotency-Key", "stainless-python-retry-1", set()),
        ("x-monkey", "correct-horse", set()),
        (
            "?",
            "key=correct-horse&Subscription-Key=a%2Fb+c%2Fd.e&sig=short",
            {b"correct-horse", b"a/b c/d.e", b"a/b+c/d.e"},
        ),
        ("?", "code=correct-horse&after=file-123456789&limit=10000000", {b"correct-horse"}),
        ("Authorization", "Bearer placeholder", set()),
        ("api-key", "Anything", set()),
        ("api-key", "aVeryOwnKey", {b"aVeryOwnKey"}),
        ("X-Partition-Key", "customer_id", set()),
        ("X-Partition-Key", "us-east-1", set()),
        ("X-Session-Token", "a1b2c3d4e5f6", {b"a1b2c3d4e5f6"}),
        ("?", "sort_key=created_at", set()),
        ("Authorization", "Basic Ym9iOmh1bnRlcnBhc3M=", {b"Ym9iOmh1bnRlcnBhc3M=", b"hunterpass"}),
    ],
)
def test_which_headers_and_parameters_hold_keys(name: str, value: str, keys: set[bytes]) -> None:
    """By their names, behind a scheme or alone; the password in ``Basic`` too, or the user without one.

    Words are none, and what is sent as some key or token must look like one: texts would be spoilt.
    """
    secrets = Secrets({})
    secrets.learn([(name, value)])

    assert known(secrets) == keys


@pytest.mark.parametrize(
    "sent", [("authorization", "Bearer {{secret:answer-1}}"), ("?", "page_token={{secret:1}}")]
)
def test_a_placeholder_is_no_key(sent: tuple[str, str]) -> None:
    """A test has taken it from a replayed answer."""
    secrets = Secrets({})
    secrets.learn([sent])

    assert len(secrets) == 0


def test_the_environment_can_be_read_again() -> None:
    """What was known stays so, also what is gone; what came gets its name."""
    environ = {"MY_KEY": KEY}
    secrets = Secrets(environ)
    environ |= {"LATE_TOKEN": "violet-harbor", "MY_KEY": "another-key", "A_KEY": KEY}
    secrets.look_around()

    assert known(secrets) == {KEY.encode(), b"violet-harbor", b"another-key"}
    assert stand_in(secrets, "violet-harbor") == "{{env:LATE_TOKEN}}"
    assert stand_in(secrets, KEY) == "{{env:MY_KEY}}"


def test_no_value_is_lost_between_threads() -> None:
    """What several learn at the same time, all is looked for: whichever of them is the last."""
    every = [Secrets({}) for _ in range(1500)]
    start = threading.Barrier(4)

    def learn(number: int) -> None:
        for secrets in every:
            start.wait(20)
            secrets.learn([("api-key", f"the-key-of-{number}")])

    interval = sys.getswitchinterval()
    with ThreadPoolExecutor(4) as pool:
        # A thread that starts under coverage sets its trace function, and CPython 3.11 lets it die where another one
        # is about to do so: all four have started before they take turns that often.
        list(pool.map(lambda _: start.wait(20), range(4)))
        sys.setswitchinterval(1e-6)
        try:
            list(pool.map(learn, range(4)))
        finally:
            sys.setswitchinterval(interval)

    assert {len(known(secrets)) for secrets in every} == {4}


def test_short_keys_in_headers_are_no_secrets() -> None:
    """``EMPTY`` and the like, which servers without keys are given."""
    secrets = Secrets({})
    secrets.learn([("authorization", "Bearer EMPTY")])

    assert known(secrets) == set()


def test_a_key_that_the_environment_has_keeps_its_name() -> None:
    """However often it is seen."""
    secrets = Secrets({"MY_KEY": KEY})
    secrets.learn([("api-key", KEY)])

    assert stand_in(secrets, KEY) == "{{env:MY_KEY}}"


def test_a_name_that_is_given_wins() -> None:
    """Over the environment's, and over none."""
    secrets = Secrets({"MY_KEY": KEY})
    secrets.add(KEY, "tenant")

    assert stand_in(secrets, KEY) == "{{secret:tenant}}"


@pytest.mark.parametrize("name", ["", "Tenant", "1st", "answer-1", "a b", "a" * 42, "a}}"])
def test_names_that_cannot_be_in_a_placeholder_are_refused(name: str) -> None:
    """And those that could be taken for a count."""
    with pytest.raises(CassetteError, match="name of a secret"):
        Secrets({}).add(KEY, name)


def test_a_short_secret_is_refused_without_showing_it() -> None:
    """The message says what to do instead."""
    with pytest.raises(CassetteError, match="7 characters") as caught:
        Secrets({}).add("hunter2")

    assert "hunter2" not in str(caught.value)
    assert "redact=" in str(caught.value)


def test_more_values_than_can_be_looked_for_are_refused() -> None:
    """Rather than recorded, or looked for until tomorrow."""
    with pytest.raises(CassetteError, match="More than 1000"):
        Secrets({}).found((b"value-%d" % number, "") for number in range(1001))


def test_nothing_shows_a_value() -> None:
    """Neither its text nor a pickle."""
    secrets = Secrets({"MY_KEY": KEY})

    assert repr(secrets) == "<Secrets: 1 values>"
    assert secrets.what(KEY.encode()) == "the environment variable MY_KEY"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secrets)


# -- placeholders


def test_a_value_is_counted_when_it_is_first_replaced() -> None:
    """Being known takes no number, so keys that never occur do not shift those that do."""
    secrets = Secrets({})
    for value in ("first-told", "second-told", "third-told"):
        secrets.add(value)

    assert stand_in(secrets, "third-told") == "{{secret:1}}"
    assert stand_in(secrets, "first-told") == "{{secret:2}}"
    assert stand_in(secrets, "third-told") == "{{secret:1}}"


def test_what_answers_give_away_is_counted_apart() -> None:
    """On replay nobody looks into answers, and the numbers in requests must be the same then."""
    secrets = Secrets({})
    secrets.add("of an answer")
    secrets.add("of a request")

    assert stand_in(secrets, "of an answer", answered=True) == "{{secret:answer-1}}"
    assert stand_in(secrets, "of a request") == "{{secret:1}}"
    assert stand_in(secrets, "of an answer") == "{{secret:answer-1}}"


def test_numbers_that_stand_in_a_text_are_taken() -> None:
    """A replayed answer brought them, and the next secret is another one."""
    secrets = Secrets({})
    secrets.add("the next one")
    secrets.add("and of an answer")

    assert list(secrets.placeholders(b"x{{secret:3}}{{secret:answer-7}}")) == [(1, 13), (13, 32)]
    assert stand_in(secrets, "the next one") == "{{secret:4}}"
    assert stand_in(secrets, "and of an answer", answered=True) == "{{secret:answer-8}}"


def test_only_what_is_given_out_is_taken_for_a_placeholder() -> None:
    """Braces do not hide a secret."""
    secrets = Secrets({"MY_KEY": "value-of-mine"})
    text = b"{{env:MY_KEY}} {{redacted}} {{env:value-of-mine}} {{secret:value-of-mine}}"

    assert list(secrets.placeholders(text)) == [(0, 14), (15, 27)]


@pytest.mark.parametrize("text", ["{{redacted}}", "{{env:A_KEY}}", "{{secret:1}}", "{{secret:answer-2}}"])
def test_placeholders_are_known_whoever_made_them(text: str) -> None:
    """Alone only."""
    assert is_placeholder(text.encode())
    assert not is_placeholder(f"{text}!".encode())


# -- names of fields


@pytest.mark.parametrize(
    "path",
    [
        ("api_key",),
        ("a", "azure_api_key"),
        ("X-API-Key",),
        ("Authorization",),
        ("tools", 0, "authorization"),
        ("access_token",),
        ("refresh_token",),
        ("id_token",),
        ("client_secret",),
        ("password", 0),
        ("customer_credentials", "openai", "region"),
        ("credential_override", "openai", "deep", 3, "er"),
        ("customer_api_keys", "gpt-5.5"),
        ("?", "key"),
        ("?", "Subscription-Key"),
        ("?", "sig"),
        ("?", "api_key"),
    ],
)
def test_fields_that_hold_secrets(path: tuple[Any, ...]) -> None:
    """By their exact names, at any depth."""
    assert is_field_of_secrets(path)


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "prompt_tokens",
        "logit_bias",
        "token",
        "key",
        "api_keys",
        "passwords",
        "tokens",
        "secret",
    ],
)
def test_fields_that_do_not(name: str) -> None:
    """Names that only look alike survive; so does what is inside of an object of a name, as in a schema."""
    assert not is_field_of_secrets((name,))
    assert not is_field_of_secrets(("password", name))
    assert not is_field_of_secrets(("?", f"page_{name}s"))
    assert not is_field_of_secrets(("?", "page_token"))
    assert not is_field_of_secrets(())


@pytest.mark.parametrize(
    "value",
    [
        "required",
        "string",
        "short1",
        "https://a.example/v1",
        "two words 1",
        "abcdefghijklmn",
        "prior_authorization_required",
    ],
)
def test_words_in_such_fields_are_not_looked_for_elsewhere(value: str) -> None:
    """They would be replaced all over the file."""
    assert not is_credential(value)
    assert is_credential("a1b2c3d4e5f6")
    assert is_credential("correct-horse-battery-staple")


# -- shapes

B64 = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{B64}\n{B64}==\n-----END RSA PRIVATE KEY-----"
ENCRYPTED = f"-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,7F\n\n{B64}\n"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        "sk-proj-abcdefghijklmnop",
        "rk-0123456789ab",
        "sk-abcd1234****************wxyz",
        TOKEN,
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA-1234567890abcdefghijklmnopqrstu",
        "ghp_0123456789abcdefghij0123456789abcdef",
        "gho_0123456789abcdefghij",
        "github_pat_11ABCDEFG0123456789_abcdef",
        "xoxb-123456789012-abcdef",
        PEM,
        PEM.replace("\n", "\\n"),
        ENCRYPTED,
    ],
)
def test_shapes_of_credentials(value: str) -> None:
    """Found whole in a sentence, and at the ends of a text."""
    for text in (value, f'The key is "{value}".', f"({value})"):
        found = {each.decode() for shape in SHAPES for each in shape.found_in(text.encode())}
        assert value in found


def test_a_bearer_token_is_found_without_its_scheme() -> None:
    """The word before it says nothing."""
    (shape,) = (shape for shape in SHAPES if "bearer" in shape.what)

    assert shape.found_in(b"Authorization: Bearer  abc.def-0123456789/+=") == [b"abc.def-0123456789/+="]


@pytest.mark.parametrize(
    "text",
    [
        "a risk-adjusted-return-on-capital",
        "sk-learn and sk-short",
        "bearer authentication-of-everybody-else",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJ.abc.def",
        "XAKIAIOSFODNN7EXAMPLE",
        "-----BEGIN PRIVATE KEY----- is how such a file begins",
        "-----BEGIN CERTIFICATE-----\n" + B64,
        "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "xoxo",
        "aghp_0123456789abcdefghij0123456789",
    ],
)
def test_ordinary_text_has_no_such_shape(text: str) -> None:
    """Words, ids and public things."""
    assert [found for shape in SHAPES for found in shape.found_in(text.encode())] == []


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.hints[0].decode())
def test_shapes_never_go_back_over_what_has_no_bound(shape: Any) -> None:
    """All repeats without a bound are possessive, so an attempt costs what it reads."""
    pattern = re.sub(r"\\.", "x", shape.pattern.pattern.decode())
    pattern = re.sub(r"\[[^\]]*\]", "x", pattern)

    assert re.findall(r"(?:[*+]|\{\d*,\})(?!\+)", re.sub(r"(?:[*+]|\{\d*,\})\+", "", pattern)) == []


# -- what users name


def test_patterns_find_their_first_group() -> None:
    """Or all that they match, if they have none; compiled, or as text after a tilde."""
    hooks = Hooks([re.compile(r"id=(\w{4,})(x?)"), "~ [0-9]{4,}"])

    assert list(hooks.found_in(b"id=abcd; id=; 12345")) == [b"abcd", b"12345"]


def test_functions_are_given_text_and_return_parts() -> None:
    """Text that is no UTF-8 too."""
    hooks = Hooks([lambda text: [word for word in text.split() if word.startswith("Mr")]])

    assert list(hooks.found_in(b"\xff MrSmith and")) == [b"MrSmith"]


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        (("$", "user"), True),
        (("$", "a", "b", "user"), False),
        (("$", "messages", 3, "name"), True),
        (("$", "messages", 3, "content"), False),
        (("respan", "customer_params", "email"), True),
        (("$", "x", 1, "ssn"), True),
        (("?", "user"), False),
    ],
)
def test_paths_lead_to_places(path: tuple[Any, ...], leads: bool) -> None:
    """And to everything below."""
    hooks = Hooks(["user", "messages[*].name", "respan.customer_params", "**.ssn"])

    assert hooks.name_places
    assert hooks.lead_to(path) is leads
    assert not Hooks(["~ abcd"]).name_places


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (7, "type int"),
        ("~ (", "no regular expression"),
        (re.compile(b"abcd"), "a pattern of bytes"),
        ("a..b", "a..b"),
    ],
)
def test_what_cannot_be_read_is_refused(hook: Any, says: str) -> None:
    """At once, in one line."""
    with pytest.raises(CassetteError, match=re.escape(says)) as caught:
        Hooks([hook])

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("part", "says"), [("Bob", "3 characters"), ("", "0 characters"), (7, "type int")])
def test_what_a_function_must_not_return(part: Any, says: str) -> None:
    """Too little would be replaced in the middle of words; the message does not show it."""
    hooks = Hooks([lambda _: [part]])

    with pytest.raises(CassetteError, match=says) as caught:
        list(hooks.found_in(b"text"))

    assert "Bob" not in str(caught.value)
