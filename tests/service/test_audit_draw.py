from __future__ import annotations

import hashlib
from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balance_core.errors import ConfigError
from balance_core.service.audit import odds
from balance_core.service.audit.draw import draw, seed_of, share_commitment

pytest.importorskip("scipy", reason="the extra `audit` is not installed")

from scipy import stats


def seed(number):
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def test_the_draw_is_the_documented_one_for_ever():
    # Computed from the description alone: SHAKE256 words, rejection, and the first places of a shuffle.
    data = hashlib.shake_256(b"balance/audit-draw/1" + bytes(32)).digest(8 * 64)
    words = iter(int.from_bytes(data[at : at + 8], "big") for at in range(0, len(data), 8))
    places = list(range(20))
    for place in range(6):
        bound = 20 - place
        word = next(word for word in words if word < bound * (2**64 // bound))
        other = place + word % bound
        places[place], places[other] = places[other], places[place]
    assert draw(bytes(32), samples=20, drawn=6) == tuple(sorted(places[:6]))


@given(st.binary(min_size=32, max_size=32), st.integers(1, 3000), st.data())
def test_a_draw_has_so_many_different_samples_in_order(seeded, samples, data):
    drawn = data.draw(st.integers(0, samples))
    found = draw(seeded, samples=samples, drawn=drawn)
    assert len(set(found)) == len(found) == drawn
    assert list(found) == sorted(found)
    assert all(0 <= one < samples for one in found)


def test_drawing_all_is_all():
    assert draw(seed(1), samples=1000, drawn=1000) == tuple(range(1000))


def test_each_subset_is_equally_likely():
    rounds = 6000
    counts = Counter(draw(seed(number), samples=6, drawn=3) for number in range(rounds))
    subsets = list(combinations(range(6), 3))
    assert set(counts) <= set(subsets)
    expected = rounds / len(subsets)
    statistic = sum((counts[one] - expected) ** 2 / expected for one in subsets)
    assert stats.chi2.sf(statistic, len(subsets) - 1) > 1e-4


def test_no_more_than_there_are_can_be_drawn():
    with pytest.raises(ConfigError, match="cannot be drawn"):
        draw(seed(1), samples=3, drawn=4)


def test_the_seed_depends_on_everything():
    parts = ["1" * 64, "2" * 64, "3" * 64, "4" * 64]
    seeds = {seed_of(*parts)}
    for place in range(4):
        seeds.add(seed_of(*parts[:place], "5" * 64, *parts[place + 1 :]))
    assert len(seeds) == 5


def test_a_commitment_cannot_be_copied_by_the_other_side():
    assert share_commitment("consumer", "7" * 64) != share_commitment("provider", "7" * 64)


@pytest.mark.parametrize(
    ("samples", "drawn", "false"), [(100, 20, 5), (100, 20, 0), (10, 10, 1), (50, 3, 48), (7, 0, 3)]
)
def test_the_odds_are_the_hypergeometric_ones(samples, drawn, false):
    assert odds.missed(samples, drawn, false) == Fraction(comb(samples - false, drawn), comb(samples, drawn))
    assert float(odds.missed(samples, drawn, false)) == pytest.approx(
        stats.hypergeom.pmf(0, samples, false, drawn), abs=1e-12
    )


def test_a_fraction_is_rounded_up_to_answers():
    assert odds.caught(100, 100, 0.001) == (1, 1.0)
    assert odds.caught(100, 20, 0.05) == (5, pytest.approx(1 - comb(95, 20) / comb(100, 20)))
    assert odds.caught(10, 5, 0.3)[0] == 3  # and not 4, for want of an exact 0.3


@pytest.mark.parametrize(("samples", "drawn"), [(100, 20), (1000, 59), (30, 30), (5, 1)])
def test_one_more_false_answer_than_the_bound_would_have_been_caught(samples, drawn):
    bound = odds.false_at_most(samples, drawn, 0.95)
    assert bound == 0 or odds.missed(samples, drawn, bound) > Fraction(5, 100)
    assert bound + 1 > samples or odds.missed(samples, drawn, bound + 1) <= Fraction(5, 100)


@pytest.mark.parametrize(
    ("right", "trials", "low", "high"),
    # Tables of Clopper and Pearson's 95 % limits; 0 and all have closed forms: 1 - (alpha/2)^(1/n).
    [
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)),
        (10, 10, 0.025 ** (1 / 10), 1.0),
        (5, 10, 0.1871, 0.8129),
        (90, 100, 0.8238, 0.9510),
    ],
)
def test_the_interval_is_clopper_and_pearsons(right, trials, low, high):
    assert odds.clopper_pearson(right, trials, 0.95) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.999])
@pytest.mark.parametrize(
    ("right", "drawn", "samples"), [(3, 10, 17), (0, 59, 1000), (59, 59, 1000), (29_123, 30_000, 100_000)]
)
def test_bounds_are_those_of_the_distributions(right, drawn, samples, confidence):
    tail = (1 - confidence) / 2
    low, high = odds.clopper_pearson(right, drawn, confidence)
    assert low == pytest.approx(stats.beta.ppf(tail, right, drawn - right + 1) if right else 0)
    assert high == pytest.approx(stats.beta.ppf(1 - tail, right + 1, drawn - right) if right < drawn else 1)
    least, most = odds.of_whole(right, drawn, samples, confidence)
    assert least == right or stats.hypergeom.sf(right - 1, samples, least - 1, drawn) <= tail
    assert stats.hypergeom.sf(right - 1, samples, least, drawn) > tail
    assert stats.hypergeom.cdf(right, samples, most, drawn) > tail
    assert most == samples - drawn + right or stats.hypergeom.cdf(right, samples, most + 1, drawn) <= tail


@pytest.mark.parametrize(("samples", "drawn"), [(30, 10), (12, 11), (25, 25), (9, 1)])
def test_the_bound_of_the_set_holds_as_often_as_it_says(samples, drawn):
    """For each true number, over all samples that may be drawn: exact, no simulation."""
    for total in range(samples + 1):
        covered = Fraction(0)
        for right in range(drawn + 1):
            ways = comb(total, right) * comb(samples - total, drawn - right) if drawn - right >= 0 else 0
            if ways:
                low, high = odds.of_whole(right, drawn, samples, 0.95)
                covered += Fraction(ways, comb(samples, drawn)) * (low <= total <= high)
        assert covered >= Fraction(95, 100)


def test_all_drawn_is_exact():
    assert odds.of_whole(17, 20, 20, 0.95) == (17, 17)


def test_nonsense_is_refused():
    for call in (
        lambda: odds.missed(5, 6, 1),
        lambda: odds.clopper_pearson(3, 2, 0.95),
        lambda: odds.of_whole(3, 2, 5, 0.95),
        lambda: odds.false_at_most(10, 5, 1.0),
    ):
        with pytest.raises(ConfigError):
            call()
