"""Durations by bucket, as `tds_duration_bucket` sorts them: what a share of them did not exceed; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

_FINEST = 0.001
_WIDTH = 1.1


def quantile(buckets: Mapping[int, int], share: float) -> float | None:
    """The duration in seconds that this share (0 to 1) did not exceed, rounded up to its bucket; None without any.

    Bucket b holds what took at most 0.001 * 1.1^b seconds, so the answer is at most a tenth too high.
    """
    rank = math.ceil(share * sum(buckets.values()))
    for bucket in sorted(buckets):
        rank -= buckets[bucket]
        if rank <= 0:
            return round(_FINEST * _WIDTH**bucket, 6)
    return None
