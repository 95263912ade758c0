"""Audits from plan to file: what honest, cheating and refusing providers look like in the report."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

pytest.importorskip("httpx", reason="the extra `audit` is not installed")
pytest.importorskip("scipy", reason="the extra `audit` is not installed")

import httpx
from scipy import stats

from balance_core.service.audit.file import AuditFile
from balance_core.service.audit.metrics import Metric
from tests.service.auditing import Desk, audited, checked, client_of, made_set

SAMPLES, DRAWN, SWAPPED = 20, 6, 1


def is_zero(_, label):
    return bool(label[0] == 0)


@pytest.fixture
def desk(home):
    return Desk(home)


def truths(desk, inputs):
    """Return the places of the largest outputs that the registered model gives."""
    with client_of(desk) as client:
        answers = [client.ask(one) for one in inputs]
    return np.array([int(np.argmax(next(iter(answer.outputs.values())))) for answer in answers])


def test_an_honest_provider_is_shown_as_what_it_is(desk):
    inputs, _ = made_set(12)
    labels = truths(desk, inputs)
    labels[:3] = (labels[:3] + 1) % 3
    with client_of(desk) as client:
        file = audited(client, inputs, labels, drawn=5)
    report = checked(AuditFile.from_bytes(file.to_bytes()))
    assert not report.caught
    assert (report.samples, report.drawn, report.proven, report.right) == (12, 5, 5, 9)
    assert report.of_set.low <= 9 / 12 <= report.of_set.high
    assert report.of_population.low <= report.proven_right / 5 <= report.of_population.high
    assert sum(row.samples for row in report.classes) == 12
    assert sum(row.proven for row in report.classes) == 5
    assert file.evidence.plan.plan.head.head.length >= 1


def test_with_all_proven_the_accuracy_is_exact(desk):
    inputs, _ = made_set(6)
    labels = truths(desk, inputs)
    with client_of(desk) as client:
        report = audited(client, inputs, labels).report
    assert (report.of_set.low, report.of_set.high, report.false_at_most) == (1.0, 1.0, 0)
    assert report.of_population.low < 1.0


@pytest.mark.parametrize(
    "changes",
    [{"swapped": lambda number: number == 2}, {"refuses_to_prove": lambda receipt_id: receipt_id[0] in "01234567"}],
)
def test_who_cheats_or_will_not_prove_is_caught_where_all_is_drawn(home, changes):
    desk = Desk(home, **changes)
    inputs, labels = made_set(16)
    with client_of(desk) as client:
        file = audited(client, inputs, labels)
    report = checked(AuditFile.from_bytes(file.to_bytes()))
    assert report.caught
    assert report.contradicted or report.unproven
    assert report.of_set is None
    assert report.of_population is None


def test_who_does_not_reveal_its_share_is_caught(home):
    desk = Desk(home, refuses_to_reveal=True)
    inputs, labels = made_set(5)
    with client_of(desk) as client:
        file = audited(client, inputs, labels, drawn=2)
    report = checked(AuditFile.from_bytes(file.to_bytes()))
    assert report.caught
    assert report.refused
    assert report.proven == 0


def test_a_proof_that_did_not_come_is_fetched_again_though_nothing_is_new(desk):
    asked = []

    def unchanged(request, response):
        asked.append(request.headers.get("if-none-match"))
        return (
            httpx.Response(304)
            if asked[-1]
            else httpx.Response(200, content=response.content, headers={"ETag": '"1"'})
        )

    away = iter([True])
    desk.hooks["/v1/audits/[0-9a-f]{64}"] = unchanged
    desk.hooks["/v1/bundles/.*"] = lambda _, response: httpx.Response(404) if next(away, False) else response
    inputs, labels = made_set(3)
    with client_of(desk) as client:
        report = audited(client, inputs, labels).report
    assert report.proven == 3
    assert asked == [None, '"1"']


@pytest.mark.parametrize("tag", ["x" * 200, '"é"', '"'], ids=["long", "strange", "open"])
def test_what_is_no_entity_tag_is_not_sent_back(desk, tag):
    asked, bundles = [], iter([True])

    def tagged(request, response):
        asked.append(request.headers.get("if-none-match"))
        return httpx.Response(200, content=response.content, headers={"ETag": tag.encode()})

    desk.hooks["/v1/audits/[0-9a-f]{64}"] = tagged
    desk.hooks["/v1/bundles/.*"] = lambda _, response: httpx.Response(404) if next(bundles, False) else response
    inputs, labels = made_set(2)
    with client_of(desk) as client:
        assert audited(client, inputs, labels).report.proven == 2
    assert asked == [None, None]


def test_who_never_proves_is_given_up(home):
    desk = Desk(home)
    desk.job = lambda job_id: (
        None
        if desk.ordered.get(job_id) is None
        else type("Waiting", (), {"job_id": job_id, "state": "queued", "bundle": None, "reason": ""})()
    )
    inputs, labels = made_set(3)
    with client_of(desk) as client:
        report = audited(client, inputs, labels, stalled_seconds=0.5).report
    assert report.unproven == (0, 1, 2)


def test_other_measures(desk):
    inputs, _ = made_set(4)
    with client_of(desk) as client:
        answers = [next(iter(client.ask(one).outputs.values())).reshape(-1) for one in inputs]
        near = audited(client, inputs, np.array(answers) + 0.01, metric=Metric(name="tolerance", tolerance=0.02))
        far = audited(client, inputs, np.array(answers) + 0.03, metric=Metric(name="tolerance", tolerance=0.02))
        own = audited(client, inputs, np.zeros(4), metric=Metric(name="mine"), own=is_zero)
    assert (near.report.right, far.report.right, own.report.right) == (4, 0, 4)
    assert checked(own, own=is_zero).right == 4


@pytest.mark.parametrize("audits", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_a_cheater_is_caught_as_often_as_the_formula_says(home, audits):
    """Each audit is a whole one: plan, receipts, commitments, draw and proofs, and another provider's folder."""
    assert SWAPPED / SAMPLES == 0.05
    inputs, labels = made_set(SAMPLES)
    desk = Desk(home, swapped=lambda number: number % SAMPLES == desk_swaps[0])
    desk_swaps = [0]
    random = np.random.default_rng(7)
    caught = 0
    with client_of(desk) as client:
        for _ in range(audits):
            desk_swaps[0] = int(random.integers(SAMPLES))
            report = audited(client, inputs, labels, drawn=DRAWN).report
            assert len(report.contradicted) <= SWAPPED
            caught += report.caught
    expected = 1 - comb(SAMPLES - SWAPPED, DRAWN) / comb(SAMPLES, DRAWN)
    low, high = stats.binom.interval(0.9999, audits, expected)
    assert low <= caught <= high
