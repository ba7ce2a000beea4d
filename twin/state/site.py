"""The keeper of the site: ``twin.rack`` and the plants' telemetry in, ``twin.site`` out (the app ``site``)."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin.bus.base import Record
from twin.errors import MessageInvalid
from twin.events.chillers import TELEMETRY_CHILLERS
from twin.events.columns import Family
from twin.events.derived import TWIN_RACK, TWIN_SITE
from twin.events.frames import Frame, decode_frame, encode_frame
from twin.events.grid import TELEMETRY_GRID
from twin.events.head import Head, check_schema, split
from twin.events.layout import FrameLayout
from twin.events.network import TELEMETRY_NETWORK
from twin.events.topics import array_partition
from twin.events.turbines import TELEMETRY_TURBINES
from twin.run import RunView, site_time_s
from twin.state import picture
from twin.state.checks import check_groups, check_tick, places_of
from twin.state.counts import Intake
from twin.state.hold import Arrival, Hold
from twin.state.outputs import Done, Output, Send
from twin.state.partition import CLOSE_AFTER_S, STALE_AFTER_S, UNREAD_LATE_S
from twin.state.parts import Part, add_part, part_of, racks_in, total
from twin.state.sequence import Sequence
from twin.state.suspects import without_suspects
from twin.state.trends import Trends

RACKS_LATE_S = 3.0
MEND_EVERY_S = 1.0  # what was sent and is mended goes out no more often, until it is whole
KEEP_BOOKS = 4
KEEP_TICKS = 240  # how far back a late or re-sent part still mends the sums
FAMILIES: dict[str, Family] = {
    "telemetry.chillers": TELEMETRY_CHILLERS,
    "telemetry.turbines": TELEMETRY_TURBINES,
    "telemetry.grid": TELEMETRY_GRID,
    "telemetry.network": TELEMETRY_NETWORK,
}
RACK = "twin.rack"
TOPICS = (RACK, *FAMILIES)


@dataclass(slots=True)
class _Tick:
    """All that has come of one tick."""

    first_ms: int
    parts_ms: int = field(default=-1, init=False)  # when its first racks came
    head: Head
    parts: dict[int, list[Part]] = field(default_factory=dict)
    units: dict[tuple[str, str], Frame] = field(default_factory=dict)
    tokens: list[Any] = field(default_factory=list)
    sent_ms: int = -1
    dirty: bool = True
    trend: picture.Row = field(default_factory=dict)


@dataclass(slots=True)
class _Book:
    """The ticks of one run and epoch."""

    array_tick: np.ndarray
    stale: np.ndarray  # by array, as it was found when nothing was unread
    trends: Trends
    ticks: OrderedDict[int, _Tick] = field(default_factory=OrderedDict)
    sequences: dict[tuple[str, str], Sequence] = field(default_factory=dict)
    unit_tick: dict[tuple[str, str], int] = field(default_factory=dict)
    stale_units: set[tuple[str, str]] = field(default_factory=set)
    first_tick: int = -1
    watermark: int = -1
    before: "_Book | None" = None  # of the epoch that this one continues, until its first tick has gone out
    continued_at: int = -1


class SiteKeeper:
    """Puts the site together, tick by tick; one worker has it.

    Parameters
    ----------
    layout
        Keys and sizes of the frames of the site.
    view
        The run that holds.
    """

    def __init__(self, layout: FrameLayout, view: RunView) -> None:
        self._layout = layout
        self._site = layout.site
        self._view = view
        self._books: OrderedDict[tuple[str, int], _Book] = OrderedDict()
        self.intake: dict[str, Intake] = {topic: Intake() for topic in TOPICS}
        arrays = self._site.layout.array_count
        self._array_partition = np.array([array_partition(i) for i in range(arrays)])
        self._partitions = frozenset(self._array_partition.tolist())
        self._unit_keys = [(topic, key) for topic in FAMILIES for key in layout.keys(topic)]
        self._hold = Hold(view)
        self._places = places_of(layout.site)

    def take(self, record: Record, token: Any, now_ms: int) -> list[Output]:
        """Take one message; the topic of the record is without namespace."""
        intake = self.intake[record.topic]
        intake.frames += 1
        try:
            head, data = split(record.value)
            frame = self._decode(record.topic, head, data)
        except MessageInvalid:
            intake.dead += 1
            return [Done((token,))]  # history reads it, too, and keeps it aside
        intake.suspects += sum(map(len, frame.suspect.values()))
        return self._release(now_ms) + self._admit(Arrival.at(now_ms, record, head, frame, token), now_ms)

    def tick(self, now_ms: int, *, queue_empty: bool) -> list[Output]:
        """Do what time asks for: what waits for its run, ticks that wait for something, and sums that were mended."""
        out = self._release(now_ms)
        for book in self._books.values():
            if queue_empty and book.ticks:
                self._judge(book)
            out += self._send_due(book, now_ms, queue_empty=queue_empty, mended=True)
        return out

    def _release(self, now_ms: int) -> list[Output]:
        return [told for arrival in self._hold.release(now_ms) for told in self._admit(arrival, now_ms)]

    def _admit(self, arrival: Arrival, now_ms: int) -> list[Output]:
        head, topic = arrival.head, arrival.record.topic
        intake = self.intake[topic]
        try:
            check_tick(head, self._view.control, now_ms)
        except MessageInvalid:
            intake.dead += 1
            return [Done((arrival.token,))]
        standing = self._view.standing(head)
        if standing == "newer" and now_ms < arrival.until_ms:
            self._hold.keep(arrival)
            return []
        if standing in ("other", "newer"):
            intake.other_run += 1
            return [Done((arrival.token,))]  # history has it
        intake.lags_s.append((now_ms - head.ts) / 1000)
        book = self._book(head)
        if topic != RACK:
            verdict = intake.number(book.sequences.setdefault((topic, head.key), Sequence()), head.seq)
            if verdict == "duplicate":
                return self._again(book, arrival)
            intake.late += verdict == "late"
        tick = self._tick(book, head, now_ms)
        if tick is None:
            intake.late += 1
            return [Done((arrival.token,))]
        self._put(book, tick, topic, head, without_suspects(arrival.frame))
        if topic == RACK and tick.parts_ms < 0:
            tick.parts_ms = now_ms
        if not tick.dirty:
            return [Done((arrival.token,))]
        tick.tokens.append(arrival.token)
        return self._send_due(book, now_ms, queue_empty=False)

    @staticmethod
    def _again(book: _Book, arrival: Arrival) -> list[Output]:
        """Acknowledge what is known already: with its tick, for until that is out nobody else has dealt with it."""
        tick = book.ticks.get(arrival.head.tick)
        if tick is None or not tick.dirty:
            return [Done((arrival.token,))]
        tick.tokens.append(arrival.token)
        return []

    def _decode(self, topic: str, head: Head, data: bytes) -> Frame:
        if topic == RACK:
            check_schema(head, TWIN_RACK.schema_id)
            frame = decode_frame(TWIN_RACK, data, {"close": 1})
            check_groups(TWIN_RACK, frame, self._places)
            return frame
        family = FAMILIES[topic]
        check_schema(head, family.schema_id)
        sizes = self._layout.sizes(topic, head.key)
        if sizes is None:
            raise MessageInvalid(f"unknown-key: {head.key} is no key of {topic} at {self._site.id}")
        return decode_frame(family, data, sizes)

    def _book(self, head: Head) -> _Book:
        """Find the book of a run and epoch, or begin it; an epoch that continues goes on with what is known."""
        lineage = (head.run, head.epoch)
        book = self._books.get(lineage)
        if book is None:
            arrays = self._site.layout.array_count
            book = _Book(np.full(arrays, -1, dtype=np.int64), np.zeros(arrays, dtype=bool), Trends(self._layout))
            goes_on = self._view.continues_from(*lineage, lambda epoch: (head.run, epoch) in self._books)
            if goes_on is not None:
                epoch, first_tick = goes_on
                self._continue(book, self._books[head.run, epoch], first_tick)
            self._books[lineage] = book
            self._drop_old_books()
        return book

    @staticmethod
    def _continue(book: _Book, before: _Book, first_tick: int) -> None:
        """Go on with what is known; a plant that is rebuilt after a crash does some ticks again."""
        book.array_tick[:] = np.minimum(before.array_tick, first_tick - 1)
        book.unit_tick.update({key: min(tick, first_tick - 1) for key, tick in before.unit_tick.items()})
        book.stale[:] = before.stale
        book.stale_units.update(before.stale_units)
        book.first_tick = min(before.first_tick, first_tick)
        book.before, book.continued_at = before, first_tick

    def _drop_old_books(self) -> None:
        while len(self._books) > KEEP_BOOKS:
            oldest = next(iter(self._books))
            if any(tick.tokens for tick in self._books[oldest].ticks.values()):
                return
            del self._books[oldest]

    def _tick(self, book: _Book, head: Head, now_ms: int) -> _Tick | None:
        tick = book.ticks.get(head.tick)
        if tick is None:
            if book.ticks and head.tick <= next(reversed(book.ticks)) - KEEP_TICKS:
                return None
            tick = book.ticks[head.tick] = _Tick(now_ms, head)
            if book.first_tick < 0:
                book.first_tick = head.tick
            if len(book.ticks) > 1 and head.tick < max(book.ticks):
                for later in sorted(number for number in book.ticks if number > head.tick):
                    book.ticks.move_to_end(later)
            # One that was not sent, or not again since it was mended, holds messages that must be acknowledged.
            while len(book.ticks) > KEEP_TICKS and not next(iter(book.ticks.values())).dirty:
                book.ticks.popitem(last=False)
        return tick

    def _put(self, book: _Book, tick: _Tick, topic: str, head: Head, frame: Frame) -> None:
        if topic != RACK:
            tick.units[topic, head.key] = frame
            tick.dirty = True
            book.unit_tick[topic, head.key] = max(head.tick, book.unit_tick.get((topic, head.key), -1))
            book.stale_units.discard((topic, head.key))
            return
        number = int(frame.dense["close"]["partition"][0])
        parts = tick.parts.setdefault(number, [])
        if add_part(parts, part_of(frame, self._site)):
            tick.dirty = True
        racks = frame.dense.get("rack", {}).get("rack_i")
        if racks is not None and len(racks):
            arrays = np.unique(self._site.layout.rack_array[racks.astype(np.int64)])
            np.maximum.at(book.array_tick, arrays, head.tick)
            book.stale[arrays] = False

    def _judge(self, book: _Book) -> None:
        """Find out who is stale: arrays and units behind the median tick of the arrays that have come.

        Who never came is as old as the start. Nobody is found stale while something is unread here: of what has piled
        up, one partition is read to its end before the next.
        """
        newest, tick = next(reversed(book.ticks.items()))
        stale_ticks = STALE_AFTER_S / tick.head.dt_s
        ticks = self._array_ticks(book)
        known = ticks[book.array_tick >= 0]
        now = np.median(known) if len(known) else newest
        book.stale = np.asarray(now - ticks > stale_ticks)
        began = book.first_tick - 1
        book.stale_units = {key for key in self._unit_keys if now - book.unit_tick.get(key, began) > stale_ticks}

    @staticmethod
    def _array_ticks(book: _Book) -> np.ndarray:
        return np.where(book.array_tick < 0, book.first_tick - 1, book.array_tick)

    def _complete(self, book: _Book, number: int, tick: _Tick) -> bool:
        for key in self._unit_keys:
            # One that is past the tick has lost its frame of it, or sends it late.
            past = book.unit_tick.get(key, number) > number
            if not (key in tick.units or past or key in book.stale_units):
                return False
        return self._racks_complete(book, number, tick)

    def _racks_complete(self, book: _Book, number: int, tick: _Tick) -> bool:
        missing = self._partitions - tick.parts.keys()
        if not missing:
            return True
        wanted = self._array_partition[~book.stale & (book.array_tick < number)]
        return missing.isdisjoint(wanted.tolist())

    def _due(self, book: _Book, number: int, tick: _Tick, now_ms: int, *, queue_empty: bool) -> bool:
        """Tell whether a tick may go out: it is complete, or what is missing will not come any more."""
        if self._complete(book, number, tick):
            return True
        control = self._view.control
        if control is None or not control.lock_step:
            # What is missing may lie unread here.
            waited_ms = now_ms - tick.first_ms
            return (queue_empty and self._late(tick, now_ms)) or waited_ms >= 1000 * UNREAD_LATE_S
        # All that the plant sent before run.control has been read; only what the rows make of it may be on its way.
        holds = (tick.head.run, tick.head.epoch) == (control.run, control.epoch)
        passed = not holds or number <= control.settled_tick
        # The rows may have gone over to the next epoch without a word of what was missing.
        left = not holds and self._late(tick, now_ms)
        return queue_empty and ((passed and self._racks_complete(book, number, tick)) or left)

    def _send_due(self, book: _Book, now_ms: int, *, queue_empty: bool, mended: bool = False) -> list[Output]:
        """Send the ticks that are complete or have waited long enough, in order, and, if asked, the mended ones."""
        out: list[Output] = []
        waiting = not self._is_next(book)
        for number, tick in book.ticks.items():
            if not tick.dirty:
                continue
            if tick.sent_ms >= 0:
                # What is mended grows part by part.
                if (mended and self._may_mend(tick, now_ms)) or self._whole(tick):
                    out.append(self._send(book, number, tick, now_ms))
                continue
            if waiting or not self._due(book, number, tick, now_ms, queue_empty=queue_empty):
                waiting = True  # ticks go out in order; only mended ones pass by
                continue
            out.append(self._send(book, number, tick, now_ms))
        return out

    @staticmethod
    def _is_next(book: _Book) -> bool:
        """Tell whether all of the epoch before has gone out; what needs more than one tick goes on from there."""
        if book.before is None:
            return True
        before = book.before
        if any(tick.sent_ms < 0 for number, tick in before.ticks.items() if number < book.continued_at):
            return False
        book.trends, book.before = before.trends.continued(book.continued_at), None
        return True

    def _whole(self, tick: _Tick) -> bool:
        """Tell whether nothing can be added to a tick any more: no two parts of it hold the same rack."""
        rack_n = sum(part.racks.bit_count() for parts in tick.parts.values() for part in parts)
        return rack_n == self._site.layout.rack_count and len(tick.units) == len(self._unit_keys)

    def _may_mend(self, tick: _Tick, now_ms: int) -> bool:
        control = self._view.control
        in_lock_step = control is not None and control.lock_step  # how long this machine takes says nothing there
        return in_lock_step or not 0 <= now_ms - tick.sent_ms < 1000 * MEND_EVERY_S  # a clock may be set back

    @staticmethod
    def _late(tick: _Tick, now_ms: int) -> bool:
        """Tell whether a tick has waited long enough for what is missing: racks that are far behind get longer."""
        if tick.parts_ms >= 0:
            return now_ms - tick.parts_ms >= 2000 * CLOSE_AFTER_S  # the rows wait half of it themselves
        return now_ms - tick.first_ms >= 1000 * RACKS_LATE_S

    def _send(self, book: _Book, number: int, tick: _Tick, now_ms: int) -> Send:
        layout = self._site.layout
        parts = [part for of_partition in tick.parts.values() for part in of_partition]
        totals = total(parts, layout.hall_count)
        stale = book.stale.copy()
        stale[layout.rack_array[racks_in(parts, layout.rack_count)]] = False  # whoever reports this tick is not
        stale_n = np.bincount(layout.array_hall, weights=stale, minlength=layout.hall_count).astype(np.int64)
        site_time_s = self._site_time_s(tick.head)
        # A unit that comes late can still add what needs more than one tick.
        tick.trend |= book.trends.follow(number, tick.units, dt_s=tick.head.dt_s, site_time_s=site_time_s)
        row = picture.site_row(totals, tick.units, self._layout) | tick.trend
        book.watermark = max(book.watermark, number)
        age_s = float(max(0, number - self._array_ticks(book).min())) * tick.head.dt_s
        loops, errors = picture.loop_rows(tick.units, self._layout)
        frame = Frame(
            dense={
                "close": {
                    "watermark": np.array([book.watermark]),
                    "stale_n": np.array([int(stale_n.sum())]),
                    "array_n": np.array([layout.array_count]),
                    "site_time_s": np.array([site_time_s]),
                },
                "site": picture.as_columns("site", row),
                "hall": picture.hall_rows(totals, tick.units, self._layout, stale_n),
                "gpu_hist": picture.histogram_rows(totals),
                "permit": picture.as_columns("permit", picture.permit_row(tick.units, self._layout)),
                "loop": {"supply_error_k": errors},
                "run": {"age_max_s": np.array([age_s])},
            },
            text={"loop": {"unit": loops}},
        )
        head = tick.head.model_copy(
            update={"schema_id": TWIN_SITE.schema_id, "tick": number, "seq": number, "key": self._site.id}
        )
        done = tuple(tick.tokens)
        tick.tokens.clear()
        tick.sent_ms, tick.dirty = now_ms, False
        return Send("twin.site", head, encode_frame(TWIN_SITE, frame), None, done)

    def _site_time_s(self, head: Head) -> float:
        control = self._view.control
        if control is None or control.run != head.run:
            return float("nan")
        return site_time_s(control.weather_at, head.tick + 1, head.dt_s)
