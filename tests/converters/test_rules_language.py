"""The rule language: what it accepts means what docs/rules.md says, and every fault is named with its line."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core.converters.rules import RulesConverter
from balance_core.converters.rules.graph import to_onnx
from balance_core.converters.rules.reader import rule_set
from balance_core.errors import ConfigError

TABLE = """\
balance-rules: 1
name: test
kind: decision table
facts:
  x: {unit: m, range: [0, 100]}
  y: {unit: m, range: [-5, 5], resolution: 0.1}
  t: {unit: s, range: [0, 100]}
  on: flag
  colour: [red, green, blue]
decisions: [a, b, c]
default: a
rules:
  - {id: USE, when: x > 1000000 - x or y > 4 or t > 5 or on or colour = red, decide: a}
"""
CERTAIN = """\
balance-rules: 1
name: test
kind: certainty
facts:
  e: certainty
  x: {range: [0, 10]}
hypotheses: [h]
decisions: [a, b, none]
default: none
rules:
"""


def parsed(text: str):
    return rule_set(text.encode(), "test.yaml")


def table(*rules: str, use: str = "x >= 0 or y >= 0 or t >= 0 or on or colour = red", top: str = "") -> str:
    """Return a document with these rules, after one that asks for every fact."""
    head = TABLE.partition("rules:\n  -")[0]
    first = f"  - {{id: USE, when: {use}, decide: a, priority: -1}}\n"
    return head + top + "rules:\n" + first + "".join(f"  - {rule}\n" for rule in rules)


def run(text: str, **facts):
    proto = to_onnx(parsed(text))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [info.name for info in session.get_inputs()]
    count = len(next(iter(facts.values())))
    inputs = {name: np.array(facts.get(name, [0] * count), dtype=np.int64) for name in names}
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("x >= 7", lambda x, _: x >= 7),
        ("x = 7", lambda x, _: x == 7),
        ("x != 7", lambda x, _: x != 7),
        ("not x <= 7", lambda x, _: x > 7),
        ("3 <= x < 9", lambda x, _: 3 <= x < 9),
        ("9 > x >= 3", lambda x, _: 3 <= x < 9),
        ("y > 0.3", lambda _, y: y > Fraction("0.3")),
        ("y > 0.25", lambda _, y: y > Fraction("0.25")),
        ("-y >= 0.25", lambda _, y: -y >= Fraction("0.25")),
        ("x - 2 * y > 4", lambda x, y: x - 2 * y > 4),
        ("x = 10 * y", lambda x, y: x == 10 * y),
        ("x != 10 * y or x = 0", lambda x, y: x != 10 * y or x == 0),
        ("0.5 * x + 1 >= y * 3 - 0.1", lambda x, y: x / Fraction(2) + 1 >= y * 3 - Fraction("0.1")),
        ("not (x > 3 and (y < 1 or x < 8))", lambda x, y: not (x > 3 and (y < 1 or x < 8))),
        ("x > 3 or x < 2 and y > 0", lambda x, y: x > 3 or (x < 2 and y > 0)),
    ],
)
def test_a_condition_holds_exactly_where_it_says(condition, met):
    xs, ys = np.meshgrid(np.arange(12), np.arange(-50, 51))
    found = run(table(f"{{id: R, when: {condition}, decide: b}}"), x=xs.ravel(), y=ys.ravel())
    expected = [met(int(x), Fraction(int(y), 10)) for x, y in zip(xs.ravel(), ys.ravel(), strict=True)]
    assert found["fired"][:, 1].astype(bool).tolist() == expected
    assert 0 < sum(expected) < len(expected)


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("on", [0, 0, 0, 1, 1, 1]),
        ("not on", [1, 1, 1, 0, 0, 0]),
        ("on = no", [1, 1, 1, 0, 0, 0]),
        ("on != no", [0, 0, 0, 1, 1, 1]),
        ("colour = green", [0, 1, 0, 0, 1, 0]),
        ("colour != green", [1, 0, 1, 1, 0, 1]),
        ("colour in (red, blue) and on", [0, 0, 0, 1, 0, 1]),
        ("colour not in (red, blue) or on", [0, 1, 0, 1, 1, 1]),
        ("{colour: green, on: yes}", [0, 0, 0, 0, 1, 0]),
        ("{colour: '!= green', x: '<= 2'}", [1, 0, 1, 1, 0, 1]),
    ],
)
def test_flags_choices_and_rows_of_tests(condition, met):
    quoted = condition if condition.startswith("{") else f'"{condition}"'
    found = run(table(f"{{id: R, when: {quoted}, decide: b}}"), on=[0, 0, 0, 1, 1, 1], colour=[0, 1, 2] * 2)
    assert found["fired"][:, 1].tolist() == met
    assert found["decision"].tolist() == met


def test_the_highest_priority_decides_and_gives_the_score():
    text = table(
        "{id: LOW, when: x > 5, decide: b, score: 3}",
        "{id: HIGH, when: x > 8, decide: c, score: 70, priority: 2}",
        top="score: {base: 1}\n",
    ).replace("decide: a, priority: -1", "decide: a, score: 2, priority: -1")
    found = run(text, x=[0, 6, 9])
    assert found["decision"].tolist() == [0, 1, 2]
    assert found["score"].tolist() == [2, 3, 70]


def test_certainties_combine_as_documented():
    rules = """\
  - {id: A1, when: e, conclude: a, certainty: 0.6}
  - {id: A2, when: x > 4, conclude: a, certainty: 0.333}
  - {id: A3, when: x > 8, conclude: a, certainty: -0.25}
  - {id: H, when: e and x > 2, conclude: h, certainty: 0.5}
  - {id: B, when: h or x > 9, conclude: b, certainty: 0.9}
"""
    found = run(CERTAIN + rules, e=[500, 500, 199, 1000, -1000, 555], x=[0, 5, 5, 9, 10, 3])
    # 0.555 * 0.6 = 0.333; 0.555 * 0.5 = 0.2775, rounded to 0.278; 0.278 * 0.9 = 0.2502
    # 0.3 + 0.333 - 0.0999 = 0.5331: the product rounds to 0.1
    assert found["certainties"].tolist() == [
        [300, 0], [533, 225], [333, 0], [733 - 250, 450], [333 - 250, 900], [333, 250],
    ]  # fmt: skip
    assert found["decision"].tolist() == [2, 0, 2, 2, 1, 2]
    assert found["score"].tolist() == [300, 533, 333, 483, 900, 333]
    assert found["fired"][2].tolist() == [0, 1, 0, 0, 0]


def test_of_equally_certain_decisions_the_first_is_taken():
    rules = """\
  - {id: B, when: e, conclude: b, certainty: 0.8}
  - {id: A, when: x > 2, conclude: a, certainty: 0.8}
  - {id: H, when: x > 9, conclude: h, certainty: 0.8}
"""
    assert run(CERTAIN + rules, e=[1000, 1000, 999], x=[0, 5, 5])["decision"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (table("{id: R, when: x > 101, decide: b}"), 14, "never true"),
        (table("{id: R, when: x > 5 and x < 5, decide: b}"), 14, "unreachable"),
        (table("{id: R, when: 2 * x = 5, decide: b}"), 14, "unreachable"),
        (table("{id: R, when: x - 2 * y > 5 and x < 2 and y > 0, decide: b}"), 14, "unreachable"),
        (table("{id: R, when: colour = red and colour = blue, decide: b}"), 14, "unreachable"),
        (
            table("{id: R, when: x > 50, decide: b, priority: 3}", "{id: S, when: x > 60, decide: c}"),
            15,
            "S is unreachable: rules of higher priority",
        ),
        (table("{id: R, when: x > 50, decide: b}", "{id: S, when: x < 52, decide: c}"), 15, "met by x = 51"),
        (table("{id: R, when: on, decide: b}", "{id: R, when: on, decide: b}"), 15, "first in line 14"),
        (table("{id: R, when: on, decide: d}"), 14, "no decision"),
        (table("{id: R, when: z > 5, decide: b}"), 14, "'z' is no fact"),
        (table("{id: R, when: x > t, decide: b}"), 14, "different units"),
        (table("{id: R, when: x * y > 2, decide: b}"), 14, "multiplies two facts"),
        (table("{id: R, when: x, decide: b}"), 14, "compare it"),
        (table("{id: R, when: colour > 1, decide: b}"), 14, "is a choice"),
        (table("{id: R, when: colour = pink, decide: b}"), 14, "no choice"),
        (table("{id: R, when: x > , decide: b}"), 14, "ends too early"),
        (table("{id: R, when: (x > 3, decide: b}"), 14, "missing"),
        (table("{id: R, when: 3 < x > 5, decide: b}"), 14, "do not make a range"),
        (table("{id: R, when: x > 3 x, decide: b}"), 14, "does not continue"),
        (table("{id: R, when: 3 > 2, decide: b}"), 14, "always true"),
        (table("{id: R, when: x > 3; y, decide: b}"), 14, "not understood"),
        (table("{id: R, when: x > 3}"), 14, "needs one effect"),
        (table("{id: R, when: x > 3, points: 4}"), 14, "no field 'points'"),
        (table("{id: R, when: x > 3, decide: b, prio: 4}"), 14, "no field 'prio'"),
        (table("{id: R, when: x > 3, decide: b, priority: high}"), 14, "no number"),
        (table("{id: R, when: x > 3, decide: b, score: 0.5}"), 14, "no multiple of the resolution"),
        (table(use="x > 3 or y > 0 or on or colour = red"), 7, "no rule asks for the fact t"),
        (TABLE.replace("y: {unit: m, range: [-5, 5]", "y: {unit: m, range: [-5, 5.05]"), 6, "no multiple"),
        (TABLE.replace("range: [0, 100]}\n  y", "range: [5, 5]}\n  y"), 5, "less than two values"),
        (TABLE.replace("default: a", "default: z"), 11, "no decision"),
        (TABLE.replace("kind: decision table", "kind: tree"), 3, "unknown"),
        (TABLE.replace("balance-rules: 1", "balance-rules: 2"), 1, "version"),
        (TABLE.replace("on: flag", "x: flag"), 8, "stands twice, first in line 5"),
        (TABLE.replace("on: flag", "on: !!bool flag"), 8, "tag"),
        (TABLE.replace("on: flag", "on: &a flag"), 8, "anchors"),
        (TABLE + "  - *a\n", 14, "anchors"),
        (TABLE + "---\nx: 1\n", 14, "second document"),
        (TABLE + " - [", 14, "not YAML"),
        (CERTAIN + "  - {id: R, when: e and x > 3, conclude: c, certainty: 0.5}\n", 11, "neither a decision nor"),
        (CERTAIN + "  - {id: R, when: e, conclude: a, certainty: 1.5}\n", 11, "more than"),
        (CERTAIN + "  - {id: R, when: e and x > 3 and h, conclude: a, certainty: 0.5}\n", 11, "no rule concludes"),
        (
            CERTAIN + "  - {id: R, when: e and a and x > 3, conclude: h, certainty: 0.5}\n"
            "  - {id: S, when: h, conclude: a, certainty: 0.5}\n",
            11,
            "circle",
        ),
        (CERTAIN + "  - {id: R, when: e, decide: a}\n", 11, "compare certainties with numbers"),
    ],
)  # fmt: skip
def test_every_fault_is_named_with_its_line(text, line, what):
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert re.search(rf"line {line}: [^;]*{re.escape(what)}", caught.value.message), caught.value.message
    assert "\n" not in caught.value.message


SCORECARD = """\
balance-rules: 1
name: test
kind: scorecard
facts:
  x: {range: [0, 10]}
decisions: [bad, good]
default: bad
score: {base: 10, resolution: 0.5}
groups: {g: partition}
bands:
  - {from: 12.5, decide: good}
rules:
  - {id: A, when: x < 5, points: 2, group: g}
  - {id: B, when: x >= 5, points: 3.5, group: g}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("x >= 5", "x > 5", 9, "no rule of group g is met by x = 5"),
        ("x >= 5", "x >= 4", 14, "contradicts rule A in line 13: both are met by x = 4"),
        ("from: 12.5", "from: 14", 11, "no score is as high"),
        ("points: 2", "points: 2.25", 13, "no multiple"),
        ("  - {from: 12.5", "  - {from: 1, decide: bad}\n  - {from: 12.5", 12, "highest score to the lowest"),
        (
            "  - {from: 12.5",
            "  - {from: 13.5, decide: bad}\n  - {from: 12, decide: good}\n  - {from: 11.5",
            13,
            "above it",
        ),
        ("group: g}\n  - {id: B", "group: k}\n  - {id: B", 13, "not among the groups"),
    ],
)
def test_scorecards_keep_their_promises(old, new, line, what):
    assert run(SCORECARD, x=[4, 5])["score"].tolist() == [24, 27]
    assert run(SCORECARD, x=[4, 5])["decision"].tolist() == [0, 1]
    with pytest.raises(ConfigError, match=rf"line {line}: [^;]*{what}"):
        parsed(SCORECARD.replace(old, new))


def test_all_faults_are_reported_at_once():
    with pytest.raises(ConfigError, match=r"line 14: .*; line 15: .*; line 16: "):
        parsed(table("{id: R}", "{id: S, when: z}", "{id: T, when: x > 1, decide: q}"))


FACTS = {"x": (0, 20), "y": (-10, 10), "t": (0, 5)}
NUMBERS = st.integers(-12, 22)
COMPARED = st.tuples(
    st.sampled_from(["x", "y", "t", "x - 1 * y", "2 * x + 3 * t", "t - 0.5 * y"]),
    st.sampled_from(["<", "<=", "=", "!=", ">=", ">"]),
    NUMBERS,
).map(lambda parts: f"{parts[0]} {parts[1]} {parts[2]}")
CONDITIONS = st.recursive(
    COMPARED,
    lambda inner: st.one_of(
        inner.map(lambda c: f"not ({c})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CONDITIONS, min_size=1, max_size=4))
def test_any_rules_decide_as_python_reads_them_or_are_refused_for_a_reason_that_python_confirms(conditions):
    ranges = "".join(f"  {name}: {{range: [{lo}, {hi}]}}\n" for name, (lo, hi) in FACTS.items())
    use = "  - {id: USE, when: x + y + t >= 35, decide: d1}\n"
    text = (
        f"balance-rules: 1\nname: n\nkind: decision table\nfacts:\n{ranges}decisions: [d0, d1]\ndefault: d0\nrules:\n"
        + use
        + "".join(f"  - {{id: R{i}, when: {c}, decide: d1}}\n" for i, c in enumerate(conditions))
    )
    grid = np.meshgrid(*[np.arange(lo, hi + 1) for lo, hi in FACTS.values()])
    facts = {name: column.ravel() for name, column in zip(FACTS, grid, strict=True)}
    cells = [dict(zip(facts, map(int, row), strict=True)) for row in zip(*facts.values(), strict=True)]
    meant = [re.sub(r"(?<![<>!])=", "==", c) for c in conditions]
    held = np.array([[bool(eval(c, {}, cell)) for c in meant] for cell in cells[::7]])  # noqa: S307 - text of this test
    try:
        found = run(text, **facts)
    except ConfigError as error:
        places = [int(n) for n in re.findall(r"rule R(\d+) is unreachable", error.message)]
        if "never true" not in error.message and (not places or held[:, places].any()):
            raise
        return
    assert (found["fired"][::7, 1:].astype(bool) == held).all()
    decided = held.any(axis=1) | [cell["x"] + cell["y"] + cell["t"] >= 35 for cell in cells[::7]]
    assert (found["decision"][::7].astype(bool) == decided).all()


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        RulesConverter().convert(tmp_path / "none.yaml")
