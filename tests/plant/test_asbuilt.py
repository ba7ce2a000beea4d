import numpy as np
import pytest

from twin.plant import asbuilt
from twin.site import load_site


@pytest.fixture(scope="module")
def built():
    return asbuilt.draw(load_site("colossus1"), 7)


def test_thermal_resistance_spreads_by_eight_percent(built):
    ratio = built.gpu_resistance_k_per_w.astype(float) / 0.030
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)
    assert np.log(ratio).std() == pytest.approx(0.08, rel=0.05)
    assert np.percentile(ratio.reshape(-1, 64).max(axis=1), 50) == pytest.approx(1.21, abs=0.02)


def test_fouling_only_lowers(built):
    assert built.cdu_ua_ratio.max() <= 1.0
    assert built.cdu_ua_ratio.mean() == pytest.approx(0.984, abs=0.003)


def test_a_few_lemons_fail_far_more_often(built):
    frailty = np.diff(built.server_frailty_cum, prepend=0.0)
    assert frailty.min() >= 0.0
    assert np.sort(frailty)[::-1][:3].sum() / frailty.sum() > 0.003
    # Gamma of shape 0.3: a tenth of the servers makes half of all errors.
    assert np.sort(frailty)[::-1][: len(frailty) // 10].sum() / frailty.sum() == pytest.approx(0.55, abs=0.1)


def test_every_spread_is_used_and_seeded(mini):
    one, same, other = asbuilt.draw(mini, 7), asbuilt.draw(mini, 7), asbuilt.draw(mini, 8)
    for name in asbuilt.AsBuilt.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name)), name


def test_a_new_stream_shifts_no_other():
    few = asbuilt.spawn_streams(7, 1, ("a", "b"))
    more = asbuilt.spawn_streams(7, 1, ("a", "b", "c"))
    other = asbuilt.spawn_streams(7, 0, ("a", "b"))
    assert few["b"].random() == more["b"].random()
    assert few["a"].random() != other["a"].random()
