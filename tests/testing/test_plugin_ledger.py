"""What a run adds up: calls, and what is left over, over tests and over processes."""

from __future__ import annotations

import json

from respan_openai.testing.plugin_ledger import Ledger


def test_what_travels_between_processes() -> None:
    """Plain values, which say all."""
    ledger = Ledger(replayed=2, live=1, unused=3, saved=1, idle=4, faults=5, seconds=2.5)
    ledger.left["/a.json"] = {3, 1}
    ledger.passed |= {"b", "a"}
    ledger.outgrown |= {"/a.json"}
    ledger.refused |= {"/a.json: 401"}
    ledger.missing |= {"/cassettes"}

    portable = json.loads(json.dumps(ledger.portable()))
    other = Ledger()
    other.merge(portable)

    assert other == ledger


def test_processes_add_up() -> None:
    """Numbers are added and sets united; of a file, only that is left over which nobody has used."""
    ledger = Ledger(replayed=1, left={"/a.json": {1, 2}, "/b.json": {1}}, collected={"a"})
    other = Ledger(
        replayed=2, left={"/a.json": {2, 3}, "/c.json": {5}}, collected={"a", "b"}, partial={"why"}
    )

    ledger.merge(other.portable())

    assert ledger.replayed == 3
    assert ledger.left == {"/a.json": {2}, "/b.json": {1}, "/c.json": {5}}
    assert ledger.collected == {"a", "b"}
    assert ledger.partial == {"why"}


def test_the_line() -> None:
    """What is zero for everybody is left out; the time is what the replayed calls took when they were recorded."""
    assert Ledger().summary() == ""
    assert Ledger(unused=2).summary() == "respan: 0 replayed, 0 live, 2 unused"
    assert Ledger(idle=2).summary() == "respan: 0 replayed, 0 live, 0 unused, 2 without a call"
    assert Ledger(faults=1).summary() == "respan: 0 replayed, 0 live, 0 unused, 1 fault"
    assert Ledger(faults=4).summary() == "respan: 0 replayed, 0 live, 0 unused, 4 faults"
    assert Ledger(live=3, saved=3).summary() == "respan: 0 replayed, 3 live, 0 unused, 3 recorded"
    assert Ledger(replayed=4, seconds=0.4).summary() == "respan: 4 replayed, 0 live, 0 unused"
    assert Ledger(replayed=4, seconds=58.3).summary() == "respan: 4 replayed, 0 live, 0 unused, saved 58 s"
    assert Ledger(replayed=41, unused=2, seconds=58).summary() == (
        "respan: 41 replayed, 0 live, 2 unused, saved 58 s"
    )
