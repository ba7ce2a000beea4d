"""What the plant does by itself, with no operator: standby pumps, run-out trips.

Relays of feed and generators, load shedding and low suction come with their physics.
"""

import numpy as np

from twin.plant.cooling import Cooling
from twin.plant.states import RUNNING, STANDBY, STARTING, TRIPPED
from twin.site import Site

LOW_FLOW_RATIO = 0.9  # of the nominal flow, below which a standby pump starts (assumption)


def step(cooling: Cooling, site: Site, dt_s: float) -> None:
    """Act on what the tick has brought.

    Parameters
    ----------
    cooling
        Changed in place.
    site
        Nameplate.
    dt_s
        Length of the tick. [s]
    """
    pumps, plate = cooling.pumps, site.pump
    overloaded = (pumps.state_code == RUNNING) & (pumps.flow_l_min > plate.runout_ratio * plate.flow_l_min)
    pumps.runout_s[:] = np.where(overloaded, pumps.runout_s + dt_s, 0.0)
    for pump in np.flatnonzero(pumps.runout_s >= plate.runout_trip_s):
        trip_pump(cooling, int(pump))

    per_hall = plate.duty_n + plate.standby_n
    # A loop whose valves ask for less is not short of pumps: compare pressure, not flow.
    low = cooling.loops.dp_pa < LOW_FLOW_RATIO**2 * site.loop.dp_pa
    for hall in np.flatnonzero(low):
        here = slice(int(hall) * per_hall, (int(hall) + 1) * per_hall)
        if not (pumps.state_code[here] == STARTING).any():
            for pump in np.flatnonzero(pumps.state_code[here] == STANDBY)[:1]:
                start_pump(cooling, here.start + int(pump))


def start_pump(cooling: Cooling, pump: int) -> None:
    """Begin the start of a pump."""
    cooling.pumps.state_code[pump] = STARTING
    cooling.pumps.start_elapsed_s[pump] = 0.0


def stop_pump(cooling: Cooling, pump: int) -> None:
    """Stop a pump; it stands by."""
    cooling.pumps.state_code[pump] = STANDBY
    cooling.pumps.speed_ratio[pump] = 0.0


def trip_pump(cooling: Cooling, pump: int) -> None:
    """Trip a pump: it stands still until it is repaired."""
    cooling.pumps.state_code[pump] = TRIPPED
    cooling.pumps.speed_ratio[pump] = 0.0
    cooling.pumps.runout_s[pump] = 0.0
