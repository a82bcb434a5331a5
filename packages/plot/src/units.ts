// Quantities as people read them. Every function takes any number: what is not finite is shown as it is.

const scale = (value: number, base: number, units: readonly string[]): [number, string] => {
  let scaled = value;
  let unit = 0;
  // 999.6 would be written 1000: it belongs to the next unit.
  while (Math.abs(scaled) >= base - 0.5 && unit < units.length - 1) {
    scaled /= base;
    unit++;
  }
  return [scaled, units[unit] ?? ""];
};

/** Three significant digits, no trailing dot: 1.23, 12.3, 123. */
function threeDigits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
}

/** Bytes in binary units: `512 B`, `1.50 KiB`, `118 MiB`. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return `${bytes} B`;
  const [value, unit] = scale(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
  return `${unit === "B" ? Math.round(value) : threeDigits(value)} ${unit}`;
}

const byteUnits: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** What `parseBytes` takes, in words. */
export const byteSizes = "a size like 2GB (10^9), 1.5GiB (2^30), 500MB or 4096";

/**
 * Bytes of a size as people write it: digits, with a point where there are any after it, and a unit as it is written. Undefined for
 * everything else, for what is no whole number of bytes, and for what a number cannot hold exactly.
 */
export function parseBytes(text: string): number | undefined {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([a-zA-Z]*)$/.exec(text.trim()) ?? [];
  if (digits === undefined || unit === undefined || !Object.hasOwn(byteUnits, unit)) return undefined;
  const bytes = Number(digits) * byteUnits[unit]!;
  const isWhole =
    Number.isSafeInteger(Math.round(bytes)) && Math.abs(bytes - Math.round(bytes)) < 1e-6 * Math.max(1, bytes);
  return isWhole && (unit !== "" || !digits.includes(".")) ? Math.round(bytes) : undefined;
}

/** A count in decimal units: `512`, `12.3k`, `1.50M`. */
export function formatCount(count: number): string {
  if (!Number.isFinite(count)) return String(count);
  const [value, unit] = scale(count, 1000, ["", "k", "M", "G", "T", "P"]);
  return unit === "" ? String(Math.round(value)) : `${threeDigits(value)}${unit}`;
}

/** A short time in three digits: `0 ms`, `12.5 ms`, `1.25 s`. */
export function formatMs(timeMs: number): string {
  if (Math.abs(timeMs) >= 999.5) return `${Number((timeMs / 1000).toPrecision(3))} s`;
  return `${Number(timeMs.toPrecision(3))} ms`;
}

/** A time in the two largest units: `0.8s`, `45s`, `3m 12s`, `2h 05m`, `3d 04h`. */
export function formatDuration(timeMs: number): string {
  if (!Number.isFinite(timeMs) || timeMs < 0) return "?";
  if (timeMs < 9950) return `${(timeMs / 1000).toFixed(1)}s`;
  const seconds = Math.round(timeMs / 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)}d ${two(hours % 24)}h`;
}

/** A figure of any size in about four digits: `3.142`, `0.0012`, `1.0e-8`, `12 345`. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value) || value === 0) return String(value);
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e9) return value.toExponential(1);
  if (size >= 1e4) return groupDigits(Math.round(value));
  return String(Number(value.toPrecision(4)));
}

/** A whole number in groups of three, divided by a narrow no-break space: `12 345`. */
export function groupDigits(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}
