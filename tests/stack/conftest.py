"""What the tests of the stack share: the real servers, started once and stopped at the end."""

import warnings
from collections.abc import Callable, Iterator

import pytest

pytest.register_assert_rewrite(
    "tests.bus.contract", "tests.stack.theatre", "tests.store.test_contract", "tests.store.test_contract_roll_up"
)

from tests.stack.servers.influx import Influx
from tests.stack.servers.kafka import Kafka
from tests.stack.servers.running import free_ports
from tests.stack.theatre import Theatre


def pytest_configure(config: pytest.Config) -> None:
    # kafka-python leaves the sockets of connections that failed to the garbage collector: within a test
    # (pytest's own list of filters), and at the end of all, where only the filters set by now count.
    unclosed = "unclosed <(ssl.SSLS|s)ocket"
    config.addinivalue_line("filterwarnings", f"ignore:{unclosed}:ResourceWarning")
    warnings.filterwarnings("ignore", unclosed, ResourceWarning)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outage-s", type=int, default=30, help="how long InfluxDB is away [s]")


@pytest.fixture
def outage_s(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--outage-s"))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    port, safe_port, controller_port = free_ports(3)
    server = Kafka(
        tmp_path_factory.mktemp("kafka"),
        port=port,
        safe_port=safe_port,
        controller_port=controller_port,
        retention_look_s=1,
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    server = Influx(tmp_path_factory.mktemp("influx"), port=free_ports(1)[0])
    server.start()
    yield server
    server.stop()


@pytest.fixture
def theatre_of(
    kafka: Kafka, influx: Influx, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Theatre]]:
    """A function that opens a namespace of a site on the servers."""
    opened: list[Theatre] = []

    def of(site: str) -> Theatre:
        opened.append(Theatre(kafka, influx, tmp_path_factory.mktemp("theatre"), site))
        return opened[-1]

    yield of
    for theatre in opened:
        theatre.close()
