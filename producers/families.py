"""Every family of telemetry. To add one: its row here."""

from collections.abc import Callable

from producers.chillers import ChillerProducer
from producers.family import Producer
from producers.gpus import GpuProducer
from producers.grid import GridProducer
from producers.jobs import JobProducer
from producers.network import NetworkProducer
from producers.turbines import TurbineProducer
from twin.events.layout import FrameLayout

PRODUCERS: dict[str, Callable[[FrameLayout], Producer]] = {
    "jobs": JobProducer,
    "gpus": GpuProducer,
    "chillers": ChillerProducer,
    "turbines": TurbineProducer,
    "grid": GridProducer,
    "network": NetworkProducer,
}
