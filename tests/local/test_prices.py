"""Where prices come from: tables, functions, the package genai-prices, and the request itself."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from respan_openai.exceptions import ConfigError
from respan_openai.local.contract import ContractError
from respan_openai.local.genai import _price
from respan_openai.local.prices import Price, Prices


# -- tables


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-4o", 1),
        ("openai", "openai/gpt-4o", 1),
        ("azure", "gpt-4o", 2),
        ("Azure", "AZURE/GPT-4o", 2),
        ("openrouter", "anthropic/claude", 3),
        ("anthropic", "claude", 3),
        ("openai", "gpt-4o-mini", None),
        ("anthropic", "gpt", None),
        ("claude", "anthropic", None),
    ],
)
def test_a_table_is_asked_for_provider_and_model_first(provider, model, expected) -> None:
    """The provider's own price wins over the model's; case and the provider's prefix make no difference."""
    prices = Prices({"gpt-4o": (1, 1), "azure/gpt-4o": (2, 2), "anthropic/claude": (3, 3)})
    price = prices.of(provider, model)

    assert (None if price is None else price.input) == expected


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (Price(1, 2, cached=0.5), Price(1, 2, cached=0.5)),
        ({"input": 1, "output": 2, "cached": 0.5}, Price(1, 2, cached=0.5)),
        ({"input": 1, "output": 2}, Price(1, 2)),
        ((1, 2), Price(1, 2)),
        ([1, 2], Price(1, 2)),
    ],
)
def test_a_price_may_be_listed_in_plain_values(listed, expected) -> None:
    """A dict or a pair, as a configuration file has them, is as good as a ``Price``."""
    assert Prices({"m": listed}).of("p", "m") == expected


def test_steps_may_be_listed_in_plain_values() -> None:
    """Prices of long prompts, too."""
    listed = {"input": 1, "output": 2, "above": [[200_000, {"input": 2, "output": 3}], [300_000, [4, 5]]]}

    assert Prices({"m": listed}).of("p", "m") == Price(
        1, 2, above=((200_000, Price(2, 3)), (300_000, Price(4, 5)))
    )


def test_a_table_is_copied() -> None:
    """What is done to it afterwards changes nothing, and what was passed is left as it was."""
    listed = {"input": 1, "output": 2, "above": [[5, (1, 1)]]}
    table = {"m": listed}
    prices = Prices(table)
    table["n"] = (1, 1)

    assert prices.of("p", "n") is None
    assert listed["above"] == [[5, (1, 1)]]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"m": 5}, r"prices\['m'\] must be a Price, a dict .* got int"),
        ({"m": None}, "must be a Price"),
        ({"m": (1, 2, 3)}, "got tuple"),
        ({"m": {"input": 1}}, "lacks `output`; pass 0"),
        ({"m": {"output": 1}}, "lacks `input`"),
        ({"m": {"input": 1, "output": 1, "cache": 1}}, "did you mean `cached`"),
        ({"m": {"input": 1, "output": 1, "zzz": 1}}, "`zzz` is not known. Accepted are above, audio_input"),
        ({"m": {"input": -1, "output": 1}}, r"prices\['m'\]: Price: `input` is -1"),
        ({"m": {"input": 1, "output": 1, "above": 5}}, r"prices\['m'\]: Price: `above` must hold pairs"),
        ({"m": {"input": 1, "output": 1, "above": [[5, 6]]}}, "must be a Price"),
        ({"m": (1, 1), "M": (1, 1)}, "another key differs in case only"),
        ({5: (1, 1)}, "no name of a model"),
        ([("m", (1, 1))], "got list"),
        ("m", "got str"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error_at_once(source, message) -> None:
    """It says which model, what is wrong and what is accepted; no call has to fail for it."""
    with pytest.raises(ConfigError, match=message):
        Prices(source)


def test_without_a_source_no_price_is_known() -> None:
    """Unknown, and not 0."""
    assert Prices().of("openai", "gpt-4o") is None


# -- functions


def test_a_function_is_asked_with_the_bare_model() -> None:
    """It gets the provider in lower case and the model without the provider's prefix."""
    asked = []
    prices = Prices(lambda provider, model: asked.append((provider, model)))

    assert prices.of("OpenAI", "openai/GPT-4o") is None
    assert asked == [("openai", "GPT-4o")]


@pytest.mark.parametrize("answer", [Price(1, 2), (1, 2), {"input": 1, "output": 2}])
def test_a_function_may_answer_in_plain_values(answer) -> None:
    """As a table may."""
    assert Prices(lambda *_: answer).of("p", "m") == Price(1, 2)


def _broken(*_: object) -> Price:
    raise RuntimeError("no database")


def _wrong(*_: object) -> int:
    return 5


def _negative(*_: object) -> tuple[int, int]:
    return -1, 0


@pytest.mark.parametrize("function", [_broken, _wrong, _negative])
def test_a_broken_function_costs_a_log_line(function, caplog) -> None:
    """The call goes on with an unknown price."""
    with caplog.at_level(logging.ERROR, "respan_openai"):
        assert Prices(function).of("p", "m") is None

    assert "the cost of the call is unknown" in caplog.text


def test_the_repr_says_what_the_source_is() -> None:
    """Without all of its prices."""
    assert repr(Prices({"m": (1, 1)})) == "<Prices from a table of 1>"
    assert repr(Prices(_broken)) == "<Prices from a function>"


# -- the package


@pytest.fixture
def genai() -> Prices:
    pytest.importorskip("genai_prices")
    return Prices.from_genai({"Primary": "openai"})


def test_the_package_knows_prices(genai) -> None:
    """Of models by their provider, whatever the case, or under the name that was given for it."""
    price = genai.of("OpenAI", "GPT-4o-mini")

    assert price == genai.of("primary", "gpt-4o-mini")
    assert price is not None
    assert 0 < price.cached < price.input < price.output


def test_the_package_knows_steps(genai) -> None:
    """A provider that charges long prompts otherwise is charged so."""
    price = genai.of("google", "gemini-2.5-pro")

    assert price.at(price.above[0][0] + 1).input > price.input


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("no-such-provider", "gpt-4o"), ("openai", "whisper-1")],
)
def test_what_the_package_does_not_know_is_unknown(genai, provider, model) -> None:
    """Neither what it has not, nor what is charged by something else than tokens, costs 0."""
    assert genai.of(provider, model) is None


def test_embeddings_have_no_output_to_be_charged(genai) -> None:
    """The package lists no price for it."""
    assert genai.of("openai", "text-embedding-3-small").output == 0


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({"input_mtok": 1, "output_mtok": 2, "cache_read_mtok": None}, Price(1, 2)),
        ({"input_mtok": 1, "output_mtok": 2, "web_searches_kcount": 10}, Price(1, 2)),
        ({"input_mtok": 1, "output_mtok": 2, "requests_kcount": 5}, None),
        ({"output_mtok": 2}, None),
        (
            {"input_mtok": 1, "cache_write_mtok": 2, "input_audio_mtok": 3, "output_audio_mtok": 4},
            Price(1, 0, cache_creation=2, audio_input=3, audio_output=4),
        ),
    ],
)
def test_units_of_the_package(listed, expected) -> None:
    """What is charged besides tokens makes a price unknown, unless nobody knows whether it applies."""
    assert _price(listed) == expected


def test_without_the_package_the_error_names_the_extra(monkeypatch) -> None:
    """Nothing else has to be known to get going."""
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)

    with pytest.raises(ConfigError, match=r"pip install 'respan-openai\[prices\]'"):
        Prices.from_genai()


# -- the request's own


STEPPED = Price(1, 2, cached=0.1, reasoning=3, above=((10, Price(4, 5, cached=0.4)),))


@pytest.mark.parametrize(
    ("price", "prompt", "completion", "expected"),
    [
        (None, None, None, None),
        (STEPPED, None, None, STEPPED),
        (STEPPED, 7, 8, Price(7, 8)),
        (None, 7, 8, Price(7, 8)),
        (None, 0, 0, Price(0, 0)),
        (None, 7, None, None),
        (None, None, 8, None),
        (STEPPED, 7, None, Price(7, 2, reasoning=3, above=((10, Price(7, 5)),))),
        (STEPPED, None, 8, Price(1, 8, cached=0.1, above=((10, Price(4, 8, cached=0.4)),))),
    ],
)
def test_a_request_may_bring_its_prices(price, prompt, completion, expected) -> None:
    """They win for the whole of their side (params.yaml:413-418); one alone makes no price."""
    assert Prices.with_units(price, prompt, completion) == expected


@pytest.mark.parametrize("name", ["prompt_unit_price", "completion_unit_price"])
def test_a_price_that_is_none_is_refused(name) -> None:
    """With 400, in the words of the request."""
    units = {"prompt_unit_price": 1.0, "completion_unit_price": 1.0, name: 1e300}
    with pytest.raises(ContractError) as caught:
        Prices.with_units(None, *units.values())

    error = json.loads(caught.value.reply.chunks[0])["error"]
    assert (caught.value.reply.status, error["param"]) == (400, name)
    assert f"`{name}` is 1e+300; it must be" in error["message"]
