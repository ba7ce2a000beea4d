"""Instants of a recording, as people write and read them."""

import re
from datetime import UTC, datetime, time, timedelta

from twin.errors import RecordingError

_NS = 1_000_000_000
_NS_PER_US = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AWAY = re.compile(r"([+-])(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d{1,9})?)s?)?")
_OF_DAY = re.compile(r"\d{2}:\d{2}:\d{2}(\.\d{1,6})?")
_ALLOWED = "write +90s or +1m30s after its start, -30s before its end, 12:34:56, or 2026-11-28T12:34:56Z (both UTC)"


def utc(time_ns: int) -> str:
    """Write an instant [ns since 1970] as a date in UTC, to the millisecond.

    Examples
    --------
    >>> utc(1_795_504_800_250_000_000)
    '2026-11-24T07:20:00.250Z'
    """
    moment = _moment(time_ns)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def instant_ns(text: str, start_ns: int, end_ns: int) -> int:
    """Read an instant of a recording.

    Parameters
    ----------
    text
        After its start (``+90``, ``+90s``, ``+1m30s``), before its end (``-30s``), a time of day, or a date; in UTC
        where it does not say otherwise.
    start_ns, end_ns
        The first and the last instant of the recording [ns since 1970].

    Raises
    ------
    RecordingError
        It is no instant, or not one of the recording.

    Examples
    --------
    >>> start_ns, end_ns = 1_795_504_800_000_000_000, 1_795_508_400_000_000_000
    >>> [(instant_ns(text, start_ns, end_ns) - start_ns) // 10**9 for text in ("+90", "+1m30s", "-30s", "07:20:01")]
    [90, 90, 3570, 1]
    >>> instant_ns("2026-11-24T07:20:00.5Z", start_ns, end_ns) - start_ns
    500000000
    >>> instant_ns("+2h", start_ns, end_ns)
    Traceback (most recent call last):
    ...
    twin.errors.RecordingError: +2h is not in the recording: it goes from 2026-11-24T07:20:00.000Z to \
2026-11-24T08:20:00.000Z (3600 s)
    """
    found_ns = _read(text, start_ns, end_ns)
    if not start_ns <= found_ns <= end_ns:
        raise RecordingError(
            f"{text} is not in the recording: it goes from {utc(start_ns)} to {utc(end_ns)} "
            f"({(end_ns - start_ns) / _NS:g} s)"
        )
    return found_ns


def _read(text: str, start_ns: int, end_ns: int) -> int:
    if match := _AWAY.fullmatch(text):
        hours, minutes = int(match[2] or 0), int(match[3] or 0)
        whole, _, parts = (match[4] or "0").partition(".")
        away_ns = (hours * 3600 + minutes * 60 + int(whole)) * _NS + int(parts.ljust(9, "0"))
        return start_ns + away_ns if match[1] == "+" else end_ns - away_ns
    try:
        if _OF_DAY.fullmatch(text):
            return _of_day_ns(time.fromisoformat(text), start_ns, end_ns)
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise RecordingError(f"{text!r} is no instant of a recording: {_ALLOWED}") from exc
    return _ns(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _of_day_ns(of_day: time, start_ns: int, end_ns: int) -> int:
    """Return the first instant of that time of day in the span; of its first day if there is none."""
    first = _moment(start_ns).date()
    days = (_moment(end_ns).date() - first).days
    found = [_ns(datetime.combine(first + timedelta(days=day), of_day, UTC)) for day in range(min(days, 1) + 1)]
    return next((time_ns for time_ns in found if start_ns <= time_ns <= end_ns), found[0])


def _moment(time_ns: int) -> datetime:
    # In whole numbers: a float of so many seconds is exact to the microsecond no more.
    return _EPOCH + timedelta(microseconds=time_ns // _NS_PER_US)


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * _NS_PER_US
