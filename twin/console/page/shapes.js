// Priority shapes: a square, a triangle, a diamond, each with its digit (console.md section 8).

export const PRIORITY_COLOURS = { 1: "#F0453A", 2: "#FFA01F", 3: "#FFF3A0" };
const POINTS = {
  1: [[-0.46, -0.46], [0.46, -0.46], [0.46, 0.46], [-0.46, 0.46]],
  2: [[0, -0.55], [0.55, 0.42], [-0.55, 0.42]],
  3: [[0, -0.55], [0.55, 0], [0, 0.55], [-0.55, 0]],
};
const NS = "http://www.w3.org/2000/svg";

export function shapeSvg(priority) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "-8 -8 16 16");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `priority ${priority}`);
  const polygon = document.createElementNS(NS, "polygon");
  polygon.setAttribute("points", POINTS[priority].map(([x, y]) => `${x * 14},${y * 14}`).join(" "));
  polygon.setAttribute("fill", PRIORITY_COLOURS[priority]);
  polygon.setAttribute("stroke", "var(--shape-outline)");
  const digit = document.createElementNS(NS, "text");
  digit.setAttribute("text-anchor", "middle");
  digit.setAttribute("y", priority === 2 ? "4.6" : "3.4");
  digit.setAttribute("font-size", "9.5");
  digit.setAttribute("font-weight", "700");
  digit.setAttribute("fill", "#0B0D0F");
  digit.textContent = priority;
  svg.append(polygon, digit);
  return svg;
}

export function drawShape(context, priority, x, y, size) {
  context.beginPath();
  POINTS[priority].forEach(([dx, dy], i) => context[i ? "lineTo" : "moveTo"](x + dx * size, y + dy * size));
  context.closePath();
  context.fillStyle = PRIORITY_COLOURS[priority];
  context.fill();
  context.fillStyle = "#0B0D0F";
  context.font = `700 ${Math.round(size * 0.62)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText(priority, x, y + size * (priority === 2 ? 0.32 : 0.22));
}
