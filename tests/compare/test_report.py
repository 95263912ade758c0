from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from balance_core import cli
from balance_core.compare import loading, rows
from balance_core.compare.metrics import Price
from balance_core.compare.report import axes, page, terminal, text, view
from tests.compare import specimens
from tests.compare.specimens import cell, unfinished

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>[bold]\x1b[31m|`${7*7}{{7*7}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return specimens.store(tmp_path_factory.mktemp("results"), specimens.mnist())


@pytest.fixture(scope="module")
def table(folder):
    return rows.table(loading.load(folder), price=Price(0.12))


@pytest.fixture(scope="module")
def hostile_table(tmp_path_factory):
    """Every text that a result can choose for itself is an attack on what shows it."""
    caps = specimens.BACKENDS["ezkl"] | {
        "proof_system": HOSTILE, "field": HOSTILE, "security": {HOSTILE: 100}, "tool_licence": HOSTILE,
    }  # fmt: skip
    problem = {"node": HOSTILE, "operator": HOSTILE, "reason": HOSTILE, "mend": HOSTILE}
    extra = {"settings": {HOSTILE: HOSTILE}, "notes": [HOSTILE], "capabilities": caps}
    bad = cell("mnist_mlp", "ezkl", **extra)
    worse = unfinished("lenet5", "ezkl", "unsupported", HOSTILE, "check", problems=[problem], **extra)
    backend = bad.backend.model_dump(mode="json") | {"version": HOSTILE, "licence": HOSTILE}
    environment = bad.environment.model_dump(mode="json") | {"versions": {HOSTILE: HOSTILE}}
    cells = [type(one).from_value(one.model_dump(mode="json") | {"backend": backend, "environment": environment})
             for one in (bad, worse)]  # fmt: skip
    place = tmp_path_factory.mktemp("hostile")
    specimens.store(place, [*cells, cell("mnist_mlp", "zkml_halo2")])
    machine = specimens.machine().model_copy(
        update={"processor": HOSTILE, "kernel": HOSTILE, "memory_method": HOSTILE}
    )
    loading.write_record(place / "two-cores" / loading.MACHINE_FILE, machine)
    (place / "two-cores" / cells[0].model.folder / "broken.json").write_text(json.dumps({HOSTILE: 1}))
    found = rows.table(loading.load(place))
    assert any("broken.json was left out" in note for note in found.notes)
    return found


def printed(table, width=160):
    stream = io.StringIO()
    terminal.show_table(table, Console(file=stream, width=width, force_terminal=False))
    return stream.getvalue()


def test_the_terminal_shows_coverage_before_any_time(table):
    shown = printed(table)
    assert shown.index("covered") < shown.index("prove")
    assert "no (ai.onnx.ml.TreeEnsembleClassifier)" in shown
    assert "out of memory at prove" in shown


def test_the_terminal_ranks_no_unsound_backend(table):
    ranked, _, apart = printed(table).partition("not sound: proves nothing")
    assert "integer" in apart
    assert not re.search(r"^ *integer\b.* ms", ranked, re.MULTILINE)


def test_the_terminal_obeys_no_text_of_a_result(hostile_table):
    shown = printed(hostile_table, width=4000)
    assert "\x1b" not in shown
    assert "[bold]" in shown


def test_markdown_has_the_same_bytes_for_the_same_results(table, folder):
    assert text.markdown(table) == text.markdown(rows.table(loading.load(folder), price=Price(0.12)))


def test_markdown_tables_keep_their_columns(hostile_table, table):
    for shown in (text.markdown(hostile_table), text.markdown(table)):
        for block in re.findall(r"(?:^\|.*\n)+", shown, re.MULTILINE):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(counts) == 1
        assert "<" not in shown.replace("\\<", "")


def test_csv_has_a_line_for_each_cell_and_no_formula(hostile_table, table):
    read = list(csv.DictReader(io.StringIO(text.csv_text(table))))
    assert len(read) == len(table.rows)
    fast = next(row for row in read if row["model"] == "mnist_mlp" and row["backend"] == "zkml_halo2")
    assert float(fast["prove_seconds"]) == pytest.approx(0.23)
    assert float(fast["prove_seconds_max"]) == pytest.approx(0.23 * 1.05)
    assert fast["prove_seconds_samples"] == "3"
    formula = unfinished("lenet5", "ezkl", "failed", "=cmd|' /C calc'!A0", "prove")
    odd = rows.table(loading.Results({"two-cores": specimens.machine()}, (formula,)))
    assert next(csv.DictReader(io.StringIO(text.csv_text(odd))))["reason"].startswith("'=")
    assert len(list(csv.reader(io.StringIO(text.csv_text(hostile_table))))) == len(hostile_table.rows) + 1


def test_json_has_all_that_is_shown(table):
    read = json.loads(text.json_text(table))
    assert read["format_version"] == 1
    assert len(read["rows"]) == len(table.rows)
    assert {metric["name"] for metric in read["metrics"]} >= set(read["rows"][0]["values"])
    assert [row["ranked"] for row in read["rows"] if row["backend"] == "integer"] == [False]


def test_the_page_asks_no_network_and_runs_only_its_own_script(table):
    html = page.page(table)
    outside = set(re.findall(r"""(?:https?:)?//[^\s"'<>)]+""", html)) - {"http://www.w3.org/2000/svg",
                                                                        "http://www.w3.org/1999/xlink"}  # fmt: skip
    assert not {link for link in outside if not link.startswith("// ")}, outside
    assert "default-src 'none'" in html
    assert len(re.findall(r"<script", html)) == 1


class Tags(HTMLParser):
    """Collects the names of elements and of attributes, as a browser would read them."""

    def __init__(self):
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_takes_no_text_of_a_result_as_markup(hostile_table):
    html = page.page(hostile_table, title=HOSTILE)
    tags = Tags()
    tags.feed(html)
    assert tags.elements.count("script") == 1
    assert not {"img", "image", "iframe", "object", "embed", "foreignobject"} & set(tags.elements)
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert not {"src", "srcset", "action"} & tags.attributes
    assert html.count("alert(1)") > 10  # it is all there, as text
    assert "\x1b" not in html
    assert "{{7*7}}" in html


def test_a_word_is_not_taken_for_a_formula_in_a_drawing(hostile_table):
    html = page.page(hostile_table)
    assert "$" in html  # it stays what it is: matplotlib would draw what stands between two of them as a formula


def test_drawings_have_words_and_names_of_their_own(table):
    html = page.page(table)
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    images = re.findall(r"<svg [^>]*>", html)
    assert len(images) > 20
    for image in images:
        assert 'role="img"' in image
        labels = re.search(r'aria-labelledby="([^"]+)"', image)[1].split()
        assert set(labels) <= set(ids)
    assert "DejaVu" not in html
    assert not re.search(r"#0[1-5]0[0-9a-f]{4}", html)  # every stand-in became a colour of the page


def test_sizes_of_a_family_are_drawn_with_their_exponent(table):
    html = page.page(table)
    assert "ladder: Prove" in html
    assert "size to the power 0.65" in html  # specimens grow with the width to 1.3, and the size is its square


def test_estimates_are_scored(table):
    score = next(score for score in view.scores(table) if score.backend == "ezkl" and "prove" in score.metric.name)
    plain = [abs(row.predicted["prove_seconds"] / row.get("prove_seconds") - 1) for row in table.ranked
             if row.backend == "ezkl"]  # fmt: skip
    assert sorted(score.errors) == pytest.approx(sorted(plain))


def test_rows_that_cannot_be_compared_say_in_what(table):
    _, _, group = next(group for group in table.groups() if group[1] == "mnist_mlp")
    assert view.differences(group) == ("proof system, field or curve, soundness, setup, zero-knowledge, post-quantum")
    badges = {row.backend: [badge.text for badge in view.badges(row)] for row in group}
    assert "test setup" in badges["ezkl"]
    assert "PQ" in badges["giza_orion"]


def test_a_verifier_that_takes_a_forgery_is_marked():
    taken = [{"target": "proof", "attempt": "one bit", "rejected": False, "verdict": "ok"}]
    table = rows.table(
        loading.Results({"two-cores": specimens.machine()}, (cell("mnist_mlp", "ezkl", tamperings=taken),))
    )
    assert "1 forgeries accepted" in [badge.text for badge in view.badges(table.rows[0])]


def test_machines_are_merged_and_not_ranked_against_each_other(tmp_path):
    slow = {"prove": {"samples": specimens.samples(50.0, 100)}}
    first = specimens.store(tmp_path / "a", [cell("mnist_mlp", "ezkl", on="one")])
    second = specimens.store(tmp_path / "b", [cell("mnist_mlp", "zkml_halo2", on="two", stages=slow)])
    table = rows.table(loading.load(first, second))
    assert [machine.name for machine in table.machines] == ["one", "two"]
    assert [len(group) for _, _, group in table.groups()] == [1, 1]
    html = page.page(table)
    assert 'class="best"' not in html
    assert "on 2 machines" in html


def test_nothing_at_all_makes_a_page(tmp_path):
    only = unfinished("lenet5", "ezkl", "failed", "it broke", "prove")
    table = rows.table(loading.load(specimens.store(tmp_path, [only])))
    html = page.page(table)
    assert "What did not work" in html
    assert "<svg" not in html


def test_extreme_figures_break_no_drawing(tmp_path):
    huge = {"setup": {"samples": specimens.samples(1e300, 1)}, "prove": {"samples": specimens.samples(1e-300, 1)},
            "verify": {"samples": specimens.samples(0.0, 0)}}  # fmt: skip
    table = rows.table(loading.load(specimens.store(tmp_path, [
        cell("mnist_mlp", "ezkl", stages=huge), cell("mnist_mlp", "zkml_halo2", stages=huge)])))  # fmt: skip
    assert "mnist_mlp" in page.page(table)
    assert printed(table)


@pytest.mark.parametrize("unit", ["s", "B", "count", "", "gas"])
def test_axes_have_few_round_ticks(unit):
    for low, high in ((0.001, 0.01), (0.5, 200), (1, 1e9), (3e7, 4e10)):
        assert len(axes.round_numbers(low, high, unit)) <= 5


def run(*arguments):
    return cli.invoke(["report", *map(str, arguments)])


def test_the_command_writes_what_a_files_ending_asks_for(folder, tmp_path, capsys):
    for ending, start in ((".html", "<!doctype html>"), (".md", "## What"), (".csv", "machine,"), (".json", "{")):
        out = tmp_path / f"report{ending}"
        assert run(folder, "-o", out) == 0
        assert out.read_text().startswith(start)
    capsys.readouterr()
    assert run(folder, "-o", tmp_path / "report.pdf") == 2
    assert "names no form" in capsys.readouterr().err
    assert run(tmp_path / "nowhere") == 2
    assert "hint:" in capsys.readouterr().err


def test_the_command_prints_tables(folder, capsys):
    assert run(folder) == 0
    assert "zkml_halo2" in capsys.readouterr().out
    assert run(folder, "--format", "markdown", "--part", "support") == 0
    assert capsys.readouterr().out.startswith("| model | ezkl |")
    assert run(folder, "--json", "--price", "0.5", "--currency", "EUR") == 0
    read = json.loads(capsys.readouterr().out)
    assert any("0.5 EUR" in note for note in read["notes"])
    assert any("cost_per_1000" in row["values"] for row in read["rows"])


@pytest.mark.parametrize("price", ["nan", "inf", "1e308"])
def test_a_price_that_is_no_number_breaks_nothing(price, folder, capsys):
    assert run(folder, "--json", "--price", price) == (0 if price == "1e308" else 2)
    capsys.readouterr()


def test_damaged_results_are_named_and_the_rest_is_shown(tmp_path, capsys):
    specimens.store(tmp_path, [cell("mnist_mlp", "ezkl"), cell("lenet5", "ezkl")])
    place = next(tmp_path.glob("two-cores/lenet5-*/*.json"))
    place.write_bytes(place.read_bytes()[:100])
    assert run(tmp_path) == 0
    shown = capsys.readouterr().out
    assert "was left out" in shown
    assert "mnist_mlp" in shown


def test_without_its_libraries_the_page_says_what_to_install(folder, tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert run(folder, "-o", tmp_path / "page.html") == 5
    assert "pip install 'balance-core[compare]'" in capsys.readouterr().err


def test_estimates_are_scored_after_a_fit_too(table):
    for score in view.scores(table):
        assert len(score.fitted) == len(score.errors)  # every specimen's machine has other models
    prove = next(score for score in view.scores(table) if score.backend == "ezkl" and "prove" in score.metric.name)
    assert prove.fitted_median < prove.median  # specimens are off by a constant factor, apart from the ladder's


def test_a_busy_machine_is_told():
    one = cell("mnist_mlp", "ezkl")
    busy = one.environment.model_copy(update={"load_average": 9.0})
    results = loading.Results({"two-cores": specimens.machine()}, (one.model_copy(update={"environment": busy}),))
    assert any("busy with other work for 1 of 1 cells" in note for note in rows.table(results).notes)
    assert not rows.table(loading.Results({"two-cores": specimens.machine()}, (one,))).notes


def test_markdown_leaves_names_as_they_are():
    assert text._escape("mnist_mlp on zkml_halo2") == "mnist_mlp on zkml_halo2"
    assert text._escape("_em_ *b* <i>|`") == "\\_em\\_ \\*b\\* \\<i\\>\\|\\`"
