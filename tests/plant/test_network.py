import numpy as np
import pytest

from twin.plant import network as fabric
from twin.plant import step
from twin.site import load_site


def test_links_and_switches_of_the_site(mild):
    network = mild.network
    assert len(network.state_code) == 8 * mild.site.layout.array_count
    assert network.hall_links_n.sum() == mild.site.layout.gpu_count
    assert len(mild.site.unit_ids("switch")) == len(network.state_code)


def test_a_lost_switch_stalls_its_job_until_it_is_repaired(mild, run):
    mild.network.next_at_s[2] = 2.0
    run(mild, 3)
    switch = int(np.flatnonzero(mild.network.state_code == 5)[0])
    hall = int(mild.work.network.hall[switch])
    assert mild.network.hall_switch_down_n[hall] == 1
    assert mild.network.hall_links_down_n[hall] == 64
    hit = [row for row, switches in enumerate(mild.work.network.jobs_of) if switch in switches]
    assert mild.jobs.bw_factor[hit[0]] == 0.0
    assert mild.network.utilisation[switch] == 0.0
    mild.network.repair_at_s[np.isfinite(mild.network.repair_at_s)] = mild.elapsed_s
    step(mild, 1.0)
    assert mild.network.state_code[switch] == 3
    assert mild.jobs.bw_factor[hit[0]] == pytest.approx(0.95)


def test_a_lost_link_takes_a_sixty_fourth(mild, run):
    mild.network.next_at_s[1] = 1.0
    run(mild, 2)
    assert mild.network.hall_links_down_n.sum() == 1
    assert mild.jobs.bw_factor.min() == pytest.approx(0.95 * 63 / 64)


def test_flaps_are_counted_in_their_tick(mild):
    mild.network.next_at_s[0] = 1.0
    step(mild, 1.0)
    assert mild.network.hall_flaps_n.sum() == 1
    mild.network.next_at_s[0] = 1e9
    step(mild, 1.0)
    assert mild.network.hall_flaps_n.sum() == 0


def test_n1_link_failures_of_200000_links():
    site = load_site("colossus1")
    _, per_s, _ = fabric._rates_hz(site, 200_000, 3128)
    assert per_s * 86_400 == pytest.approx(3.75, rel=0.02)


def test_links_are_full_while_gpus_wait(mild, run):
    highest = []
    for _ in range(5):
        step(mild, 1.0)
        highest.append(float(mild.network.hall_utilisation_max[0]))
    assert max(highest) > 0.5
    assert min(highest) == pytest.approx(0.0, abs=0.02)
