"""Which asset stands at which place of a frame's columns: the site file read as keys, sizes and ids of frames."""

from collections.abc import Mapping

from twin.events.grid import FAST_PER_S
from twin.site import Site

Ids = tuple[str, ...]


class FrameLayout:
    """Keys of every telemetry topic of a site, and the assets of each group in the order of its columns.

    Parameters
    ----------
    site
        What exists.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        by_plant: dict[tuple[str, str], list[str]] = {}
        for unit in site.units:
            by_plant.setdefault((unit.kind, unit.plant), []).append(unit.id)
        units = {key: tuple(ids) for key, ids in by_plant.items()}
        self._ids: dict[str, dict[str, dict[str, Ids]]] = {
            "telemetry.gpu": self._cdus(),
            "telemetry.chillers": {
                plant: {
                    "chiller": units.get(("chiller", plant), ()),
                    "tower": units.get(("tower_cell", plant), ()),
                    "pump": units.get(("pump", plant), ()),
                    "loop": units.get(("loop", plant), ()),
                    "room": (plant,),
                    "weather": ("weather",),
                    "water": (plant,),
                }
                for kind, plant in units
                if kind == "cooling_plant"
            },
            "telemetry.turbines": {
                plant: {
                    "turbine": units.get(("turbine", plant), ()),
                    "gas": units.get(("gas", plant), ()),
                    "permit": (plant,),
                }
                for kind, plant in units
                if kind == "power_plant"
            },
            "telemetry.grid": {
                plant: {
                    "feed": units.get(("feed", plant), ()),
                    "battery": units.get(("battery", plant), ()),
                    "pack": tuple(str(pack) for pack in range(site.battery.packs_n)),
                    "ups": units.get(("ups", plant), ()),
                    "meter": units.get(("meter", plant), ()),
                    "site": (site.id,),
                    "fast": tuple(str(sample) for sample in range(FAST_PER_S)),
                }
                for kind, plant in units
                if kind == "power_plant"
            },
            "telemetry.network": {
                hall: {"hall": (hall,), "switch": units.get(("switch", hall), ())} for hall in site.layout.hall_ids
            },
        }
        self._sizes: dict[str, dict[str, dict[str, int]]] = {
            topic: {key: {group: len(ids) for group, ids in groups.items()} for key, groups in keys.items()}
            for topic, keys in self._ids.items()
        }
        self._sizes["telemetry.gpu"] = self._array_sizes()

    def _cdus(self) -> dict[str, dict[str, Ids]]:
        layout = self.site.layout
        return {
            array_id: {
                "cdu": tuple(
                    f"cdu-{layout.rack_ids[rack]}"
                    for rack in range(layout.array_first_rack[array], layout.array_first_rack[array + 1])
                )
            }
            for array, array_id in enumerate(layout.array_ids)
        }

    def _array_sizes(self) -> dict[str, dict[str, int]]:
        # GPUs and servers are named by number, not by 200,000 strings.
        layout = self.site.layout
        sizes = {}
        for array, array_id in enumerate(layout.array_ids):
            first, end = int(layout.array_first_rack[array]), int(layout.array_first_rack[array + 1])
            sizes[array_id] = {
                "gpu": int(layout.rack_first_gpu[end] - layout.rack_first_gpu[first]),
                "server": int(layout.rack_first_server[end] - layout.rack_first_server[first]),
                "cdu": end - first,
            }
        return sizes

    def keys(self, topic: str) -> tuple[str, ...]:
        """Return the keys that the site's gateways use on a topic, in site order."""
        return tuple(self._ids[topic])

    def topics(self) -> tuple[str, ...]:
        """Return the topics whose frames have columns in site order."""
        return tuple(self._ids)

    def sizes(self, topic: str, key: str) -> Mapping[str, int] | None:
        """Return the places of each group, or None for a key that the site does not have."""
        return self._sizes[topic].get(key)

    def ids(self, topic: str, key: str, group: str) -> Ids:
        """Return the assets of a group in the order of its columns (GPUs and servers go by number)."""
        return self._ids[topic][key][group]
