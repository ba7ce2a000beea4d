// The floor of racks: reads the binary message (console.md section 3) and draws it on one canvas.

import { number, power, temp } from "./format.js";
import { PRIORITY_COLOURS, drawShape, shapeSvg } from "./shapes.js";

const HEADER_BYTES = 64;
const VALUES_N = 250;
const [SUSPECT, STALE, NOT_MEASURED, NEVER_SEEN] = [252, 253, 254, 255];
const GREYS = ["#2B3138", "#3A424A", "#4A535C", "#5B646E"];
const GRADIENT = ["#00224E", "#35456C", "#666970", "#948E77", "#C8B866", "#FEE838"];
const WELL = "#15181C";
const MAX_CELL = [30, 44];
const TITLE = 20;
const SHADED_C = [35, 65]; // where shades are told apart; racks run at 45 to 60 C

export function readFloor(buffer, site) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint32(0, false) !== 0x43464c52) return null; // "CFLR"
  const count = view.getUint32(8, true);
  const right = view.getUint8(4) === 1 && view.getUint8(5) === 1 && count === site.racks.id.length
    && buffer.byteLength === HEADER_BYTES + count && view.getUint32(12, true) === site.layout_crc;
  if (!right) return null;
  return {
    layer: site.layers.find((layer) => layer.id === view.getUint8(6)),
    stands: (view.getUint8(7) & 1) !== 0,
    epoch: view.getUint32(36, true),
    staleArrays: view.getUint16(44, true),
    neverArrays: view.getUint16(46, true),
    bytes: new Uint8Array(buffer, HEADER_BYTES),
  };
}

function mix(stops, share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(place), stops.length - 2);
  const parts = [1, 3, 5].map((at) => {
    const [from, to] = [stops[i], stops[i + 1]].map((stop) => parseInt(stop.slice(at, at + 2), 16));
    return Math.round(from + (to - from) * (place - i));
  });
  return `rgb(${parts.join(",")})`;
}

export class Floor {
  constructor({ site, well, canvas, note, legend, onHover }) {
    Object.assign(this, { site, well, canvas, note, legend });
    this.context = canvas.getContext("2d");
    this.palette = "exceptions";
    this.picture = null;
    this.layout();
    new ResizeObserver(() => { this.layout(); this.draw(); }).observe(well);
    canvas.addEventListener("pointermove", (event) => onHover(this.rackAt(event), event));
    canvas.addEventListener("pointerleave", () => onHover(null));
  }

  show(picture) {
    this.picture = picture;
    requestAnimationFrame(() => this.draw());
  }

  clear(text) {
    this.picture = null;
    this.note.textContent = text;
    this.draw();
  }

  setPalette(palette) {
    this.palette = palette;
    this.draw();
  }

  valueOf(rack) {
    const q = this.picture?.bytes[rack];
    if (q === undefined) return "";
    if (q === NEVER_SEEN) return "never seen";
    if (q === STALE) return "stale: no fresh scan";
    if (q >= VALUES_N) return "not measured";
    const { layer } = this.picture;
    const value = layer.offset + layer.scale * q;
    return layer.unit === "W" ? power(value) : temp(value);
  }

  // Where everything stands, in whole device pixels.
  layout() {
    const ratio = window.devicePixelRatio || 1;
    const { racks, halls } = this.site;
    const width = Math.floor(this.well.clientWidth * ratio);
    const height = Math.floor(this.well.clientHeight * ratio);
    Object.assign(this.canvas, { width, height });
    this.canvas.style.width = `${width / ratio}px`;
    this.canvas.style.height = `${height / ratio}px`;
    this.ratio = ratio;
    const across = Math.ceil(Math.sqrt(halls.length));
    const down = Math.ceil(halls.length / across);
    const columns = Math.max(...racks.pos) + 1;
    const rows = Math.max(...racks.row) + 1;
    const arrayGap = Math.round(3 * ratio);
    const arrays = Math.ceil(columns / this.site.racks_per_array);
    const title = Math.round(TITLE * ratio);
    const pad = Math.round(8 * ratio);
    const hallWidth = Math.floor((width - pad * (across + 1)) / across);
    const hallHeight = Math.floor((height - pad * (down + 1)) / down);
    const fit = (space, n, most) => Math.max(2, Math.min(Math.floor(space / n), Math.round(most * ratio)));
    const pitchX = fit(hallWidth - 2 * pad - (arrays - 1) * arrayGap, columns, MAX_CELL[0]);
    const pitchY = fit(hallHeight - title - Math.round(pad / 2), rows, MAX_CELL[1]);
    this.cell = [pitchX - 1, pitchY - 1];
    const gridWidth = columns * pitchX + (arrays - 1) * arrayGap - 1;
    const gridHeight = rows * pitchY - 1;
    this.boxes = halls.map((_, i) => ({
      x: pad + (i % across) * (hallWidth + pad),
      y: pad + Math.floor(i / across) * (hallHeight + pad),
      width: hallWidth,
      height: hallHeight,
    }));
    this.x = new Uint16Array(racks.id.length);
    this.y = new Uint16Array(racks.id.length);
    racks.id.forEach((_, i) => {
      const box = this.boxes[racks.hall[i]];
      const left = box.x + Math.floor((box.width - gridWidth) / 2);
      const top = box.y + title + Math.max(0, Math.floor((box.height - title - pad / 2 - gridHeight) / 2));
      this.x[i] = left + racks.pos[i] * pitchX + Math.floor(racks.pos[i] / this.site.racks_per_array) * arrayGap;
      this.y[i] = top + racks.row[i] * pitchY;
    });
  }

  rackAt(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const px = (event.clientX - bounds.left) * this.ratio;
    const py = (event.clientY - bounds.top) * this.ratio;
    const [width, height] = this.cell;
    for (let i = 0; i < this.x.length; i++) {
      if (px >= this.x[i] && px <= this.x[i] + width && py >= this.y[i] && py <= this.y[i] + height) return i;
    }
    return null;
  }

  limits(layer) {
    const { medium, high, critical } = this.site.limits.gpu_temp_c;
    return layer.unit === "C" ? [[1, critical], [2, high], [3, medium]] : [];
  }

  priorityOf(value, layer) {
    return this.limits(layer).find(([, limit]) => value >= limit)?.[0] ?? null;
  }

  range(layer) {
    return layer.unit === "C" ? SHADED_C : [0, layer.scale * VALUES_N * 0.82];
  }

  table(layer) {
    const [low, high] = this.range(layer);
    return Array.from({ length: VALUES_N }, (_, q) => {
      const value = layer.offset + layer.scale * q;
      const priority = this.priorityOf(value, layer);
      if (priority !== null) return PRIORITY_COLOURS[priority];
      return mix(this.palette === "gradient" ? GRADIENT : GREYS, (value - low) / (high - low));
    });
  }

  draw() {
    const { context, canvas, picture } = this;
    context.fillStyle = WELL;
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.note.hidden = picture !== null;
    if (picture === null) return;
    const { bytes, layer } = picture;
    const table = this.table(layer);
    const [width, height] = this.cell;
    const worst = this.boxes.map(() => ({ counts: { 1: 0, 2: 0, 3: 0 }, max: null }));
    const marked = [];
    for (let i = 0; i < bytes.length; i++) {
      const q = bytes[i];
      if (q >= VALUES_N) {
        this.drawQuiet(q, this.x[i], this.y[i], width, height);
        continue;
      }
      context.fillStyle = table[q];
      context.fillRect(this.x[i], this.y[i], width, height);
      const value = layer.offset + layer.scale * q;
      const hall = worst[this.site.racks.hall[i]];
      if (hall.max === null || value > hall.max) hall.max = value;
      const priority = this.priorityOf(value, layer);
      if (priority !== null) {
        hall.counts[priority]++;
        marked.push([i, priority]);
      }
    }
    // Drawn last and larger, so that one rack of thousands is seen.
    for (const [i, priority] of marked) {
      context.fillStyle = PRIORITY_COLOURS[priority];
      context.fillRect(this.x[i] - 1, this.y[i] - 1, width + 2, height + 2);
    }
    this.boxes.forEach((box, i) => this.drawHall(box, this.site.halls[i], worst[i], layer));
    this.drawLegend(worst, layer);
  }

  drawQuiet(q, x, y, width, height) {
    const { context } = this;
    if (q === STALE || q === SUSPECT) {
      context.fillStyle = "#3B2F4A";
      context.fillRect(x, y, width, height);
      context.strokeStyle = "#8D82A0";
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x + 0.5, y + height - 0.5);
      context.lineTo(x + width - 0.5, y + 0.5);
      context.stroke();
    } else {
      context.strokeStyle = q === NEVER_SEEN ? "#4A535C" : "#2B3138";
      context.lineWidth = 1;
      context.setLineDash(q === NEVER_SEEN ? [2, 2] : []);
      context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
      context.setLineDash([]);
    }
  }

  drawHall(box, hall, { counts, max }, layer) {
    const { context, ratio } = this;
    context.strokeStyle = "#323A43";
    context.lineWidth = 1;
    context.strokeRect(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1);
    const baseline = box.y + Math.round(15 * ratio);
    let x = box.x + Math.round(10 * ratio);
    context.textAlign = "left";
    const write = (text, colour, weight) => {
      context.font = `${weight} ${Math.round(12 * ratio)}px system-ui, sans-serif`;
      context.fillStyle = colour;
      context.fillText(text, x, baseline);
      x += context.measureText(text).width + 8 * ratio;
    };
    write(hall.id, "#E6E9EC", 600);
    write(`${hall.gpu.split(" ")[0]}, ${number(hall.arrays.length)} arrays`, "#A4AEB9", 400);
    if (max !== null) write(`max ${layer.unit === "W" ? power(max) : temp(max)}`, "#A4AEB9", 400);
    for (const priority of [1, 2, 3]) {
      if (!counts[priority]) continue;
      drawShape(context, priority, x + 6 * ratio, baseline - 4 * ratio, 14 * ratio);
      x += 15 * ratio;
      context.textAlign = "left";
      write(number(counts[priority]), "#E6E9EC", 600);
    }
  }

  drawLegend(worst, layer) {
    const text = (words, bold) => {
      const node = document.createElement(bold ? "b" : "span");
      node.textContent = words;
      return node;
    };
    const entry = (...nodes) => {
      const span = document.createElement("span");
      span.append(...nodes);
      return span;
    };
    const [low, high] = this.range(layer);
    const ramp = document.createElement("canvas");
    Object.assign(ramp, { className: "ramp", width: 72, height: 10 });
    const context = ramp.getContext("2d");
    for (let x = 0; x < 72; x++) {
      context.fillStyle = mix(this.palette === "gradient" ? GRADIENT : GREYS, x / 71);
      context.fillRect(x, 0, 1, 10);
    }
    const unit = layer.unit === "W" ? power : temp;
    const entries = [entry(text(`≤ ${unit(low)}`), ramp, text(`≥ ${unit(high)}`))];
    for (const [priority, limit] of [...this.limits(layer)].reverse()) {
      const n = worst.reduce((sum, { counts }) => sum + counts[priority], 0);
      entries.push(entry(shapeSvg(priority), text(`≥ ${limit} C`), text(n ? `${number(n)} racks` : "none", n > 0)));
    }
    const swatch = (name) => Object.assign(document.createElement("i"), { className: `swatch ${name}` });
    const { staleArrays, neverArrays } = this.picture;
    entries.push(entry(swatch("stale"), text("stale"), text(staleArrays ? `${number(staleArrays)} arrays` : "none", staleArrays > 0)));
    entries.push(entry(swatch("never"), text("never seen"), text(neverArrays ? `${number(neverArrays)} arrays` : "none", neverArrays > 0)));
    this.legend.replaceChildren(...entries);
    const hot = worst.reduce((sum, { counts }) => sum + counts[1] + counts[2] + counts[3], 0);
    this.canvas.setAttribute("aria-label",
      `Floor, ${number(this.site.racks.id.length)} racks, ${number(hot)} above ${this.site.limits.gpu_temp_c.medium} C, ${number(staleArrays)} arrays stale`);
  }
}
