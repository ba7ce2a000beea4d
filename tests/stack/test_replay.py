"""``colossus replay`` on a real Kafka, as a user starts it: of a recorded run, of foreign topics, through outages."""

import random
import re
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from producers.incidents import START_MS, make_incident
from tests.recording.files import item, write
from tests.stack.servers.influx import Influx
from tests.stack.servers.kafka import Kafka
from tests.stack.servers.running import free_ports
from tests.stack.test_recorder import read
from tests.stack.theatre import Theatre, Verb
from twin.bus.base import Record
from twin.events.control import Command, RunControl
from twin.events.head import Head, split
from twin.events.topics import Topic
from twin.recording.item import Item
from twin.recording.reader import Recording

SECONDS = 60.0
AWAY_S = 8.0
FRAMES_N = 8 + 4 + 4 + 1 + 1  # a tick of mini without the jobs: arrays, loops, halls, turbines, grid
PICTURES = ("site", "hall", "gpu_hist", "permit")
Told = tuple[dict[str, object], bytes, tuple[tuple[str, bytes], ...]]


@dataclass(frozen=True, slots=True)
class Played:
    """A live run, its recording, and the replay of that, which was recorded again; rows, site and history go on."""

    theatre: Theatre
    live: str
    path: Path
    rehearsal: str
    replay: str
    words: str
    again: Path


@pytest.fixture(scope="module")
def played(kafka: Kafka, influx: Influx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    theatre = Theatre(kafka, influx, tmp_path_factory.mktemp("theatre"))
    path, again = theatre.folder / "live.mcap", theatre.folder / "again.mcap"
    recorder = recording_of(theatre, path)
    theatre.begin(("rows", "rows-1"), ("site", "site-1"), ("history", "history-1"))
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), SECONDS, "a run")
    theatre.run_ticks(6)
    assert theatre.ask("pause").error is None
    threading.Event().wait(1.0)
    assert theatre.ask("resume").error is None
    theatre.run_ticks(3)
    assert theatre.ask("speed", speed=8.0).error is None
    theatre.run_ticks(36)
    assert theatre.ask("seek", tick=theatre.control.settled_tick - 15).error is None
    theatre.run_ticks(20)
    assert theatre.fleet.end("producers-1") == 0
    theatre.wait_settled(SECONDS)
    assert recorder.end()[0] == 0
    live = theatre.control.run
    code, rehearsal = theatre.verb("replay", str(path), "--instructor", "--dry-run").wait()
    assert code == 0
    recorder = recording_of(theatre, again)
    code, words = theatre.verb("replay", str(path), "--instructor", "--speed", "0").wait()
    assert code == 0
    theatre.listen()
    theatre.wait_settled(SECONDS)
    assert recorder.end()[0] == 0
    yield Played(theatre, live, path, rehearsal, theatre.control.run, words, again)
    theatre.close()


@pytest.fixture(scope="module")
def quiet(kafka: Kafka, influx: Influx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    theatre = Theatre(kafka, influx, tmp_path_factory.mktemp("theatre"))
    yield theatre
    theatre.close()


@pytest.fixture
def theatre(quiet: Theatre) -> Iterator[Theatre]:
    """A namespace in which nobody reads, without a run."""
    yield quiet
    quiet.end_verbs()


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes, a tick at each full second."""
    return make_incident("pump-degraded", tmp_path_factory.mktemp("recordings"))[0]


def recording_of(theatre: Theatre, path: Path, *flags: str, **environment: str) -> Verb:
    recorder = theatre.verb("record", "-o", str(path), *(flags or ("--full", "--instructor")), **environment)
    recorder.read_line()
    assert "records into" in recorder.read_line()
    return recorder


def replay_of(theatre: Theatre, path: Path, *flags: str) -> Verb:
    """Begin to play; the run has been told of."""
    player = theatre.verb("replay", str(path), *flags)
    followed(theatre, player)
    return player


def followed(theatre: Theatre, player: Verb) -> None:
    run = player.read_line().split()[1].rstrip(":")
    theatre.until(lambda: bool(theatre.controls) and theatre.control.run == run, SECONDS, "its run")


def begun(theatre: Theatre, epoch: int) -> RunControl:
    """Wait for an epoch, and return the first word of it."""
    theatre.until(lambda: theatre.control.epoch >= epoch, SECONDS, f"epoch {epoch}")
    return next(c for c in theatre.controls if (c.run, c.epoch) == (theatre.control.run, epoch))


def messages_of(messages: Iterable[Item | Record], run: str) -> Iterator[tuple[str, bytes | None, Head, bytes]]:
    """Return (topic, key, head, data) of those of a run."""
    for one in messages:
        head, data = split(one.value)
        if head.run == run:
            yield one.topic, one.key, head, data


def by_key(messages: Iterable[Item | Record], run: str) -> dict[tuple[str, bytes | None], list[Told]]:
    """Return what a run has said, in its order per key, less what a replay changes."""
    told: dict[tuple[str, bytes | None], list[Told]] = defaultdict(list)
    for one in messages:
        head, data = split(one.value)
        if head.run == run:
            stays = head.model_dump(exclude={"run", "epoch", "ts"})
            told[head.name, one.key].append((stays, data, one.headers))
    return dict(told)


def inputs(path: Path) -> list[Item]:
    """Return what a recording holds that is played."""
    return [item for item in read(path) if item.topic.startswith(("telemetry.", "command", "instructor."))]


# -- a run of the twin, and its replay


def test_the_twin_shows_the_replay_as_it_showed_the_run(played: Played) -> None:
    with Recording(played.path) as recording:
        recorded = pictures(recording.items(topics={"twin.site"}), played.live)
    replayed = pictures(played.theatre.records("twin.site"), played.replay)
    assert {epoch for epoch, _ in recorded} == {0, 1, 2, 3}
    assert replayed.keys() == {(epoch + 1, tick) for epoch, tick in recorded}  # epoch 0 stands, until the file is read
    ticks = [tick for _, tick in sorted(recorded)]
    assert any(after < before for before, after in pairwise(ticks)), "there is a way back in it"
    for (epoch, tick), picture in recorded.items():
        again = replayed[epoch + 1, tick]
        for group in PICTURES:
            assert again[group] == picture[group], (epoch, tick, group)


def pictures(messages: Iterable[Item | Record], run: str) -> dict[tuple[int, int], dict[str, dict[str, object]]]:
    """Return the last picture of each epoch and tick."""
    return {(head.epoch, head.tick): orjson.loads(data) for _, _, head, data in messages_of(messages, run)}


def test_history_holds_every_row_of_the_replay_once(played: Played) -> None:
    _, recorded_rows = played.theatre.sent_of(played.live)
    _, sent_rows = played.theatre.sent_of(played.replay)
    assert sent_rows == recorded_rows > 4000
    assert played.theatre.store.stored("rack", played.replay) == sent_rows


def test_a_replay_that_is_recorded_is_the_run_again(played: Played) -> None:
    first, again = by_key(inputs(played.path), played.live), by_key(inputs(played.again), played.replay)
    assert len(first) == 20  # 8 arrays, 4 halls, 4 cooling plants, power plant twice, scheduler, instructor
    assert again == first
    epochs = {
        run: list(dict.fromkeys(head.epoch for _, _, head, _ in messages_of(of_grid(path), run)))
        for run, path in ((played.live, played.path), (played.replay, played.again))
    }
    assert epochs == {played.live: [0, 1, 2, 3], played.replay: [1, 2, 3, 4]}
    controls = {c.epoch: c.continues for c in played.theatre.controls if c.run == played.replay}
    assert controls == {0: False, 1: False, 2: True, 3: True, 4: False}


def of_grid(path: Path) -> list[Item]:
    return [item for item in read(path) if item.topic == "telemetry.grid"]


def test_what_was_rehearsed_is_what_is_sent(played: Played) -> None:
    counts = dict(re.findall(r"^([a-z.]+) +(\d+) +[\d.]+$", played.rehearsal, re.MULTILINE))
    assert {"telemetry.gpu", "instructor.snapshots", "twin.rack"} <= counts.keys()
    sent: dict[str, int] = dict.fromkeys(counts, 0)
    own = {"run.control", "run.requests"}
    for one in read(played.again):
        observed = one.topic.startswith("twin.") or one.topic in ("alarm.candidates", "alarms")
        if one.topic not in own and not observed and split(one.value)[0].run == played.replay:
            sent[one.topic] += 1
    assert {topic: int(count) for topic, count in counts.items()} == sent
    assert f"sent {sum(sent.values())} messages, 0 lost" in played.words


# -- its clock, and those who steer it


def test_speeds(played: Played, theatre: Theatre, incident: Path) -> None:
    slow = played.theatre
    quick, seconds = grid_times(played.path, epoch=2), grid_times(incident, epoch=0)
    with Recording(played.path) as recording:
        after_s = min(quick.values()) - recording.start_ns / 1e9
    # There the recording has eight ticks a second: a tenth of them is enough to measure by.
    slowly = slow.verb("replay", str(played.path), "--speed", "0.1", "--from", f"+{after_s:.3f}s")
    player = theatre.verb("replay", str(incident))
    followed(theatre, player)
    theatre.run_ticks(5)
    assert theatre.ask("speed", speed=10.0).error is None
    theatre.run_ticks(40)
    measured = {speed: (speed_of(theatre, speed, seconds), reported(theatre, speed)) for speed in (1.0, 10.0)}
    assert theatre.ask("end").error is None
    assert player.wait()[0] == 0
    followed(slow, slowly)
    measured[0.1] = (speed_of(slow, 0.1, quick), reported(slow, 0.1))
    assert slow.ask("end").error is None
    assert slowly.wait()[0] == 0
    for speed, (sent, reached) in measured.items():
        assert sent == pytest.approx(speed, rel=0.1)
        assert reached == pytest.approx(sent, rel=0.1)


def grid_times(path: Path, *, epoch: int) -> dict[int, float]:
    """Return when each tick of a recorded epoch was [s]."""
    heads = ((split(item.value)[0], item.time_ns) for item in read(path) if item.topic == "telemetry.grid")
    return {head.tick: time_ns / 1e9 for head, time_ns in heads if head.epoch == epoch}


def speed_of(theatre: Theatre, speed: float, recorded_s: dict[int, float]) -> float:
    """Measure a speed by the ticks that came on the topic."""
    run = theatre.control.run
    epochs = {c.epoch for c in theatre.controls if (c.run, c.speed) == (run, speed)}
    came_s = {
        head.tick: record.timestamp_ms / 1000
        for record in theatre.records("telemetry.grid")
        for head, _ in [split(record.value)]
        if head.run == run and head.epoch in epochs
    }
    first, last = min(came_s), max(came_s)
    assert last - first >= 4
    return (recorded_s[last] - recorded_s[first]) / (came_s[last] - came_s[first])


def reported(theatre: Theatre, speed: float) -> float:
    told = [c for c in theatre.controls if c.run == theatre.control.run and c.speed == speed and c.player is not None]
    assert told[-1].player is not None
    assert told[-1].speed_reached == told[-1].player.reached
    return told[-1].speed_reached


def test_steering(theatre: Theatre, incident: Path) -> None:
    player = replay_of(theatre, incident, "--speed", "5")
    run = theatre.control.run
    theatre.run_ticks(8)

    assert theatre.ask("pause").state == "paused"
    stood = theatre.control
    assert theatre.ask("step", messages=1).player.sent_n == stood.player.sent_n + 1  # type: ignore[union-attr]
    stepped = theatre.ask("step", seconds=3)
    assert stepped.settled_tick == stood.settled_tick + 4  # the one that had begun, and three more
    assert (stepped.epoch, stepped.continues) == (stood.epoch + 1, True)
    assert "not paused" not in str(theatre.ask("step", messages=0).error)
    threading.Event().wait(1.0)
    theatre.listen()
    assert (theatre.control.settled_tick, theatre.control.epoch) == (stepped.settled_tick, stepped.epoch)
    resumed = theatre.ask("resume")
    assert (resumed.state, resumed.epoch, resumed.continues) == ("running", stepped.epoch + 1, True)
    theatre.run_ticks(4)
    assert "not paused" in str(theatre.ask("step", messages=1).error)

    assert theatre.ask("seek", ts=START_MS + 5_000).error is None
    sought = begun(theatre, resumed.epoch + 1)
    assert not sought.continues
    assert "is played" in str(theatre.ask("seek", ts=START_MS - 5_000).error)
    theatre.run_ticks(2)
    assert theatre.control.epoch == sought.epoch

    assert theatre.ask("loop", a=START_MS + 5_000, b=START_MS + 9_000).error is None
    rounds = [begun(theatre, sought.epoch + n) for n in (1, 2, 3)]
    assert {told.continues for told in rounds} == {False}
    assert theatre.ask("loop", on=False).player.loop_ms is None  # type: ignore[union-attr]
    theatre.until(lambda: theatre.control.settled_tick >= 15, SECONDS, "it goes on beyond B")
    last = theatre.control.epoch
    assert theatre.ask("end").error is None
    code, words = player.wait()
    assert code == 0
    assert "0 lost" in words
    assert "the rest was not played" in words

    ticks = theatre.ticks_sent(run)
    assert list(ticks) == sorted(ticks)
    assert all(of == list(range(of[0], of[0] + len(of))) for of in ticks.values()), ticks
    assert ticks[stepped.epoch][0] == stood.settled_tick + 1
    assert ticks[resumed.epoch][0] == stepped.settled_tick + 1
    assert ticks[sought.epoch][0] == 5
    assert [(ticks[told.epoch][0], ticks[told.epoch][-1]) for told in rounds[:2]] == [(5, 9)] * 2
    assert ticks[last][-1] >= 15
    frames = [head for head in telemetry(theatre, run) if head.name != "telemetry.jobs"]
    of_a_tick = Counter((head.epoch, head.tick) for head in frames)
    del of_a_tick[last, ticks[last][-1]]  # in which it was ended
    assert set(of_a_tick.values()) == {FRAMES_N}, "it stands and jumps between ticks"


def telemetry(theatre: Theatre, run: str) -> list[Head]:
    """Return the heads of all frames; display time goes back for no key, and is never more than two seconds ahead."""
    heads, last = [], dict[tuple[str, bytes | None], int]()
    for topic in ("gpu", "grid", "chillers", "turbines", "network", "jobs"):
        for record in theatre.records(f"telemetry.{topic}"):
            head, _ = split(record.value)
            if head.run == run:
                assert last.get((topic, record.key), 0) <= head.ts <= record.timestamp_ms + 2000, head
                last[topic, record.key] = head.ts
                heads.append(head)
    return heads


# -- foreign topics


def test_foreign_topics_come_out_as_they_went_in(theatre: Theatre) -> None:
    chance, bus = random.Random(5), theatre.bus  # noqa: S311
    same, other = f"{theatre.namespace}same", f"{theatre.namespace}other"
    for namespace, partitions in ((theatre.namespace, 3), (same, 3), (other, 2)):
        bus.create_topics([Topic("orders", Command, partitions, "any", "event", retention_s=10**9)], namespace)
    first, again = theatre.folder / "orders.mcap", theatre.folder / "orders-again.mcap"
    recorder = recording_of(theatre, first, "--topics", "orders")
    keys = [None, b"", b"\x00\xff", "Größe".encode(), *(chance.randbytes(8) for _ in range(12))]
    for n in range(900):
        place = chance.randrange(len(keys))
        key = keys[place]  # each has a partition of its own, and not the one that a producer would choose
        bus.publish(
            theatre.name("orders"),
            chance.choice([None, b"", chance.randbytes(chance.randrange(3000)), b'{"n": %d}' % n]),
            key=key,
            partition=chance.randrange(3) if key is None else place % 3,
            timestamp_ms=theatre.now_ms() - chance.randrange(1_000_000),
            headers=[("n", b"%d" % n), ("h", chance.randbytes(4)), ("h", b"")][: chance.randrange(1, 4)],
        )
    bus.flush()
    ended(recorder, 900)
    recorder = recording_of(theatre, again, "--topics", "orders", COLOSSUS_NAMESPACE=same)
    players = [
        theatre.verb("replay", str(first), "--speed", "0", *flags)
        for flags in (("--into", same, "--shift", "original"), ("--into", other))
    ]
    for player in players:
        code, words = player.wait()
        assert code == 0, player.log()
        assert "sent 900 messages, 0 lost" in words
    ended(recorder, 900)

    sources = [read(first), read(again)]
    came, came_again = (sorted(items, key=lambda item: item.partition) for items in sources)
    assert [kept(item) for item in came_again] == [kept(item) for item in came]
    assert [item.timestamp_ms for item in came] != sorted(item.timestamp_ms for item in came)

    with closing(bus.read([f"{other}.orders"], start="beginning")) as reader:
        shifted = reader.read_up(30.0)
    assert len(shifted) == 900
    assert min(record.timestamp_ms for record in shifted) > max(item.received_ms for item in sources[0])
    assert order_kept(shifted, 2) == order_kept(sources[0], 2)


def ended(recorder: Verb, messages_n: int) -> None:
    """End a recorder once it has flushed so many messages."""
    for _ in range(300):
        if recorder.health()["messages"] == messages_n:
            break
        threading.Event().wait(0.1)
    assert f"{messages_n:,} messages, 0 lost" in recorder.end()[1]


def kept(item: Item) -> tuple[object, ...]:
    return item.partition, item.offset, item.timestamp_ms, item.key, item.value, item.headers


def order_kept(messages: Iterable[Item | Record], partitions: int) -> dict[bytes | int, list[tuple[object, ...]]]:
    """Return what came of each key, in its order; what has none by partition, as it comes to so many."""
    came: dict[bytes | int, list[tuple[object, ...]]] = defaultdict(list)
    for one in messages:
        came[one.partition % partitions if one.key is None else one.key].append((one.value, one.headers))
    return dict(came)


# -- what is refused


def test_what_cannot_be_played_is_one_line(played: Played, incident: Path, tmp_path: Path) -> None:
    here, file = played.theatre, str(incident)
    (tmp_path / "none.mcap").write_bytes(b"this is no recording" * 50)
    orders = str(write(tmp_path / "orders.mcap", [item("orders")]))
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    standing = replay_of(here, incident, "--paused")
    begun_at_once = {
        "is paused in this namespace": here.verb("replay", file),
        "end it (colossus run end)": here.verb("replay", orders),
        "nowhere.run.control": here.verb("replay", file, "--into", "nowhere"),
        "no topic nowhere.orders": here.verb("replay", orders, "--into", "nowhere"),
        nobody: here.verb("replay", file, COLOSSUS_KAFKA=nobody),
        "none.mcap": here.verb("replay", str(tmp_path / "none.mcap")),
        "absent.mcap": here.verb("replay", str(tmp_path / "absent.mcap")),
        "+601s is not in the recording": here.verb("replay", file, "--from", "+601s"),
        "--into scratch": here.verb("replay", file, "--shift", "original"),
        "twin.site is made by the apps": here.verb("replay", str(played.path), "--topics", "twin.site"),
    }
    try:
        for words, verb in begun_at_once.items():
            code, said = verb.wait()
            assert (code, said) == (2, ""), verb.log()
            assert verb.log().count("\n") == 1, verb.log()
            assert words in verb.log()
        assert standing.runs()
    finally:
        code, _ = standing.end()
    assert code == 0


# -- outages


def test_a_broker_that_goes_away(played: Played, theatre: Theatre, incident: Path) -> None:
    player = theatre.verb("replay", str(incident), "--speed", "10", "--to", "+80s", "--instructor")
    other = replay_of(played.theatre, incident)
    followed(theatre, player)
    run = theatre.control.run
    theatre.until(lambda: theatre.control.settled_tick >= 20, SECONDS, "tick 20")
    theatre.kafka.stop()
    try:
        threading.Event().wait(AWAY_S / 2)
        asked_ms = theatre.now_ms()
        code, words = other.end(signal.SIGTERM)
        took_ms = theatre.now_ms() - asked_ms
        threading.Event().wait(max(0.0, AWAY_S / 2 - took_ms / 1000))
    finally:
        theatre.kafka.start()

    # Who is told to end while it is away says what was not sent.
    assert (code, other.log().count("=away")) == (1, 1)
    assert took_ms < 15_000
    unsent = re.search(r"the last (\d+) bytes have not gone out: Kafka at", words)
    assert unsent is not None
    assert int(unsent[1]) > 3 * 8 * 20_000 / 2, "the frames of three ticks at least"

    # Who waits for it loses nothing, and says for how long it has waited.
    code, words = player.wait()
    assert code == 0
    assert ", 0 lost, in" in words
    slowed = re.search(r"clock slowed by ([\d.]+) s", words)
    assert slowed is not None
    assert float(slowed[1]) >= AWAY_S
    with Recording(incident) as recording:
        held = [topic for topic in recording.counts if topic.startswith("telemetry.")]
        items = [item for item in recording.items(topics=held) if split(item.value)[0].tick <= 80]
        recorded = by_key(items, recording.facts["run"])
    assert by_key((record for topic in held for record in theatre.records(topic)), run) == recorded
    assert telemetry(theatre, run)


def test_producers_after_a_player_that_was_killed_begin_a_run(theatre: Theatre, incident: Path) -> None:
    player = replay_of(theatre, incident)
    run = theatre.control.run
    theatre.run_ticks(2)
    player.end(signal.SIGKILL)
    plant = theatre.start("producers", "producers-1")
    assert re.match(r"run \S+ begun;", plant.greeting), plant.greeting
    theatre.until(lambda: theatre.control.kind == "live", SECONDS, "the run of the plant")
    assert theatre.control.run > run
    assert (theatre.control.epoch, theatre.control.settled_tick < 5) == (0, True)
    theatre.run_ticks(2)
    assert theatre.fleet.end("producers-1") == 0
