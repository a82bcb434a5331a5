import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatBytes, formatCount, formatDuration, formatFigure, groupDigits, parseBytes } from "../src/units.ts";

const unitsOf: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, PiB: 2 ** 50 };

describe("units", () => {
  test("bytes are within half a unit of the third digit", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 52 }), (bytes) => {
        const [, value = "", unit = ""] = /^([\d.]+) (\w+)$/.exec(formatBytes(bytes)) ?? [];
        expect(Math.abs(Number(value) * unitsOf[unit]! - bytes) / bytes).toBeLessThanOrEqual(0.0051);
        expect(value.replace(".", "").length).toBeLessThanOrEqual(4);
      }),
    );
    const known = [0, 512, 1023.6, 1536, 118 * 2 ** 20, Number.NaN].map(formatBytes);
    expect(known).toEqual(["0 B", "512 B", "1.00 KiB", "1.50 KiB", "118 MiB", "NaN B"]);
  });

  test("sizes are read as they are written, and nothing else is", () => {
    const read = {
      "2GB": 2e9,
      "1.5GiB": 1.5 * 2 ** 30,
      "500 MB": 5e8,
      "4096": 4096,
      "0.1KB": 100,
      "1.1MB": 1.1e6,
      " 7B ": 7,
    };
    for (const [text, bytes] of Object.entries(read)) expect(parseBytes(text), text).toBe(bytes);
    for (const text of [
      "",
      "GB",
      "2 GB more",
      "-1GB",
      "+1GB",
      "2gb",
      "2Gb",
      "2G",
      "1e9",
      "0.5",
      "1.0001B",
      "2,5GB",
      "1.GB",
      ".5GB",
      "NaN",
      "9e99TB",
    ])
      expect(parseBytes(text), text).toBeUndefined();
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom("B", "KiB", "MiB"), (n, unit) => {
        expect(parseBytes(`${n}${unit}`)).toBe(n * unitsOf[unit]!);
      }),
    );
  });

  test("counts", () => {
    expect([0, 999, 999.6, 12_345, 1.5e6, 4.2e9, Number.POSITIVE_INFINITY].map(formatCount)).toEqual([
      "0",
      "999",
      "1.00k",
      "12.3k",
      "1.50M",
      "4.20G",
      "Infinity",
    ]);
  });

  test("durations, also where rounding carries over", () => {
    const times = [800, 45_000, 59_600, 192_000, 3_599_900, 7_500_000, 86_399_000, 3 * 86_400_000 + 4 * 3_600_000];
    expect(times.map(formatDuration)).toEqual([
      "0.8s",
      "45s",
      "1m 00s",
      "3m 12s",
      "1h 00m",
      "2h 05m",
      "1d 00h",
      "3d 04h",
    ]);
    expect([Number.NaN, -1, Number.POSITIVE_INFINITY].map(formatDuration)).toEqual(["?", "?", "?"]);
  });

  test("figures", () => {
    expect([0, Math.PI, 0.0012, 1e-8, 12_345, 3e10, Number.NaN, -2.5].map(formatFigure)).toEqual([
      "0",
      "3.142",
      "0.0012",
      "1.0e-8",
      "12\u202f345",
      "3.0e+10",
      "NaN",
      "-2.5",
    ]);
    expect([1, 1234, -1234567].map(groupDigits)).toEqual(["1", "1\u202f234", "-1\u202f234\u202f567"]);
  });
});
