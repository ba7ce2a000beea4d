"""Rare events: their rates, their victims, what they do to jobs."""

import numpy as np
import pytest

from twin.plant import failures, step
from twin.plant.asbuilt import spawn_streams
from twin.plant.jobs import new as new_jobs
from twin.site import load_site


def test_rates_of_a_month_are_poisson():
    site = load_site("colossus1")
    streams = spawn_streams(3, 1, failures.STREAMS)
    table, jobs = failures.new(site, streams), new_jobs(site)

    class Frail:
        server_frailty_cum = np.cumsum(np.ones(site.layout.server_count))

    seconds, seen = 10 * 86_400.0, 0
    for tick in range(1, 2401):
        failures.step(table, site, Frail, jobs, streams, (), tick * seconds / 2400)
        seen += int(table.n)
    expected = np.array([cause.per_million_gpu_h for cause in failures.CAUSES]) * 200_000 / 1e6 * 240
    assert np.all(np.abs(table.total_n - expected) < 4.0 * np.sqrt(expected) + 1.0)
    assert seen == table.total_n.sum()


def test_fatal_error_restarts_the_job_that_runs_there(mild):
    mild.failures.next_at_s[0] = 3.0
    for _ in range(3):
        step(mild, 1.0)
    assert int(mild.failures.n) == 1
    gpu = int(mild.failures.gpu[0])
    assert mild.failures.xid[0] == 79
    row = int(mild.jobs.server_job[gpu // 8])
    assert mild.jobs.failures_n[row] == 1
    assert mild.jobs.state_code[row] == 2
    step(mild, 1.0)
    assert int(mild.failures.n) == 0


def test_harmless_error_stops_nothing(mild):
    number = [cause.name for cause in failures.CAUSES].index("remap_recorded")
    mild.failures.next_at_s[number] = 1.0
    step(mild, 1.0)
    assert mild.failures.xid[0] == 63
    assert (mild.jobs.state_code == 3).all()


def test_lemons_are_hit_more_often(mini):
    streams = spawn_streams(3, 1, failures.STREAMS)
    table, jobs = failures.new(mini, streams), new_jobs(mini)

    class Frail:
        server_frailty_cum = np.cumsum(np.where(np.arange(512) == 77, 300.0, 1.0))

    victims = []
    for tick in range(1, 400):
        failures.step(table, mini, Frail, jobs, streams, (), tick * 86_400.0)
        victims += (table.gpu[: int(table.n)] // 8).tolist()
    assert np.mean(np.array(victims) == 77) == pytest.approx(300 / 811, abs=0.1)
