import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from better_claude.sketch import ACCURACY, Sketch, exact_quantiles

values = st.lists(st.integers(0, 1 << 62), max_size=200)
shares = st.floats(0, 1)


def sketch_of(numbers: list[int]) -> Sketch:
    sketch = Sketch()
    sketch.add(numbers)
    return sketch


def near(found: int, exact: int) -> bool:
    return abs(found - exact) <= exact * ACCURACY + 1


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([], [0, 0, 0]),
        ([7], [7, 7, 7]),
        ([2, 1], [1, 2, 2]),
        (list(range(1, 101)), [50, 95, 99]),
        (list(range(100, 0, -1)), [50, 95, 99]),
        ([5] * 19 + [1000], [5, 5, 1000]),
    ],
)
def test_exact_quantiles_are_by_nearest_rank(numbers: list[int], found: list[int]) -> None:
    assert exact_quantiles(numbers, 0.5, 0.95, 0.99) == found


def test_an_empty_sketch_has_quantiles_of_zero() -> None:
    assert Sketch().quantiles(0.5, 0.99) == [0, 0]
    assert Sketch().to_bytes() == b""


@given(values, shares)
def test_a_quantile_is_within_one_percent_of_the_exact_one(
    numbers: list[int], share: float
) -> None:
    assert near(sketch_of(numbers).quantiles(share)[0], exact_quantiles(numbers, share)[0])


@given(values, values)
def test_merging_bytes_is_counting_both(left: list[int], right: list[int]) -> None:
    both = sketch_of(left + right)
    merged = sketch_of(left)
    merged.merge(sketch_of(right).to_bytes())
    assert merged.counts == both.counts
    joined = Sketch()
    joined.merge(sketch_of(left).to_bytes() + sketch_of(right).to_bytes())
    assert joined.counts == both.counts


def test_counts_beyond_a_word_survive() -> None:
    sketch = Sketch()
    sketch.counts = {3: (1 << 22) + 5, 4000: 1}
    again = Sketch()
    again.merge(sketch.to_bytes())
    assert again.counts == sketch.counts


def test_a_usual_latency_distribution() -> None:
    rng = random.Random(1)
    numbers = [int(rng.lognormvariate(17, 0.8)) for _ in range(20_000)]
    sketch = sketch_of(numbers)
    assert len(sketch.to_bytes()) < 2000
    for found, exact in zip(
        sketch.quantiles(0.5, 0.95, 0.99), exact_quantiles(numbers, 0.5, 0.95, 0.99), strict=True
    ):
        assert near(found, exact)
