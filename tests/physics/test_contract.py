"""Every function of the physics is listed here, is pure on arrays, and says where it comes from."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import twin.physics

LISTED = {
    "battery": {"attenuation", "charge_change", "charge_limit_w", "discharge_limit_w", "smoothed_w"},
    "cdu": {"capacity_rate_w_per_k", "conductance_w_per_k", "effectiveness", "pump_power_w", "ua_w_per_k"},
    "chiller": {"biquadratic", "capacity_w", "power_w"},
    "electrical": {"input_w", "loss_w"},
    "emissions": {"rate_lb_h", "stack_factor"},
    "frequency": {"grid_hz"},
    "gpu": {
        "cap_ratio",
        "clock_power_ratio",
        "clock_ratio",
        "event_reasons",
        "mem_temp_c",
        "power_w",
        "resistance_ratio",
        "temp_c",
        "thermal_clock",
    },
    "lag": {"lagged", "mean_of_lag_ratio", "settled_ratio"},
    "loop": {"mixed_c", "parallel_flow_ratios"},
    "quantity": set(),
    "tower": {
        "air_factor",
        "blowdown_l_min",
        "evaporation_l_min",
        "outlet",
        "rated_ua_w_per_k",
        "water_factor",
    },
    "turbine": {"available_w", "exhaust_c", "fuel_mmbtu_h", "fuel_w", "full_load_heat_rate_kj_kwh", "ramped_w"},
    "weather": {
        "at_hour",
        "dew_point_c",
        "humidity_ratio",
        "saturated_enthalpy_j_per_kg",
        "saturation_pressure_pa",
        "wet_bulb_c",
    },
    "workload": {"high_cycles", "high_share", "mean_activity", "step_ratio"},
}
MODULES = sorted(info.name for info in pkgutil.iter_modules(twin.physics.__path__))


def public_functions(name):
    module = importlib.import_module(f"twin.physics.{name}")
    found = inspect.getmembers(module, inspect.isfunction)
    return {key: value for key, value in found if value.__module__ == module.__name__ and not key.startswith("_")}


@pytest.mark.parametrize("name", MODULES)
def test_every_function_is_listed(name):
    assert set(public_functions(name)) == LISTED[name]


@pytest.mark.parametrize("name", MODULES)
def test_every_function_has_units_and_a_doctest(name):
    for function in public_functions(name).values():
        text = inspect.getdoc(function)
        assert ">>> " in text, function
        assert "Parameters\n" in text, function


SCALAR_AND_VECTOR = [
    ("lag.settled_ratio", (np.array([0.1, 1.0, 9.0]), 5.0)),
    ("lag.mean_of_lag_ratio", (np.array([0.0, 1.0, 9.0]), 5.0)),
    ("cdu.effectiveness", (np.array([0.1, 2.5, 8.0]), np.array([0.0, 0.8, 1.0]))),
    ("cdu.ua_w_per_k", (15_700.0, np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0, 0.3]), 0.7)),
    ("cdu.conductance_w_per_k", (15_700.0, np.array([0.0, 3000.0, 6682.0]), 8322.0)),
    ("cdu.pump_power_w", (500.0, np.array([0.0, 0.5, 1.0]), 0.05, np.array([1.0, 0.2, 1.0]))),
    ("loop.mixed_c", (np.array([20.0, 27.0]), 30.0, np.array([0.0, 6.52e6]), 900e6, 1.0)),
    ("gpu.resistance_ratio", (np.array([0.0, 0.2, 1.0]), -0.6)),
    ("gpu.clock_ratio", (np.array([0.1, 0.5, 1.0]), 1.6)),
    ("weather.wet_bulb_c", (np.array([-5.0, 20.0, 35.0]), np.array([-8.0, 15.0, 24.0]), 100_680.0)),
    ("weather.dew_point_c", (np.array([-5.0, 20.0, 35.0]), np.array([0.3, 0.5, 1.0]))),
    ("workload.high_share", (np.array([0.0, 0.8, 3.3]), np.array([1.0, 1.0, 3.3]), 0.85)),
    ("battery.charge_limit_w", (np.array([0.5, 0.95]), 647e6, 150e6)),
    ("turbine.exhaust_c", (490.0, np.array([0.0, 0.6, 1.0]))),
]


@pytest.mark.parametrize(("path", "arguments"), SCALAR_AND_VECTOR, ids=[path for path, _ in SCALAR_AND_VECTOR])
def test_vector_equals_scalar(path, arguments):
    module, name = path.split(".")
    function = public_functions(module)[name]
    extra = {"soc_max": 0.95, "charge_efficiency": 0.959, "dt_s": 1.0} if name == "charge_limit_w" else {}
    together = function(*arguments, **extra)
    for i, value in enumerate(together):
        alone = function(*(a[i] if isinstance(a, np.ndarray) else a for a in arguments), **extra)
        assert alone == pytest.approx(value, rel=1e-12, abs=1e-12)
