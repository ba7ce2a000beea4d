// A strip: the last two minutes of a few curves as SVG polylines.

const NS = "http://www.w3.org/2000/svg";
const WINDOW_MS = 120_000;
const GAP_MS = 5_000;
const WIDTH = 240;
const HEIGHT = 60;

export class Strip {
  // curves: [{class, label}]; minSpan: the least height of the axis, so that noise does not fill it.
  constructor(root, { title, curves, format, minSpan, set = null }) {
    this.format = format;
    this.minSpan = minSpan;
    this.curves = curves;
    this.points = []; // [ts, [value, ...], set]
    this.hasSet = set;
    const head = document.createElement("header");
    const name = document.createElement("h2");
    name.textContent = title;
    this.now = document.createElement("p");
    head.append(name, this.now);
    this.svg = document.createElementNS(NS, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("role", "img");
    this.svg.setAttribute("aria-label", title);
    this.limits = document.createElement("div");
    this.limits.className = "limits";
    this.limits.append(document.createElement("span"), document.createElement("span"));
    root.replaceChildren(head, this.svg, this.limits);
  }

  clear() {
    this.points = [];
    this.draw();
  }

  add(ts, values, set = null) {
    const last = this.points.at(-1);
    if (last && ts <= last[0]) return;
    this.points.push([ts, values, set]);
    while (this.points[0][0] < ts - WINDOW_MS) this.points.shift();
    this.draw();
  }

  // Older points, from the history; what is here already stays.
  prepend(points) {
    const first = this.points[0]?.[0] ?? Infinity;
    this.points = points.filter(([ts]) => ts < first).concat(this.points);
    this.draw();
  }

  draw() {
    const known = this.points.flatMap(([, values, set]) => [...values, set]).filter((v) => v !== null && v !== undefined);
    this.svg.replaceChildren();
    const [top, bottom] = this.limits.children;
    if (known.length === 0) {
      this.now.textContent = top.textContent = bottom.textContent = "";
      return;
    }
    let low = Math.min(...known);
    let high = Math.max(...known);
    const missing = this.minSpan(high) - (high - low);
    if (missing > 0) [low, high] = [low - missing / 2, high + missing / 2];
    const end = this.points.at(-1)[0];
    const x = (ts) => WIDTH * (1 - (end - ts) / WINDOW_MS);
    const y = (value) => 2 + (HEIGHT - 4) * (1 - (value - low) / (high - low));
    const set = this.points.at(-1)[2];
    if (set !== null) {
      const line = document.createElementNS(NS, "line");
      for (const [name, value] of [["x1", 0], ["x2", WIDTH], ["y1", y(set)], ["y2", y(set)]]) line.setAttribute(name, value);
      this.svg.append(line);
    }
    this.curves.forEach((curve, i) => {
      for (const piece of this.pieces(i)) {
        const line = document.createElementNS(NS, "polyline");
        line.setAttribute("class", curve.class ?? "");
        line.setAttribute("points", piece.map(([ts, value]) => `${x(ts).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
        this.svg.append(line);
      }
    });
    top.textContent = this.format(high);
    bottom.textContent = this.format(low);
  }

  *pieces(i) {
    let piece = [];
    let before = null;
    for (const [ts, values] of this.points) {
      const value = values[i];
      const broken = value === null || value === undefined || (before !== null && ts - before > GAP_MS);
      if (broken && piece.length) {
        yield piece;
        piece = [];
      }
      if (value !== null && value !== undefined) piece.push([ts, value]);
      before = ts;
    }
    if (piece.length) yield piece;
  }
}
