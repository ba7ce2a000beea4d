"""Faust workers on a memory bus, for tests."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import faust

from twin.bus.faust_memory import Tables
from twin.bus.memory import MemoryBus
from twin.events.control import Command
from twin.events.topics import TOPICS, Topic

Agent = Callable[[Any], Awaitable[None]]
TURN_S = 0.001


class House:
    """A bus on a clock of its own, and workers on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_s = 0.0
        self.bus = MemoryBus("faust-test", clock=lambda: self.now_s)
        self.bus.create_topics(TOPICS)
        self.bus.create_topics([Topic("in", Command, 4, "any", "event"), Topic("out", Command, 4, "any", "event")])
        self.apps: list[Any] = []

    def app(self, group: str = "group", **settings: Any) -> Any:
        app = faust.App(
            group,
            broker="memory://faust-test",
            store="memory://",
            origin="twin",
            autodiscover=False,
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=True,
            stream_wait_empty=False,
            datadir=self.folder,
            TableManager=Tables,
            **{"broker_commit_interval": 0.01, "broker_heartbeat_interval": 0.005} | settings,
        )
        app.loop = asyncio.get_running_loop()
        self.apps.append(app)
        return app

    async def worker(self, agent: Agent, group: str = "group", topic: str = "in", **settings: Any) -> Any:
        app = self.app(group, **settings)
        app.agent(raw(app, topic), name=f"{group}-agent")(agent)
        app.finalize()
        await app.start()
        return app

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait for something to happen; meanwhile the clock of the bus runs 100 times as fast as heartbeats need."""
        for _ in range(5000):
            if happened():
                return
            self.now_s += 0.05
            await asyncio.sleep(TURN_S)
        raise AssertionError("it did not happen")

    def publish(self, first: int, last: int, partitions: int = 4) -> None:
        for i in range(first, last):
            self.bus.publish("in", b"%d" % i, key=b"k", partition=i % partitions)

    def committed(self, group: str = "group") -> int:
        return sum(self.bus.group(group).committed.values())

    async def kill(self, app: Any) -> None:
        """Let a worker vanish: nothing it does from here on reaches the bus, and its agents stop where they are."""
        app.consumer.drop()
        await app.agents.stop()


def raw(app: Any, topic: str) -> Any:
    return app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def partitions(app: Any) -> set[int]:
    return {tp.partition for tp in app.consumer.assignment()}


def collector(seen: list[int]) -> Agent:
    async def collect(stream: Any) -> None:
        async for value in stream:
            seen.append(int(value))

    return collect
