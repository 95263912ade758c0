from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balance_core.compare import metrics, pareto, rows, scaling
from balance_core.compare.facts import FACTS
from balance_core.compare.metrics import METRICS, Price, View
from balance_core.compare.report.numbers import DASH, show
from tests.compare import specimens
from tests.compare.specimens import cell, samples


def stage(*seconds, memory=100):
    one = samples(1.0, memory, count=1)[0]
    return {"samples": [one | {"wall_seconds": s, "cpu_seconds": 2 * s} for s in seconds]}


def test_every_figure_of_the_list_is_there_once():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    wanted = {
        "setup_seconds",
        "prove_seconds",
        "verify_seconds",
        "prove_cpu_seconds",
        "memory_bytes",
        "proving_key_bytes",
        "verifying_key_bytes",
        "proof_bytes",
        "bundle_bytes",
        "calldata_bytes",
        "deploy_gas",
        "verify_gas",
        "rows",
        "constraints",
        "steps",
        "macs_per_second",
        "top1_agreement",
        "largest_error",
        "mean_error",
        "bits",
        "proven_fraction",
        "cost_per_1000",
        "break_even",
    }
    assert wanted <= set(names)
    assert all(metric.label and metric.means and metric.better in {"less", "more", ""} for metric in METRICS)


def test_times_are_medians_of_all_samples_with_their_range():
    found = metrics.values(View(cell("mnist_mlp", "ezkl", stages={"prove": stage(3.0, 1.0, 9.0, 2.0)})))
    took = found["prove_seconds"]
    assert (took.middle, took.low, took.high, took.samples) == (2.5, 1.0, 9.0, 4)
    assert found["prove_cpu_seconds"].middle == 5.0


def test_memory_is_of_the_hungriest_stage_of_the_proving_side():
    stages = {"setup": stage(1, memory=300), "prove": stage(1, memory=200), "verify": stage(1, memory=900)}
    found = metrics.values(View(cell("mnist_mlp", "ezkl", stages=stages)))
    assert found["memory_bytes"].middle == 300 * 2**20


def test_what_was_not_measured_is_absent_rather_than_zero():
    empty = specimens.unfinished("mnist_mlp", "ezkl", "failed", "it broke", "setup")
    found = metrics.values(View(empty, price=Price(1.0)))
    assert found == {}


def test_costs_follow_from_the_price_that_the_user_gives():
    view = View(cell("mnist_mlp", "ezkl", stages={"prove": stage(36.0)}), price=Price(0.5))
    assert metrics.values(view)["cost_per_1000"].middle == pytest.approx(5.0)  # 10 hours at 0.5
    assert "cost_per_1000" not in metrics.values(View(view.cell))


def test_macs_per_second_are_the_models_over_the_median():
    view = View(cell("mnist_mlp", "ezkl", macs=1000, stages={"prove": stage(2.0, 4.0, 5.0)}))
    assert metrics.values(view)["macs_per_second"].middle == 250


def test_bits_are_the_range_over_the_largest_error():
    found = metrics.values(View(cell("mnist_mlp", "ezkl")))
    assert found["bits"].middle == pytest.approx(math.log2(24.0 / 0.11))
    exact = cell("mnist_mlp", "ezkl").faithfulness.model_dump(mode="json")
    exact["fidelity"]["largest_error"] = 0.0
    assert "bits" not in metrics.values(View(cell("mnist_mlp", "ezkl", faithfulness=exact)))


def test_rows_are_taken_from_a_logarithm_where_the_backend_tells_only_that():
    circuit = {"circuit_id": "c" * 64, "setup_trust": {"trust": "ceremony"}, "settings": {}}
    view = View(cell("mnist_mlp", "zkml_halo2", circuit=circuit | {"facts": {"log_rows": 12}}))
    assert metrics.values(view)["rows"].middle == 4096
    hostile = View(cell("mnist_mlp", "zkml_halo2", circuit=circuit | {"facts": {"log_rows": 10**9, "steps": "many"}}))
    assert not {"rows", "steps"} & set(metrics.values(hostile))


@pytest.mark.parametrize(
    ("setup", "prove", "proofs"),
    [(11.0, 1.0, 5), (1.0, 3.0, 0), (0.5, 9.0, 0), (11.0, 3.0, None), (11.0, 4.0, None)],
    ids=["pays", "as-soon", "first", "never", "worse"],
)
def test_a_slower_setup_pays_back_after_so_many_proofs(setup, prove, proofs):
    peer = cell("mnist_mlp", "zkml_halo2", stages={"setup": stage(1.0), "prove": stage(3.0)})
    own = cell("mnist_mlp", "ezkl", stages={"setup": stage(setup), "prove": stage(prove)})
    value = metrics.values(View(own, (peer,))).get("break_even")
    assert (value.middle if value else None) == proofs


def test_security_told_by_the_circuit_comes_before_what_is_declared():
    fact = next(fact for fact in FACTS if fact.name == "security")
    circuit = {"circuit_id": "c" * 64, "setup_trust": {"trust": "transparent"}, "settings": {},
               "facts": {"security_bits_conjectured": 40, "security_bits_johnson": 20}}  # fmt: skip
    weakened = cell("mnist_mlp", "giza_orion", circuit=circuit)
    assert fact.function(weakened) == "40 bits (conjectured), 20 bits (johnson)"
    assert fact.function(cell("mnist_mlp", "giza_orion")).startswith("96 bits (FRI up to capacity")


def test_an_unsound_backend_is_nobodys_peer_and_in_no_group():
    table = rows.table(specimens_results([cell("mnist_mlp", "ezkl"), cell("mnist_mlp", "integer")]))
    assert [row.backend for row in table.unranked] == ["integer"]
    assert [row.backend for _, _, group in table.groups() for row in group] == ["ezkl"]
    assert all(row.get("break_even") is None for row in table.rows)


def test_rows_of_other_conditions_are_not_set_beside_each_other():
    few = cell("mnist_mlp", "ezkl").conditions.model_dump(mode="json") | {"threads": 1}
    table = rows.table(
        specimens_results([cell("mnist_mlp", "zkml_halo2"), cell("mnist_mlp", "ezkl", conditions=few)])
    )
    assert [len(group) for _, _, group in table.groups()] == [1, 1]


def specimens_results(cells):
    from balance_core.compare.loading import Results

    return Results({one.machine: specimens.machine(one.machine) for one in cells}, tuple(cells))


def test_texts_of_results_are_made_harmless():
    assert rows.plain("a\x1b[31mb\nc\u202ed\x00e") == "a[31mb cde"
    assert rows.plain("x" * 9000, 10) == "x" * 9 + "…"
    assert rows.typed({"b": True, "a": 3}) == "-o a=3 -o b=true"


points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(points)
def test_nobody_on_the_front_is_beaten_and_everybody_else_is(some):
    front = pareto.front(some)
    assert front == sorted(front, key=lambda place: some[place])

    def beaten(point):
        return any(o[0] <= point[0] and o[1] <= point[1] and o != point for o in some)

    assert [beaten(some[place]) for place in front] == [False] * len(front)
    assert all(beaten(point) for place, point in enumerate(some) if place not in front)


@given(st.floats(0.1, 3), st.floats(1e-6, 1e3))
def test_a_power_law_is_found_again(exponent, factor):
    sizes = [10.0, 100.0, 1000.0, 5000.0]
    law = scaling.fit(sizes, [factor * size**exponent for size in sizes])
    assert law.exponent == pytest.approx(exponent, abs=1e-6)
    assert law.at(300.0) == pytest.approx(factor * 300.0**exponent, rel=1e-6)
    assert law.error == pytest.approx(0, abs=1e-6)


def test_two_sizes_are_not_enough_for_a_law():
    assert scaling.fit([10, 20], [1, 2]) is None
    assert scaling.fit([10, 10, 20], [1, 1, 2]) is None


def test_the_error_of_an_exponent_is_the_regressions():
    law = scaling.fit([1, math.e, math.e**2], [1, math.e**2, math.e**2])  # logarithms 0, 2, 2 over 0, 1, 2
    assert law.exponent == pytest.approx(1.0)
    assert law.error == pytest.approx(math.sqrt((1 / 9 + 4 / 9 + 1 / 9) / 2))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.0123, "s", "12.3 ms"), (4.2, "s", "4.20 s"), (600, "s", "10 min"), (2**31, "B", "2 GiB"),
     (620_000, "gas", "620 k"), (0.985, "share", "98.5 %"), (None, "s", DASH), (math.inf, "", DASH),
     (1e300, "s", "2.78e+296 h"), (0.11, "", "0.110"), (12, "proofs", "12 proofs"), (0, "B", "0 B")],
)  # fmt: skip
def test_numbers_are_shown_as_people_read_them(value, unit, text):
    assert show(value, unit) == text


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([metric.unit for metric in METRICS]))
def test_any_number_can_be_shown(value, unit):
    assert len(show(value, unit)) < 30
