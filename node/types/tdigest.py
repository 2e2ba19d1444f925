"""T-digests: the distribution of numbers, exact at its ends, as centroids of which those in the middle weigh most.

The merging digest of Dunning and Ertl ("Computing Extremely Accurate Quantiles Using t-Digests", 2019): numbers are
gathered, and now and then sorted and joined with their neighbours as far as the scale function k1 allows, which is
d / (2 pi) * asin(2 q - 1) for compression d and quantile q. A centroid of weight 1 is a number that was observed, and
is treated as exact.

Reading changes nothing that is saved or copied: what was gathered is joined for the reader and kept aside, so that a
replica, which is not read as its primary is, joins at the same points of its history.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate

DEFAULT_COMPRESSION = 100
COMPRESSION_MAX = 1 << 22
WEIGHT_MAX = (1 << 63) - 1

_HEAD_BYTES, _NODE_BYTES = 112, 16
"""What Redis's structure takes, and each node of its capacity: what TDIGEST.INFO calls memory usage."""


class DigestTooLarge(Exception):
    """A digest of this compression would take too much memory."""


class DigestOverflow(Exception):
    """There would be more observations than can be counted."""


class View:
    """The centroids of a digest at one moment, to ask questions of.

    below: how much weight lies below each centroid. centres: below, and half the centroid's own weight.
    """

    __slots__ = ("below", "centres", "high", "low", "means", "total", "weights")

    def __init__(self, means: array[float], weights: array[int], low: float, high: float) -> None:
        self.means = means
        self.weights = weights
        self.low = low
        self.high = high
        self.below = list(accumulate(weights, initial=0))
        self.total = self.below[-1]
        self.centres = [start + weight / 2 for start, weight in zip(self.below, weights, strict=False)]

    def rank(self, value: float) -> float:
        """How many observations are below `value`, those that are equal counted by half. Not for an empty digest."""
        if value < self.low:
            return 0.0
        if value > self.high:
            return float(self.total)
        means, weights, centres = self.means, self.weights, self.centres
        first, last = bisect_left(means, value), bisect_right(means, value)
        if first < last:
            return (self.below[first] + self.below[last]) / 2
        if first == 0:
            return _between(value, self.low, means[0], 0.5, centres[0])
        if first == len(means):
            return _between(value, means[-1], self.high, centres[-1], self.total - 0.5)
        start = centres[first - 1] + (0.5 if weights[first - 1] == 1 else 0.0)
        end = centres[first] - (0.5 if weights[first] == 1 else 0.0)
        return _between(value, means[first - 1], means[first], start, end)

    def value_at(self, place: float) -> float:
        """The observation that has `place` others below it. Not for an empty digest."""
        means, weights, centres, total = self.means, self.weights, self.centres, self.total
        if place < 1:
            return self.low
        if place > total - 1:
            return self.high
        if place < centres[0]:
            return _between(place, 1.0, centres[0], self.low, means[0])
        if place >= centres[-1]:
            return _between(place, centres[-1], total - 1.0, means[-1], self.high)
        at = bisect_right(centres, place) - 1
        start, end = centres[at], centres[at + 1]
        if weights[at] == 1:
            start += 0.5
            if place < start:
                return means[at]
        if weights[at + 1] == 1:
            end -= 0.5
            if place >= end:
                return means[at + 1]
        return _between(place, start, end, means[at], means[at + 1])

    def trimmed_mean(self, low: float, high: float) -> float:
        """The mean of the observations between two quantiles; NaN when there are none."""
        start, end = math.floor(self.total * low), math.ceil(self.total * high)
        count = 0
        total = 0.0
        for mean, below, weight in zip(self.means, self.below, self.weights, strict=False):
            part = min(below + weight, end) - max(below, start)
            if part > 0:
                count += part
                total += mean * part
        return total / count if count else math.nan


def _between(value: float, low: float, high: float, start: float, end: float) -> float:
    """Where between `start` and `end` the value is that lies so far from `low` to `high`."""
    span = high - low
    if not span > 0:
        return start
    part = value / span - low / span if math.isfinite(span) else (value / 2 - low / 2) / (high / 2 - low / 2)
    return _towards(start, end, part)


def _towards(start: float, end: float, part: float) -> float:
    """Such a part of the way from `start` to `end`, which is not less; never outside of them."""
    way = end - start
    place = start + way * part if math.isfinite(way) else start * (1 - part) + end * part
    return min(max(place, start), end)


def joined(means: list[float], weights: list[int], compression: int) -> tuple[array[float], array[int]]:
    """Centroids in ascending order, joined with their neighbours as far as the compression allows."""
    total = sum(weights)
    scale = compression / (2 * math.pi)
    new_means: array[float] = array("d")
    new_weights: array[int] = array("q")
    done = 0
    mean, weight = means[0], weights[0]
    limit = _limit(0.0, scale)
    for next_mean, next_weight in zip(means[1:], weights[1:], strict=True):
        both = weight + next_weight
        if (done + both) / total <= limit:
            mean = _towards(mean, next_mean, next_weight / both)
            weight = both
            continue
        new_means.append(mean)
        new_weights.append(weight)
        done += weight
        limit = _limit(done / total, scale)
        mean, weight = next_mean, next_weight
    new_means.append(mean)
    new_weights.append(weight)
    return new_means, new_weights


def _limit(quantile: float, scale: float) -> float:
    """Up to which quantile a centroid that begins at this one may reach."""
    k = scale * math.asin(2 * quantile - 1) + 1
    return 1.0 if k >= scale * math.pi / 2 else (math.sin(k / scale) + 1) / 2


class TDigest:
    """A digest. total: of observations. low and high: the least and greatest, infinite without any. DigestTooLarge."""

    __slots__ = (
        "_view",
        "compression",
        "compressions",
        "gathered",
        "gathered_weights",
        "high",
        "low",
        "means",
        "total",
        "weights",
    )

    def __init__(self, compression: int = DEFAULT_COMPRESSION) -> None:
        if compression > COMPRESSION_MAX:
            raise DigestTooLarge
        self.compression = compression
        self.reset()

    def reset(self) -> None:
        """Forget all observations."""
        self.means: array[float] = array("d")
        self.weights: array[int] = array("q")
        self.gathered: array[float] = array("d")
        self.gathered_weights: array[int] = array("q")
        self.low, self.high = math.inf, -math.inf
        self.compressions = 0
        self.total = 0
        self._view: View | None = None

    @property
    def capacity(self) -> int:
        """How many centroids there may be, those that wait to be joined included."""
        return 6 * self.compression + 10

    @property
    def memory(self) -> int:
        """What TDIGEST.INFO calls memory usage."""
        return _HEAD_BYTES + self.capacity * _NODE_BYTES

    def add(self, value: float, weight: int = 1) -> None:
        """Observe a finite number so many times. DigestOverflow, with nothing changed."""
        if self.total + weight > WEIGHT_MAX:
            raise DigestOverflow
        if len(self.means) + len(self.gathered) >= self.capacity:
            self._compress()
        self._view = None
        self.total += weight
        self.gathered.append(value)
        self.gathered_weights.append(weight)
        self.low = min(self.low, value)
        self.high = max(self.high, value)

    def merge(self, other: TDigest) -> None:
        """Observe what another digest has observed. DigestOverflow, with nothing changed."""
        if self.total + other.total > WEIGHT_MAX:
            raise DigestOverflow
        low, high = min(self.low, other.low), max(self.high, other.high)
        for means, weights in ((other.means, other.weights), (other.gathered, other.gathered_weights)):
            for mean, weight in zip(means, weights, strict=True):
                self.add(mean, weight)
        self.low, self.high = low, high

    def _joined(self) -> tuple[array[float], array[int]]:
        pairs = sorted(zip([*self.means, *self.gathered], [*self.weights, *self.gathered_weights], strict=True))
        return joined([pair[0] for pair in pairs], [pair[1] for pair in pairs], self.compression)

    def _compress(self) -> None:
        self.means, self.weights = self._joined()
        self.gathered, self.gathered_weights = array("d"), array("q")
        self.compressions = min(self.compressions + 1, WEIGHT_MAX)

    def view(self) -> View | None:
        """The distribution as it is now; None when there are no observations."""
        if self._view is None:
            if self.gathered:
                self._view = View(*self._joined(), self.low, self.high)
            elif self.means:
                self._view = View(self.means, self.weights, self.low, self.high)
        return self._view

    def copy(self) -> TDigest:
        """An equal digest that shares nothing."""
        twin = TDigest(self.compression)
        twin.means, twin.weights = self.means[:], self.weights[:]
        twin.gathered, twin.gathered_weights = self.gathered[:], self.gathered_weights[:]
        twin.low, twin.high, twin.total, twin.compressions = self.low, self.high, self.total, self.compressions
        return twin
