import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP, ConsumerMessage

from tests.bus.faust_house import TURN_S, House, collector, partitions, raw
from twin.bus.base import Place
from twin.errors import BusError, MessageTooLarge
from twin.events.topics import MAX_MESSAGE_BYTES


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    for app in house.apps:
        await app.stop()
    house.bus.close()


async def test_a_worker_reads_what_was_there_and_what_comes(house: House) -> None:
    house.publish(0, 20)
    seen: list[int] = []
    app = await house.worker(collector(seen))
    assert not app.crashed
    house.publish(20, 40)
    await house.until(lambda: len(seen) >= 40)
    assert sorted(seen) == list(range(40))
    for partition in range(4):
        mine = [i for i in seen if i % 4 == partition]
        assert mine == sorted(mine)


async def test_key_value_headers_partition_and_timestamp_pass_both_ways(house: House) -> None:
    events: list[Any] = []

    async def agent(stream: Any) -> None:
        async for event in stream.events():
            await out.send(
                key=event.key,
                value=b"<" + event.value + b">",
                partition=event.message.partition,
                timestamp=event.message.timestamp,
                headers=event.headers,
            )
            events.append(event)

    app = house.app()
    out = raw(app, "out")
    app.agent(raw(app, "in"), name="agent")(agent)
    app.finalize()
    await app.start()
    reader = house.bus.read(["out"])
    house.bus.publish(
        "in", b"\x00\xff", key=b"\xfe", partition=3, timestamp_ms=1_700_000_000_123, headers=[("h", b"1")]
    )
    await house.until(lambda: events)
    (record,) = reader.poll()
    assert record[1:] == (3, 0, 1_700_000_000_123, b"\xfe", b"<\x00\xff>", (("h", b"1"),))
    message = events[0].message
    assert (message.topic, message.partition, message.offset, message.timestamp) == ("in", 3, 0, 1_700_000_000.123)


async def test_a_message_too_large_comes_back_to_the_sender_at_once(house: House) -> None:
    app = await house.worker(collector([]))
    with pytest.raises(MessageTooLarge):
        await raw(app, "out").send(key=b"k", value=bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(MessageTooLarge):
        raw(app, "out").send_soon(key=b"k", value=bytes(MAX_MESSAGE_BYTES + 1))
    assert not app.crashed


async def test_send_soon_and_send_and_wait_put_on_the_bus_at_once(house: House) -> None:
    app = await house.worker(collector([]))
    reader = house.bus.read(["out"])
    told: list[Any] = []
    sent = raw(app, "out").send_soon(key=b"k", value=b"soon", partition=2, callback=told.append)
    assert [record.value for record in reader.poll()] == [b"soon"]
    assert told == [sent]
    assert sent.result().topic_partition == ("out", 2)
    metadata = await app.producer.send_and_wait("out", b"k", b"wait", 1, None, None)
    assert (metadata.partition, metadata.offset) == (1, 0)


async def test_faust_leaves_a_topic_that_exists_alone_and_declares_another(house: House) -> None:
    app = await house.worker(collector([]))
    await app.topic("telemetry.gpu", partitions=2).declare()
    assert house.bus.partitions("telemetry.gpu") == 24
    await app.topic("declared", partitions=2, compacting=True, retention=60.0).declare()
    assert house.bus.partitions("declared") == 2
    assert app.consumer.topic_partitions("declared") == 2


async def test_two_workers_split_the_partitions_and_one_that_leaves_hands_its_own_over(house: House) -> None:
    seen_a: list[int] = []
    seen_b: list[int] = []
    a = await house.worker(collector(seen_a))
    house.publish(0, 40)
    await house.until(lambda: len(seen_a) == 40)
    b = await house.worker(collector(seen_b))
    await house.until(lambda: len(partitions(a)) == len(partitions(b)) == 2)
    assert partitions(a) | partitions(b) == {0, 1, 2, 3}
    house.publish(40, 80)
    await house.until(lambda: len(seen_a) + len(seen_b) == 80)
    assert {i % 4 for i in seen_b} == partitions(b)
    await house.until(house.bus.settled)
    await b.stop()
    await house.until(lambda: len(partitions(a)) == 4)
    house.publish(80, 120)
    await house.until(lambda: len(seen_a) + len(seen_b) >= 120)
    await house.until(house.bus.settled)
    # commit on revoke and on leave: nobody read anything twice
    assert sorted(seen_a + seen_b) == list(range(120))
    assert a.consumer.refused_commits == b.consumer.refused_commits == 0


async def test_a_new_subscription_keeps_what_was_committed(house: House) -> None:
    seen: list[int] = []
    app = await house.worker(collector(seen), broker_commit_interval=1e6)
    house.publish(0, 20)
    await house.until(lambda: len(seen) == 20)
    await app.consumer.subscribe({"in"})
    house.publish(20, 40)
    await house.until(lambda: len(seen) >= 40)
    assert sorted(seen) == list(range(40))
    assert app.consumer.refused_commits == 0


async def test_a_worker_shares_the_group_with_a_member_of_the_bus(house: House) -> None:
    app = await house.worker(collector([]))
    member = house.bus.join("group", ["in"])
    await house.until(lambda: member.poll() == [] and len(member.assignment) == 2)
    assert partitions(app) == {0, 1, 2, 3} - {place.partition for place in member.assignment}
    member.close()
    await house.until(lambda: len(partitions(app)) == 4)


async def test_what_a_crashed_worker_had_not_committed_is_delivered_again(house: House) -> None:
    seen_a: list[int] = []
    seen_b: list[int] = []
    a = await house.worker(collector(seen_a), broker_commit_interval=1e6)
    b = await house.worker(collector(seen_b))
    await house.until(lambda: len(partitions(a)) == len(partitions(b)) == 2)
    lost = partitions(a)
    house.publish(0, 40)
    await house.until(lambda: len(seen_a) + len(seen_b) == 40)
    await house.kill(a)
    house.publish(40, 60)
    assert not house.bus.settled()  # its partitions wait for the session timeout
    await house.until(lambda: len(partitions(b)) == 4)
    await house.until(house.bus.settled)
    assert max(seen_a) < 40
    assert sorted(i for i in seen_b if i % 4 in lost) == [i for i in range(60) if i % 4 in lost]
    assert set(seen_b) == set(range(60))


async def test_nothing_that_a_dropped_worker_does_reaches_the_bus(house: House) -> None:
    app = await house.worker(collector([]))
    reader = house.bus.read(["out"])
    app.consumer.drop()
    await raw(app, "out").send(key=b"k", value=b"v")
    raw(app, "out").send_soon(key=b"k", value=b"v")
    house.publish(0, 4)
    for _ in range(20):
        await asyncio.sleep(TURN_S)
    await app.stop()
    assert reader.poll() == []
    assert house.committed() == 0
    assert len(list(house.bus.group("group").seats())) == 1  # no goodbye either


async def test_a_refused_commit_is_counted_and_the_worker_lives_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    app = await house.worker(collector(seen), broker_commit_interval=1e6)
    house.publish(0, 4)
    await house.until(lambda: len(seen) == 4)
    house.bus.group("group").expire(house.now_s + 1e6)  # as if it had hung for long
    with caplog.at_level(logging.WARNING, logger="twin.bus.faust_memory"):
        assert await app.consumer.commit() is False
    assert app.consumer.refused_commits == 1
    assert "commit=refused app=group" in caplog.text
    house.publish(4, 8)
    await house.until(lambda: set(seen) == set(range(8)))
    await house.until(house.bus.settled)
    assert not app.crashed
    assert seen.count(0) == 2  # delivered again in the new generation
    assert await app.consumer.commit()
    assert house.committed() == 8


@pytest.mark.parametrize("taking", [False, True], ids=["noack", "noack_take"])
async def test_what_an_agent_does_not_acknowledge_is_not_committed(house: House, taking: bool) -> None:
    held: list[Any] = []

    async def hold(stream: Any) -> None:
        if taking:
            async for events in stream.noack_take(3, within=0.01):
                held.extend(events)
        else:
            async for event in stream.noack().events():
                held.append(event)

    app = await house.worker(hold)
    house.publish(0, 20, partitions=1)
    await house.until(lambda: len(held) == 20)
    assert not house.bus.settled()
    for event in held[:12]:
        event.ack()
    await house.until(lambda: house.committed() == 12)
    for _ in range(30):  # many commit intervals
        await asyncio.sleep(TURN_S)
    assert house.committed() == 12
    await app.stop()
    assert house.committed() == 12
    again: list[int] = []
    await house.worker(collector(again))
    await house.until(house.bus.settled)
    assert again == list(range(12, 20))
    assert house.bus.group("group").committed[Place("in", 0)] >= 12


async def test_an_acknowledged_gap_lets_the_commit_go_on(house: House) -> None:
    held: list[Any] = []

    async def hold(stream: Any) -> None:
        async for event in stream.noack().events():
            held.append(event)

    await house.worker(hold)
    house.publish(0, 8, partitions=1)
    await house.until(lambda: len(held) == 8)
    for event in reversed(held):
        event.ack()
    await house.until(lambda: house.committed() == 8)
    assert house.bus.settled()


async def test_settled_waits_for_a_handler_and_for_what_it_sends(house: House) -> None:
    may_go = asyncio.Event()
    out_seen: list[int] = []

    async def forward(stream: Any) -> None:
        async for value in stream:
            await may_go.wait()
            await out.send(key=b"k", value=value)

    app = house.app("first")
    out = raw(app, "out")
    app.agent(raw(app, "in"), name="forward")(forward)
    app.finalize()
    await app.start()
    await house.worker(collector(out_seen), group="second", topic="out")
    await house.until(house.bus.settled)
    house.publish(0, 1)
    for _ in range(20):
        assert not house.bus.settled()
        await asyncio.sleep(TURN_S)
    may_go.set()
    await house.until(house.bus.settled)
    assert out_seen == [0]


async def test_a_worker_reads_on_after_its_queue_was_full(house: House) -> None:
    seen: list[int] = []
    house.publish(0, 1000)
    await house.worker(collector(seen), stream_buffer_maxsize=16, broker_max_poll_records=50)
    await house.until(lambda: len(seen) == 1000)
    await house.until(house.bus.settled)
    assert sorted(seen) == list(range(1000))
    await house.until(lambda: house.committed() == 1000)


async def test_rebalances_while_queues_are_full_lose_nothing(house: House) -> None:
    seen: list[int] = []

    async def slow(stream: Any) -> None:
        async for value in stream:
            for _ in range(int(value) % 4):
                await asyncio.sleep(0)
            seen.append(int(value))

    settings = {"stream_buffer_maxsize": 2, "broker_max_poll_records": 7}
    await house.worker(slow, **settings)
    for i in range(15):
        house.publish(100 * i, 100 * (i + 1))
        other = await house.worker(slow, **settings)
        for _ in range(i):
            await asyncio.sleep(0)
        await other.stop()
    await house.until(house.bus.settled)
    assert len(list(house.bus.group("group").seats())) == 1
    assert set(seen) == set(range(1500))
    await house.until(lambda: house.committed() == 1500)


async def test_a_worker_that_lags_sleeps_for_no_longer_than_its_queue_is_full(house: House) -> None:
    seen: list[int] = []

    async def slow(stream: Any) -> None:
        async for value in stream:
            for _ in range(5):
                await asyncio.sleep(0)
            seen.append(int(value))

    house.publish(0, 2000, partitions=1)
    await house.worker(slow, stream_buffer_maxsize=16, broker_max_poll_records=20)
    await house.until(lambda: len(seen) == 2000)


async def test_a_handler_at_work_during_a_rebalance_is_waited_for(house: House) -> None:
    may_go = asyncio.Event()

    async def block(stream: Any) -> None:
        async for _ in stream:
            await may_go.wait()

    first = await house.worker(block)
    house.publish(1, 2)
    await house.until(lambda: first.consumer.unacked)
    seen: list[int] = []
    second = await house.worker(collector(seen))
    await house.until(lambda: seen == [1])  # its partition has moved, and it was delivered again
    assert partitions(second) == {1, 3}
    await house.until(lambda: house.committed() == 1)
    for _ in range(20):
        assert not house.bus.settled()
        await asyncio.sleep(TURN_S)
    may_go.set()
    await house.until(house.bus.settled)
    assert house.committed() == 1


async def test_finished_messages_are_let_go_of(house: House) -> None:
    seen: list[int] = []
    app = await house.worker(collector(seen), broker_max_poll_records=10)
    for i in range(20):
        house.publish(50 * i, 50 * (i + 1))
        await house.until(lambda n=50 * (i + 1): len(seen) == n)
    assert len(app.consumer._unfinished) <= 200


async def test_a_message_that_was_skipped_is_not_acknowledged(house: House) -> None:
    app = await house.worker(collector([]))
    house.publish(0, 1)
    await house.until(house.bus.settled)
    generation = app.consumer_generation_id
    await app.consumer.commit()

    def message(generation: int, offset: int) -> ConsumerMessage:
        tp = TP("in", 0)
        return ConsumerMessage("in", 0, offset, 0.0, 0, [], b"k", b"v", None, tp=tp, generation_id=generation)

    assert not app.consumer.ack(message(generation - 1, 1))
    app.consumer.stop_flow()
    assert not app.consumer.ack(message(generation, 1))
    app.consumer.resume_flow()
    handled_late = message(generation - 1, 1)
    handled_late.tracked = True
    assert app.consumer.ack(handled_late)
    assert app.consumer.ack(message(generation, 2))  # one that does not decode


async def test_positions_follow_faust(house: House) -> None:
    house.publish(0, 40)
    app = await house.worker(collector([]))
    await house.until(lambda: house.committed() == 40)
    tp = TP("in", 2)
    consumer = app.consumer
    assert (consumer.highwater(tp), await consumer.highwaters(tp)) == (10, {tp: 10})
    assert await consumer.earliest_offsets(tp) == {tp: 0}
    consumer.stop_flow()
    await consumer.seek_wait({tp: 4})
    assert await consumer.position(tp) == 4
    assert (await consumer.seek_to_committed())[tp] == 10
    assert await consumer.position(tp) == 10
    assert consumer.key_partition("in", b"k") == app.producer.key_partition("in", b"k").partition
    assert consumer.key_partition("in", b"k", 3) == 3


async def test_messages_from_other_threads_wake_a_worker(house: House) -> None:
    seen: list[int] = []
    await house.worker(collector(seen))
    await asyncio.gather(*(asyncio.to_thread(house.publish, 100 * i, 100 * (i + 1)) for i in range(3)))
    await house.until(lambda: len(seen) == 300)


async def test_workers_come_and_go_under_load_and_nothing_is_lost(house: House) -> None:
    seen: list[int] = []
    first = 0
    workers: list[Any] = []
    for round_ in range(6):
        house.publish(first, first + 200)
        first += 200
        if len(workers) < 3:
            workers.append(await house.worker(collector(seen)))
        elif round_ % 2:
            await workers.pop(0).stop()
        else:
            await house.kill(workers.pop(0))
        half = first // 2
        await house.until(lambda half=half: len(seen) > half)
    await house.until(house.bus.settled)
    assert set(seen) == set(range(first))
    await house.until(lambda: house.committed() == first)


async def test_an_app_whose_topic_does_not_exist_says_so(house: House) -> None:
    app = await house.worker(collector([]), topic="nowhere")
    assert app.crashed
    assert "nowhere" in str(app.crash_reason)


async def test_an_app_needs_a_bus_of_that_name(house: House) -> None:
    house.bus.close()
    with pytest.raises(BusError, match="faust-test"):
        await house.worker(collector([]))
    house.apps.clear()
