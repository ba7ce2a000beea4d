"""``telemetry.network``: links and switches of each hall, and the bandwidth factor of the jobs there."""

from collections.abc import Iterator

from producers.family import Reading, shown
from twin.events.frames import Frame, encode_frame, quantise
from twin.events.layout import FrameLayout
from twin.events.network import HALL, JOB, SWITCH, TELEMETRY_NETWORK
from twin.plant import Plant


class NetworkProducer:
    """One frame per hall and tick."""

    topic = "telemetry.network"

    def __init__(self, layout: FrameLayout) -> None:
        self._keys = layout.keys(self.topic)
        sizes = [(layout.sizes(self.topic, key) or {})["switch"] for key in self._keys]
        self._firsts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]

    def readings(self, plant: Plant, *, first_of_epoch: bool) -> Iterator[Reading]:
        """Read the switches of every hall."""
        network = plant.network
        switch = shown(SWITCH, {column.name: getattr(network, column.name) for column in SWITCH.columns})
        hall = shown(
            HALL,
            {
                "links_n": network.hall_links_n,
                "links_down_n": network.hall_links_down_n,
                "flaps_n": network.hall_flaps_n,
                "switch_down_n": network.hall_switch_down_n,
                "utilisation_max": network.hall_utilisation_max,
                "ecn_mean": network.hall_ecn_mean,
            },
        )
        factor = quantise(JOB.column("bw_factor"), plant.jobs.bw_factor)
        for i, key in enumerate(self._keys):
            places = slice(self._firsts[i], self._firsts[i + 1])
            frame = Frame(
                dense={
                    "hall": {name: column[i : i + 1] for name, column in hall.items()},
                    "switch": {name: column[places] for name, column in switch.items()},
                    "job": {"bw_factor": factor},
                },
                text={"job": {"unit": plant.jobs.id.tolist()}},
            )
            yield Reading(key, encode_frame(TELEMETRY_NETWORK, frame))
