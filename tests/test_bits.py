"""What the comparer of bits says of two sides."""

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bits(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("bits")


def run(state: str, *losses: float) -> dict[str, Any]:
    return {"state": state, "log": [{"step": i + 1, "loss": loss} for i, loss in enumerate(losses)]}


def test_nothing_differs(bits: Any) -> None:
    side = {("mlp", "pmap"): run("a", 1.0, 2.0), ("mlp", "jit"): run("b", 1.0, 2.0)}
    assert bits.compare(side, dict(side)) == []
    assert bits.render([], 2, "abc") == "None differ from abc: 2 runs."


def test_what_differs_is_named_with_its_first_step(bits: Any) -> None:
    here = {
        ("mlp", "pmap"): run("a", 1.0, 2.0, 3.0),
        ("aae", "pmap"): run("c", 1.0),
        ("gan", "jit"): run("e", 1.0),
    }
    there = {
        ("mlp", "pmap"): run("b", 1.0, 2.5, 3.5),
        ("aae", "pmap"): run("d", 1.0),
        ("gan", "jit"): run("e", 1.0),
    }
    found = bits.compare(here, there)
    assert [(one["config"], one["kind"], one["from_step"]) for one in found] == [
        ("aae", "differs", None),  # the last update shows in no metric
        ("mlp", "differs", 2),
    ]
    text = bits.render(found, 3, "abc")
    assert text.startswith("The bits of 2 configs are not those of abc: aae, mlp.")
    assert "| mlp, pmap" in text
    assert "the state alone |" in text


def test_what_cannot_be_compared_is_told(bits: Any) -> None:
    broken, other = ({"failed": f"jaxgan: error: no such file: /tmp/{name}"} for name in "ab")
    here = {("a", "pmap"): run("a", 1.0), ("b", "pmap"): broken, ("c", "pmap"): run("a", 1.0)}
    there = {("a", "pmap"): broken, ("b", "pmap"): other}
    found = bits.compare(here, there)
    assert [(one["config"], one["kind"]) for one in found] == [
        ("a", "cannot be compared"),
        ("b", "runs on neither side"),
        ("c", "cannot be compared"),
    ]
    text = bits.render(found, 3, "abc")
    assert text.startswith("None differ from abc: 0 runs.")
    assert "- cannot be compared: c, pmap: {'here': 'it runs', 'there': 'there is none'}" in text
