"""Count values in log-scaled buckets: mergeable quantiles with a known relative error."""

import sys
from array import array
from collections import Counter
from collections.abc import Iterable
from math import ceil, log

ACCURACY = 0.01
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_SCALE = 1 / log(_GAMMA)
_COUNT_BITS = 20
_COUNT_MASK = (1 << _COUNT_BITS) - 1


class Sketch:
    """Counts of positive integers by logarithm, after DDSketch (Masson et al., VLDB 2019).

    With g = (1 + a) / (1 - a) and a = 1%, bucket i > 0 holds g^(i-2) < value ≤ g^(i-1), bucket 0
    holds 0. Any quantile is within 1% of the value of that rank, for values up to 2^62. Its bytes
    are little-endian 32-bit words, bucket number in the upper 12 bits and count in the lower 20;
    a bucket may have several words, so that joining the bytes of two sketches merges them.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def add(self, values: Iterable[int]) -> None:
        """Count each of ``values``; negative ones count as 0."""
        counts = self.counts
        for value in values:
            bucket = ceil(log(value) * _SCALE) + 1 if value > 0 else 0
            counts[bucket] = counts.get(bucket, 0) + 1

    def merge(self, blob: bytes) -> None:
        """Count what the sketch with these bytes, or several of them joined, has counted.

        Joined is quicker: most words are alike, and alike ones are counted in C.
        """
        words = array("I", blob)
        if sys.byteorder == "big":
            words.byteswap()
        counts = self.counts
        for word, times in Counter(words).items():
            bucket = word >> _COUNT_BITS
            counts[bucket] = counts.get(bucket, 0) + (word & _COUNT_MASK) * times

    def to_bytes(self) -> bytes:
        """Return the sketch in its stored form, smallest bucket first."""
        words = array("I")
        for bucket, count in sorted(self.counts.items()):
            full, rest = divmod(count, _COUNT_MASK)
            words.extend([bucket << _COUNT_BITS | _COUNT_MASK] * full)
            if rest:
                words.append(bucket << _COUNT_BITS | rest)
        if sys.byteorder == "big":
            words.byteswap()
        return words.tobytes()

    def quantiles(self, *shares: float) -> list[int]:
        """Return the nearest-rank quantile for each of ``shares``, which ascend; 0 if empty."""
        total = sum(self.counts.values())
        if not total:
            return [0] * len(shares)
        found: list[int] = []
        buckets = iter(sorted(self.counts.items()))
        bucket, seen = 0, 0
        for rank in (nearest_rank(total, share) for share in shares):
            while seen < rank:
                bucket, count = next(buckets)
                seen += count
            found.append(_middle(bucket))
        return found


def nearest_rank(count: int, share: float) -> int:
    """Return the rank, from 1, of quantile ``share`` among ``count`` > 0 values.

    The smallest rank r with r / count ≥ share (Hyndman & Fan 1996, definition 1).
    """
    return max(1, ceil(count * share))


def exact_quantiles(values: list[int], *shares: float) -> list[int]:
    """Return the nearest-rank quantile of ``values`` for each of ``shares``; 0 if empty."""
    if not values:
        return [0] * len(shares)
    ordered = sorted(values)
    return [ordered[nearest_rank(len(ordered), share) - 1] for share in shares]


def _middle(bucket: int) -> int:
    # 2g^i / (g + 1) is within a of both ends of (g^(i-1), g^i].
    return round(2 * _GAMMA ** (bucket - 1) / (_GAMMA + 1)) if bucket else 0
