"""What the tests of the stack share: the real servers, started once and stopped at the end."""

from collections.abc import Iterator

import pytest

from tests.stack.servers.influx import Influx
from tests.stack.servers.kafka import Kafka
from tests.stack.servers.running import free_ports

pytest.register_assert_rewrite("tests.bus.contract", "tests.store.test_contract", "tests.store.test_contract_roll_up")


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
