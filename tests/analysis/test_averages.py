"""Mean and percentile: fixed cases, and what must always hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analysis.averages import percentile, weighted_mean

weighted = st.lists(st.tuples(st.none() | st.floats(-1e6, 1e6), st.floats(0, 1e6)), max_size=30)


def test_a_value_counts_in_the_mean_by_its_weight() -> None:
    assert weighted_mean([10, 40], [2, 1]) == 20
    assert weighted_mean([0.1, 0.3], [100, 100]) == pytest.approx(0.2)


def test_what_was_not_recorded_or_weighs_nothing_is_skipped() -> None:
    assert weighted_mean([10, None, 99], [5, 5, 0]) == 10
    assert percentile([10, None, 99], [5, 5, 0], 1) == 10


@pytest.mark.parametrize(("values", "weights"), [([], []), ([None], [1]), ([7], [0])])
def test_without_weight_there_is_no_mean_and_no_percentile(values: list[float], weights: list[float]) -> None:
    assert weighted_mean(values, weights) is None
    assert percentile(values, weights, 0.5) is None


def test_values_and_weights_must_have_one_length() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        weighted_mean([1, 2], [1])


@given(weighted)
def test_the_mean_lies_between_least_and_greatest(pairs: list[tuple[float | None, float]]) -> None:
    seen = [v for v, w in pairs if v is not None and w > 0]
    mean = weighted_mean([v for v, _ in pairs], [w for _, w in pairs])
    assert (mean is None) if not seen else (mean is not None and min(seen) <= mean <= max(seen))


@pytest.mark.parametrize(("fraction", "answer"), [(0, 1), (0.07, 7), (0.5, 50), (0.95, 95), (0.951, 96), (1, 100)])
def test_a_percentile_is_the_nearest_rank(fraction: float, answer: float) -> None:
    assert percentile(list(range(100, 0, -1)), [1] * 100, fraction) == answer


def test_a_percentile_goes_by_weight_not_by_number() -> None:
    assert percentile([1, 2, 3], [1, 1, 98], 0.05) == 3


@given(st.floats(-1e6, 1e6), st.lists(st.floats(1e-3, 1e6), min_size=1), st.floats(0, 1))
def test_every_percentile_of_a_constant_is_that_constant(value: float, weights: list[float], at: float) -> None:
    assert percentile([value] * len(weights), weights, at) == value


@given(weighted, st.floats(0, 1), st.floats(0, 1))
def test_percentiles_rise_with_the_fraction(pairs: list[tuple[float | None, float]], a: float, b: float) -> None:
    values, weights = [v for v, _ in pairs], [w for _, w in pairs]
    low, high = percentile(values, weights, min(a, b)), percentile(values, weights, max(a, b))
    assert low == high or (low is not None and high is not None and low < high)


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction must lie in"):
        percentile([1], [1], fraction)
