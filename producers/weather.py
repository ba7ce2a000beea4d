"""The weather station: part of every cooling plant's frame."""

from typing import Any

from producers.family import shown
from twin.events.chillers import WEATHER
from twin.plant import Plant


def weather_columns(plant: Plant) -> dict[str, Any]:
    """Read the weather station."""
    return shown(WEATHER, {column.name: getattr(plant.weather, column.name) for column in WEATHER.columns})
