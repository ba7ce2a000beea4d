// Numbers as people read them; a dash is "not measured".

const DASH = "–";
const formats = new Map();

export function number(value, digits = 0) {
  if (value === null || value === undefined) return DASH;
  if (!formats.has(digits)) {
    formats.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return formats.get(digits).format(value).replace("-", "−");
}

export function withUnit(value, digits, unit) {
  return value === null || value === undefined ? DASH : `${number(value, digits)} ${unit}`;
}

export function power(watts) {
  if (watts === null || watts === undefined) return DASH;
  return Math.abs(watts) < 100_000 ? `${number(watts / 1e3, 1)} kW` : `${number(watts / 1e6, Math.abs(watts) < 1e7 ? 2 : 1)} MW`;
}

export function temp(celsius) {
  return withUnit(celsius, 1, "C");
}

export function percent(ratio) {
  return ratio === null || ratio === undefined ? DASH : `${number(100 * ratio, ratio > 0 && ratio < 0.1 ? 1 : 0)} %`;
}

export function age(seconds) {
  if (seconds < 60) return `${number(seconds)} s old`;
  return `${number(seconds / 60)} min old`;
}

// The site's own time is MM-DDTHH:MM:SS: its year is a typical one.
export function clockOf(siteTime) {
  return siteTime ? siteTime.slice(6) : "--:--:--";
}

export function dateOf(siteTime) {
  if (!siteTime) return "";
  const day = new Date(`2023-${siteTime.slice(0, 5)}T00:00:00Z`);
  return day.toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
}
