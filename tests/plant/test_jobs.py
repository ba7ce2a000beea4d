import numpy as np
import pytest

from twin.plant import jobs as job_table
from twin.plant import step

HERO = 0


def test_layout_of_the_jobs(mini):
    jobs = job_table.new(mini)
    for row, (id_, plan) in enumerate(mini.jobs.items()):
        assert jobs.id[row] == id_
        assert int((jobs.server_job == row).sum()) * 8 == plan.gpus_n == jobs.gpu_n[row]
    assert jobs.spare_n[HERO] == 512


def test_segments_cover_all_servers_once(mini):
    jobs = job_table.new(mini)
    parts = job_table.segments(jobs.server_job)
    assert [a for a, _, _ in parts[1:]] == [b for _, b, _ in parts[:-1]]
    assert (parts[0][0], parts[-1][1]) == (0, mini.layout.server_count)
    for a, b, row in parts:
        assert (jobs.server_job[a:b] == row).all()


def test_mean_of_whole_steps(mini):
    jobs = job_table.new(mini)
    means = job_table.mean_activity(jobs, (0.0, 5.0), 0.0)[HERO, 0]
    assert means == pytest.approx(0.86, abs=0.005)


def test_fast_activity_averages_to_the_tick(mini):
    jobs = job_table.new(mini)
    jobs.cycles[:] = 0.63
    jobs.since_checkpoint_s[:] = 579.6
    fast = job_table.mean_activity(jobs, np.arange(21) / 20.0, 0.0)
    tick = job_table.mean_activity(jobs, (0.0, 1.0), 0.0)[:, 0]
    np.testing.assert_allclose(fast.mean(axis=1), tick, rtol=1e-9)
    assert fast[HERO].min() == pytest.approx(0.10, abs=0.001)
    assert fast[HERO].max() == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize("dt_s", [0.5, 1.0, 5.0])
def test_fast_activity_is_that_of_the_last_second(mini, dt_s):
    jobs = job_table.new(mini)
    jobs.cycles[:] = 0.63
    span_s = min(dt_s, 1.0)
    last = job_table.mean_activity(jobs, (0.0, dt_s - span_s / 2, dt_s), 0.0)[:, 1]
    job_table.step(jobs, dt_s, 0.0)
    np.testing.assert_allclose(jobs.fast_activity[:, 10:].mean(axis=1), last, rtol=1e-9)
    np.testing.assert_allclose(jobs.activity, job_table.mean_activity(jobs, (0.0, dt_s), 0.0)[:, 0], rtol=1e-9)


def test_checkpoint_every_ten_minutes_is_seen_in_the_power(hot, run):
    run(hot, 570, dt_s=5.0)
    run(hot, 8)
    before = float(hot.power.it_power_w)
    low = []
    for _ in range(20):
        step(hot, 1.0)
        low.append(float(hot.jobs.activity[HERO]))
    assert sorted(low)[10] == pytest.approx(0.10, abs=0.002)
    assert hot.power.it_power_w < before
    run(hot, 5)
    kinds = job_table.EVENT_KINDS
    assert hot.jobs.saved_h[HERO] > 0.15
    assert "checkpoint" in kinds


def test_checkpoint_is_an_event_of_its_tick(hot, run):
    run(hot, 595, dt_s=5.0)
    run(hot, 4)
    seen = []
    for _ in range(3):
        step(hot, 1.0)
        seen += [
            (hot.jobs.id[row], job_table.EVENT_KINDS[code]) for row, code in hot.jobs.events[: int(hot.jobs.events_n)]
        ]
    assert seen == [("job-hero", "checkpoint")]


def test_failure_costs_a_restart_and_the_work_since_the_checkpoint(hot, run):
    run(hot, 100, dt_s=5.0)
    worked = float(hot.jobs.progress_h[HERO])
    job_table.fail(hot.jobs, HERO)
    assert hot.jobs.progress_h[HERO] == 0.0
    assert hot.jobs.lost_gpu_h[HERO] >= worked * 2560 * 0.99
    step(hot, 1.0)
    assert hot.jobs.activity[HERO] == pytest.approx(job_table.RESTART_ACTIVITY, rel=0.01)
    assert hot.jobs.rate[HERO] == 0.0
    run(hot, 115, dt_s=5.0)
    run(hot, 3)
    assert hot.jobs.state_code[HERO] == 2
    run(hot, 2)
    assert hot.jobs.state_code[HERO] == 3
    assert hot.jobs.rate[HERO] == pytest.approx(1.0)


def test_a_job_without_spares_restarts_in_full(hot):
    row = int(np.flatnonzero(hot.jobs.id == "job-r1")[0])
    job_table.fail(hot.jobs, row)
    assert hot.jobs.restart_left_s[row] == 600.0


def test_power_of_the_envelope(hot, run):
    run(hot, 4)
    jobs = hot.jobs
    assert jobs.power_low_w[HERO] < jobs.power_w[HERO] <= jobs.power_high_w[HERO] * 1.001
    swing = (jobs.power_high_w[HERO] - jobs.power_low_w[HERO]) / hot.site.scale
    assert swing * 150_000 / 125_000 == pytest.approx(60.7e6, rel=0.05)


def test_power_of_jobs_and_idle_servers_is_all(hot, run):
    run(hot, 2)
    idle = hot.gpus.server_power_w[hot.jobs.server_job < 0].sum()
    assert hot.jobs.power_w.sum() + idle == pytest.approx(hot.gpus.server_power_w.sum())
