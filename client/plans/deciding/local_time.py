"""What the debtor's clock shows at an instant: rules on hours read the minute of the day where the debtor is."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.errors import DataError

_STEP = 15 * 60  # an offset changes on a quarter of an hour, in every zone since 1972


def local_minutes(instants: I64, zones: npt.NDArray[Any]) -> F64:
    """The minute of the day in each debtor's zone, (n,) 0 … 1439; NaN where the zone is not known.

    Args:
        instants: (n,) planned contact, seconds since 1970-01-01 UTC.
        zones: (n,) IANA names such as ``Europe/Lisbon``; None or an empty text where not known.

    Raises:
        DataError: a name that is no zone, naming row and value.
    """
    names = np.array(["" if each is None else str(each) for each in zones])
    result = np.full(len(instants), np.nan)
    for name in np.unique(names):
        if not name:
            continue
        rows = np.flatnonzero(names == name)
        zone = _zone(str(name), int(rows[0]))
        quarters, place = np.unique(instants[rows] // _STEP, return_inverse=True)
        offsets = np.array([_offset(int(each) * _STEP, zone) for each in quarters], np.int64)
        result[rows] = (instants[rows] + offsets[place]) // 60 % 1440
    return result


def _zone(name: str, row: int) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"Row {row}: {name!r} is not a time zone.",
            "Use an IANA name such as Europe/Lisbon; if none works, install the tzdata package.",
        ) from error


def _offset(seconds: int, zone: ZoneInfo) -> int:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ahead = instant.astimezone(zone).utcoffset()
    return int((ahead or timedelta()).total_seconds())
