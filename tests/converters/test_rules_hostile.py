"""Rule sets of strangers: refused or read, never a crash, a hang or a full memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from balance_core.converters.rules import RulesConverter
from balance_core.errors import ConfigError
from tests.converters.mutations import try_all

EXAMPLES = Path(__file__).parents[2] / "examples" / "rules"
WORDS = [
    b"99999999999999999", b"&a ", b"*a", b"!!python/object:os.system ", b"- ", b"[", b"{", b": ", b" or not ",
    b" and ", b"\n", b"'", b"(((((", b"0.000000001", b"-1", b"\xff", b"\t", b"%YAML 9.9\n", b"---\n", b"...", b"? ",
    b'"\\UFFFFFFFF"', b"<<: ", b"when: ", b"range: [0, 1]", b"resolution: 0.000000001", b"certainty", b"flag",
]  # fmt: skip


def head(facts: str) -> str:
    return f"balance-rules: 1\nname: n\nkind: decision table\nfacts:\n{facts}decisions: [a, b]\ndefault: a\nrules:\n"


def refused(text: str | bytes, tmp_path, *, seconds: float = 10) -> str:
    path = tmp_path / "rules.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        RulesConverter().convert(path)
    assert time.monotonic() - started < seconds
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("name", ["bank", "clinic", "sensors"])
def test_mutated_rule_sets_are_read_or_refused(name, tmp_path):
    data = (EXAMPLES / f"{name}.yaml").read_bytes()
    ends = try_all(RulesConverter().convert, data, range(60), WORDS, tmp_path / "rules.yaml")
    assert ends["refused"]


@pytest.mark.soak
def test_ten_thousand_mutated_rule_sets_are_read_or_refused(tmp_path):
    for name in ("bank", "clinic", "sensors"):
        data = (EXAMPLES / f"{name}.yaml").read_bytes()
        ends = try_all(RulesConverter().convert, data, range(10**6, 10**6 + 3400), WORDS, tmp_path / "rules.yaml")
        assert min(ends.values()) > 0


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "line 1: anchors and aliases" in refused("\n".join(lines), tmp_path)


def test_deep_nesting_is_refused(tmp_path):
    for text in (
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 100_000,
        "? " * 50_000,
        "a:\n" + "".join(" " * i + "a:\n" for i in range(1, 600)),
    ):
        refused(text, tmp_path)
    facts = "  x: {range: [0, 9]}\n"
    for condition in ("(" * 40 + "x > 1" + ")" * 40, "not " * 40 + "x > 1"):
        assert "nested deeper" in refused(head(facts) + f"  - {{id: R, when: {condition}, decide: b}}\n", tmp_path)


def test_large_documents_are_refused(tmp_path):
    assert "more than" in refused("#" * 300_000, tmp_path)
    assert "parts" in refused("a:\n" + "- x\n" * 20_000, tmp_path, seconds=20)
    rules = "".join(f"  - {{id: R{i}, when: x > 1, decide: b}}\n" for i in range(600))
    assert "rules are taken" in refused(head("  x: {range: [0, 9]}\n") + rules, tmp_path, seconds=20)


def test_numbers_too_large_to_prove_are_refused(tmp_path):
    rule = "  - {id: R, when: %s, decide: b}\n"
    fine = "  x: {range: [0, 999999999], resolution: 0.000000001}\n"
    assert "steps" in refused(head(fine) + rule % "x > 1", tmp_path)
    facts = "  x: {range: [0, 2], resolution: 0.000000001}\n  y: {range: [0, 1]}\n"
    assert "too large" in refused(head(facts) + rule % "123456.789012345 * x + y > 7", tmp_path)
    assert "no number" in refused(head("  x: {range: [0, 1e9]}\n") + rule % "x > 1", tmp_path)


NO_TABLES = [b"", b"\xff\xfe\x00", b"\x00", b"a: \x07", b"x", b"[1]", b'a: "\\UFFFFFFFF"', b"%YAML 1" + b"1" * 5000]


@pytest.mark.parametrize("data", NO_TABLES)
def test_what_is_no_table_of_text_is_refused(data, tmp_path):
    assert "line " in refused(data, tmp_path)


def test_a_contradiction_that_is_too_hard_to_exclude_is_refused_in_bounded_time(tmp_path):
    names = [f"x{i}" for i in range(24)]
    facts = "".join(f"  {name}: {{range: [0, 1000]}}\n" for name in names)
    triples = zip(names[:-2], names[1:-1], names[2:], strict=True)
    hard = " and ".join(f"{a} + {b} - 3 * {c} != {i}" for i, (a, b, c) in enumerate(triples))
    sums = " + ".join(f"{7 * (i + 1)} * {name}" for i, name in enumerate(names))
    # Modulo 7 the two sums are never met together, which no interval shows.
    rules = f"  - {{id: R, when: {hard} and {sums} + x3 = 70000 + x4, decide: a}}\n"
    rules += f"  - {{id: S, when: {sums} + 8 * x3 + 6 * x4 = 70001 + 14 * x5, decide: b}}\n"
    refused(head(facts) + rules, tmp_path, seconds=30)
