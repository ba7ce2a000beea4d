// Starts the page: who am I, what is there, then one picture a second.

import { get } from "./api.js";
import { Desk } from "./desk.js";
import { showHalls, showRun, showSite, showTwin } from "./figures.js";
import { Floor, readFloor } from "./floor.js";
import { number, power, temp } from "./format.js";
import { Socket } from "./socket.js";
import { Strip } from "./strip.js";
import { Ticker } from "./ticker.js";

const $ = (id) => document.getElementById(id);
const HOVER_MS = 150;
const HOVER_FIELDS = {
  gpu_temp_max_c: "hottest GPU", gpu_temp_mean_c: "mean GPU", power_w: "power", coolant_supply_c: "coolant supply",
  coolant_return_c: "coolant return", coolant_flow_l_min: "coolant flow", throttled_n: "GPUs throttled",
};

const [seat, site] = await Promise.all([get("/api/seat"), get("/api/site")]);
$("site-name").textContent = `${site.id} · ${number(site.gpus)} GPUs`;
$("seat").textContent = seat.role;

const desk = new Desk(seat, site);
const ticker = new Ticker($("ticker"), $("no-events"));
const megawatts = (watts) => power(watts).replace(/ [kM]W$/, "");
const strips = {
  power: new Strip($("strip-power"), {
    title: "facility power", curves: [{}], format: megawatts, minSpan: (high) => high * 0.04,
  }),
  temp: new Strip($("strip-temp"), {
    title: "GPU temperature", curves: [{}, { class: "second" }], format: (c) => number(c, 1), minSpan: () => 4,
  }),
  loop: new Strip($("strip-loop"), {
    title: "loop supply", curves: site.halls.map((_, i) => ({ class: i % 2 ? "second" : "" })), format: (c) => number(c, 1), minSpan: () => 4,
  }),
};
const floor = new Floor({
  site, well: $("well"), canvas: $("racks"), note: $("floor-note"), legend: $("legend"), onHover: hover,
});

let known = null; // run and epoch that the page shows
let filled = false; // strips have their past

const socket = new Socket(
  {
    hello: ({ site_crc }) => { if (site_crc !== site.layout_crc) location.reload(); },
    run: ({ run }) => takeRun(run),
    site: takeSite,
    floor: takeFloor,
    events: (message) => { if (message.entries) ticker.show(message); },
  },
  (silent) => {
    const since = new Date().toLocaleTimeString("en-GB");
    $("offline").hidden = !silent;
    if (silent) $("offline").textContent = `Not connected since ${since} - what you see is old - trying again`;
    document.body.classList.toggle("offline", silent);
    desk.setOnline(!silent);
  },
);
for (const ch of ["site", "events", "floor:rack:gpu_temp_max_c"]) socket.subscribe(ch);
$("layer").onchange = (event) => {
  for (const ch of [...socket.channels]) if (ch.startsWith("floor:")) socket.unsubscribe(ch);
  socket.subscribe(`floor:rack:${event.target.value}`);
};
$("palette").onchange = (event) => floor.setPalette(event.target.value);

function takeRun(run) {
  showRun(run, site);
  desk.showRun(run);
  if (run === null) return;
  const changed = known !== null && (known.id !== run.id || (known.epoch !== run.epoch && !run.continues));
  if (changed) {
    Object.values(strips).forEach((strip) => strip.clear());
    floor.clear("waiting for the first scan");
    if (known.id !== run.id) ticker.clear();
  }
  known = run;
}

function takeSite(picture) {
  if (known !== null && (picture.run !== known.id || picture.epoch < known.epoch)) return;
  showSite(picture, site.limits);
  showHalls(picture);
  showTwin(picture.twin, picture);
  desk.showPlants(picture.plants);
  const supplies = site.halls.map((hall) => picture.plants.find((plant) => plant.hall === hall.id)?.supply_c ?? null);
  const { mean_c: mean = null, max_c: max = null } = picture.temp;
  strips.power.add(picture.ts, [picture.site.facility_power_w]);
  strips.temp.add(picture.ts, [max, mean]);
  strips.loop.add(picture.ts, supplies, picture.plants[0]?.supply_set_c ?? null);
  strips.power.now.textContent = power(picture.site.facility_power_w);
  strips.temp.now.textContent = `hottest ${temp(max)}, mean ${temp(mean)}`;
  const warmest = supplies.reduce((best, value, i) => (value !== null && !(value <= supplies[best]) ? i : best), 0);
  strips.loop.now.textContent = supplies[warmest] === null ? "" : `warmest ${site.halls[warmest].id} ${temp(supplies[warmest])}`;
  if (!filled) {
    filled = true;
    fillStrips(picture.ts);
  }
}

// The two minutes before the page was opened; without a history the strips simply begin now.
async function fillStrips(to) {
  const halls = site.halls.map((hall) => hall.id);
  const loops = site.units.filter((unit) => unit.kind === "loop");
  const curves = async (names) => {
    const query = new URLSearchParams({ series: names.join(","), from: to - 120_000, to, points: 120 });
    return (await get(`/api/history?${query}`)).series;
  };
  // One row for each time that any of the curves has.
  const rows = (series, combine) => {
    const byTime = new Map();
    series.forEach((one, i) => one.t.forEach((ts, j) => {
      if (!byTime.has(ts)) byTime.set(ts, series.map(() => null));
      byTime.get(ts)[i] = one.v[j];
    }));
    return [...byTime].sort(([one], [other]) => one - other).map(([ts, values]) => [ts, combine(values), null]);
  };
  const gpus = site.halls.map((hall) => hall.arrays.reduce((n, array) => n + array.gpus, 0));
  const temps = (values) => {
    const [hottest, means] = [values.slice(0, halls.length), values.slice(halls.length)];
    const known = means.map((_, i) => i).filter((i) => means[i] !== null);
    const total = known.reduce((n, i) => n + gpus[i], 0);
    const mean = total ? known.reduce((sum, i) => sum + means[i] * gpus[i], 0) / total : null;
    return [hottest.some((v) => v !== null) ? Math.max(...hottest.filter((v) => v !== null)) : null, mean];
  };
  try {
    strips.power.prepend(rows(await curves(["site.facility_power_w"]), (values) => values));
    const hottest = await curves(halls.map((hall) => `hall.gpu_temp_max_c@${hall}`));
    const means = await curves(halls.map((hall) => `hall.gpu_temp_mean_c@${hall}`));
    strips.temp.prepend(rows(hottest.concat(means), temps));
    strips.loop.prepend(rows(await curves(loops.map((loop) => `loop.supply_c@${loop.id}`)), (values) => values));
  } catch {
    // no history: nothing to fill in
  }
}

function takeFloor(buffer) {
  const picture = readFloor(buffer, site);
  if (picture === null) floor.clear("floor message not understood");
  else if (known === null || picture.epoch >= known.epoch) floor.show(picture);
}

let hovered = null;
let timer = null;

function hover(rack, event) {
  const box = $("hover");
  box.hidden = rack === null;
  if (rack === null) {
    hovered = null;
    clearTimeout(timer);
    return;
  }
  const right = event.clientX + 320 > innerWidth;
  box.style.left = right ? "" : `${event.clientX + 16}px`;
  box.style.right = right ? `${innerWidth - event.clientX + 16}px` : "";
  box.style.top = `${Math.min(event.clientY + 12, innerHeight - 210)}px`;
  if (rack === hovered) return;
  hovered = rack;
  const { id, hall } = site.racks;
  const title = document.createElement("h3");
  title.textContent = `${id[rack]} · ${site.halls[hall[rack]].id}`;
  const value = document.createElement("p");
  value.textContent = floor.valueOf(rack);
  box.replaceChildren(title, value);
  clearTimeout(timer);
  timer = setTimeout(() => exact(rack, id[rack]), HOVER_MS);
}

async function exact(rack, id) {
  const asset = await get(`/api/racks/${id}`).catch(() => null);
  if (asset === null || hovered !== rack) return;
  const list = document.createElement("dl");
  for (const [field, label] of Object.entries(HOVER_FIELDS)) {
    const entry = asset.values[field];
    if (!entry) continue;
    const [name, value] = [document.createElement("dt"), document.createElement("dd")];
    name.textContent = label;
    const digits = Number.isInteger(entry.value) ? 0 : 1;
    const words = entry.unit === "W" ? power(entry.value) : `${number(entry.value, digits)} ${entry.unit}`;
    value.textContent = entry.quality === "good" ? words : `${words} (${entry.quality})`;
    const pair = document.createElement("div");
    pair.append(name, value);
    list.append(pair);
  }
  $("hover").append(list);
}
