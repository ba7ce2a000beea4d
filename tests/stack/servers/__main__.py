"""``python -m tests.stack.servers start|stop|fetch``: a real Kafka and a real InfluxDB for a person without Docker."""

import argparse
import os
import sys
from pathlib import Path

from tests.stack.servers.fetching import INFLUX_VERSION, KAFKA_VERSION, CannotFetchError, influxd, kafka_jars
from tests.stack.servers.influx import Influx
from tests.stack.servers.kafka import Kafka
from tests.stack.servers.running import DidNotStartError, Server
from twin.store.influx_setup import init

FOLDER = Path(".servers").resolve()
KAFKA_PORT, KAFKA_SAFE_PORT, CONTROLLER_PORT, INFLUX_PORT = 9092, 9093, 9094, 8086
RETENTION_LOOK_S = 60


def main() -> int:
    """Do what the first argument says."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.servers", description=__doc__)
    parser.add_argument("verb", choices=("fetch", "start", "stop"))
    verb = parser.parse_args().verb
    try:
        say(f"Kafka {KAFKA_VERSION} and InfluxDB {INFLUX_VERSION}; the first time this takes minutes")
        if verb == "fetch":
            kafka_jars()
            influxd()
            return 0
        servers = _servers()
        if verb == "stop":
            for server in servers:
                server.stop()
            say("stopped; their data stays in .servers/")
            return 0
        for server in servers:
            server.start()
            say(f"{server.name} runs as process {server.pid}, its log is .servers/{server.folder.name}/log")
        _write_settings(*servers)
    except (CannotFetchError, DidNotStartError) as exc:
        print(f"servers: {exc}", file=sys.stderr)
        return 2
    return 0


def _servers() -> tuple[Kafka, Influx]:
    kafka = Kafka(
        FOLDER / "kafka",
        port=KAFKA_PORT,
        safe_port=KAFKA_SAFE_PORT,
        controller_port=CONTROLLER_PORT,
        retention_look_s=RETENTION_LOOK_S,
    )
    return kafka, Influx(FOLDER / "influx", port=INFLUX_PORT)


def _write_settings(kafka: Server, influx: Server) -> None:
    assert isinstance(kafka, Kafka)
    assert isinstance(influx, Influx)
    tokens = init(influx.url, influx.org, influx.admin_token, os.environ.get("COLOSSUS_NAMESPACE", ""))
    _write(
        "settings",
        KAFKA=kafka.address,
        INFLUX_URL=influx.url,
        INFLUX_ORG=influx.org,
        INFLUX_TOKEN=tokens.writer,
    )
    _write("settings-reader", INFLUX_TOKEN=tokens.reader)
    _write("settings-admin", INFLUX_ADMIN_TOKEN=influx.admin_token)
    say("settings for `colossus up`: . .servers/settings; for the console then . .servers/settings-reader")


def _write(name: str, **settings: str) -> None:
    file = FOLDER / name
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text("".join(f"export COLOSSUS_{name}={value}\n" for name, value in settings.items()))


def say(line: str) -> None:
    """Tell the person."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
