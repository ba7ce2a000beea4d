"""The state of a unit, as one number on the wire, in the store and in the plant."""

from typing import Final

OFF: Final = 0
STANDBY: Final = 1
STARTING: Final = 2
RUNNING: Final = 3
STOPPING: Final = 4
TRIPPED: Final = 5
LOCKOUT: Final = 6
MAINTENANCE: Final = 7

NAMES: Final = ("off", "standby", "starting", "running", "stopping", "tripped", "lockout", "maintenance")
