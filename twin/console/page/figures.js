// Tiles, the table of halls, and the top bar: one function for each picture.

import { age, clockOf, dateOf, number, percent, power, temp, withUnit } from "./format.js";

const NS = "http://www.w3.org/2000/svg";
const BADGES = { running: "LIVE", paused: "PAUSED", frozen: "FROZEN", ended: "ENDED" };
const LAG_S = 3; // above it the twin is not well
const $ = (id) => document.getElementById(id);

function set(name, text) {
  document.querySelector(`[data-value="${name}"]`).textContent = text;
}

export function showRun(run, site) {
  const badge = $("badge");
  if (run === null) {
    badge.textContent = "NO RUN";
    return;
  }
  const live = run.kind === "live" ? "LIVE" : run.kind.toUpperCase();
  badge.textContent = run.state === "running" ? live : BADGES[run.state];
  badge.classList.toggle("stands", run.state !== "running");
  $("clock").textContent = `${clockOf(run.clock)} ${site.zone ?? ""}`;
  $("date").textContent = dateOf(run.clock);
  const asked = run.speed === 0 ? "as fast as possible" : `x${run.speed}`;
  $("speed").textContent = run.reached === null ? asked : `${asked} (reached ${number(run.reached, 2)})`;
  document.title = `${badge.textContent} · ${site.id}`;
}

export function showTwin(twin, picture) {
  const words = [];
  if (picture.stale) words.push(`data ${age(picture.age_s)}`);
  if (twin.arrays_stale) words.push(`${number(twin.arrays_stale)} of ${number(twin.arrays)} arrays stale`);
  if (twin.dead_letters) words.push(`${number(twin.dead_letters)} dead letters`);
  if (twin.lag_s > LAG_S) words.push(`lag ${number(twin.lag_s, 0)} s`);
  const lag = twin.lag_s === null ? "" : `, lag ${number(twin.lag_s, 2)} s`;
  $("twin").textContent = words.length ? `twin: ${words.join(", ")}` : `twin ok${lag}`;
}

export function showSite({ site, temp: gpu, halls, plants, stale, age_s }, limits) {
  for (const tile of document.querySelectorAll(".tile")) {
    tile.classList.toggle("stale", stale);
    tile.querySelector("h2").dataset.age = age(age_s);
  }
  set("power", power(site.facility_power_w));
  const sources = { feed: site.feed_power_w, turbine: site.turbine_power_w, battery: site.battery_power_w };
  const total = Object.values(sources).reduce((sum, watts) => sum + Math.max(watts ?? 0, 0), 0);
  for (const [name, watts] of Object.entries(sources)) {
    set(name, power(name === "battery" && watts !== null ? Math.abs(watts) : watts));
    $("power-stack").querySelector(`.${name}`).style.width = total ? `${(100 * Math.max(watts ?? 0, 0)) / total}%` : "0";
  }
  set("battery-word", (sources.battery ?? 0) < 0 ? "battery charging" : "battery");
  set("it", power(site.it_power_w));
  set("pue", number(site.pue, 2));
  set("cooling", power(site.cooling_power_w));
  set("frequency", withUnit(site.frequency_hz, 2, site.islanded ? "Hz, ISLAND" : "Hz"));
  set("temp-mean", temp(gpu.mean_c));
  set("temp-p99", temp(gpu.p99_c));
  set("temp-max", temp(gpu.max_c));
  drawScale(gpu, limits.gpu_temp_c);
  set("busy", number(site.gpu_busy_n));
  set("gpus", number(site.gpu_n));
  set("down", number(site.gpu_down_n));
  // A GPU may show several thermal reasons: the halls count it once.
  set("throttled", number(sum(halls.map((hall) => Math.round((hall.throttle_thermal_ratio ?? 0) * (hall.measured_n ?? 0))))));
  set("water", withUnit(site.water_today_l === null ? null : site.water_today_l / 1000, site.water_today_l < 1e5 ? 1 : 0, "m³"));
  set("makeup", withUnit(sum(plants.map((plant) => plant.makeup_l_min)), 0, "L/min"));
  set("wue", withUnit(site.wue_l_kwh, 2, "L/kWh"));
  set("wet-bulb", temp(plants[0]?.wet_bulb_c));
}

function sum(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((total, value) => total + value, 0) : null;
}

// Mean, p99 and hottest on a scale from 20 to 100 C, with the limits as ticks.
function drawScale(gpu, limits) {
  const x = (celsius) => ((Math.min(Math.max(celsius, 20), 100) - 20) / 80) * 100;
  const rect = (at, width, y, height, colour) => {
    const node = document.createElementNS(NS, "rect");
    for (const [name, value] of Object.entries({ x: at, y, width, height, fill: colour })) node.setAttribute(name, value);
    return node;
  };
  const nodes = [rect(0, 100, 4, 2, "var(--line)")];
  for (const limit of [limits.medium, limits.high, limits.critical]) nodes.push(rect(x(limit), 0.5, 1, 8, "var(--edge)"));
  if (gpu.mean_c !== null && gpu.max_c !== null && gpu.mean_c !== undefined) {
    nodes.push(rect(x(gpu.mean_c), Math.max(x(gpu.max_c) - x(gpu.mean_c), 0.5), 3, 4, "var(--off)"));
    for (const value of [gpu.mean_c, gpu.p99_c, gpu.max_c]) nodes.push(rect(x(value) - 0.4, 0.8, 0, 10, "var(--run)"));
  }
  document.getElementById("temp-scale").replaceChildren(...nodes);
}

export function showHalls({ halls, plants, stale }) {
  const body = $("halls").tBodies[0];
  body.classList.toggle("stale", stale);
  while (body.rows.length < halls.length) {
    const row = body.insertRow();
    for (let i = 0; i < 7; i++) row.insertCell();
  }
  halls.forEach((hall, i) => {
    const codes = plants.find((plant) => plant.hall === hall.id)?.chillers ?? [];
    const tripped = codes.filter((code) => code === 5).length;
    const running = codes.filter((code) => code === 3).length;
    const chillers = codes.length ? tripped ? `${tripped} tripped` : `${running} of ${codes.length}` : "–";
    const cells = [
      hall.id, number(hall.power_w === null ? null : hall.power_w / 1e6, hall.power_w < 1e7 ? 2 : 1), number(hall.gpu_temp_mean_c, 1),
      number(hall.gpu_temp_max_c, 1), `${number(hall.coolant_supply_c, 1)}→${number(hall.coolant_return_c, 1)}`,
      percent(hall.throttle_thermal_ratio), chillers,
    ];
    cells.forEach((text, j) => { body.rows[i].cells[j].textContent = text; });
  });
}
