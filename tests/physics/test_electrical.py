"""Acceptance row E5."""

import pytest

from twin.physics import electrical

SITE = {"reference_w": 250e6, "no_load_w": 1.5e6, "at_reference_w": 4.5e6}


def test_e5_dry_transformer_is_best_at_35_percent():
    dry = {"reference_w": 350e3, "no_load_w": 1269.1, "at_reference_w": 1269.1}
    efficiency = {load: load / (load + electrical.loss_w(load, **dry)) for load in (200e3, 350e3, 600e3)}
    assert efficiency[350e3] == pytest.approx(0.9928, abs=1e-5)
    assert efficiency[350e3] == max(efficiency.values())


@pytest.mark.parametrize(("power_w", "loss_w"), [(0.0, 1.5e6), (250e6, 6.0e6), (125e6, 2.625e6)])
def test_loss_of_the_reference_plant(power_w, loss_w):
    assert electrical.loss_w(power_w, **SITE) == pytest.approx(loss_w)


def test_server_of_the_reference_plant():
    assert electrical.input_w(8 * 617.0 + 1900.0, 0.94) == pytest.approx(7270.0, rel=0.001)
