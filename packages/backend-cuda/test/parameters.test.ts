import { expect, test } from "vitest";
import { Parameters } from "../src/device/parameters.ts";

test("members are packed as C lays out a struct", () => {
  // struct { int a; long long b; float c; double d; int e; }
  const p = new Parameters()
    .start()
    .int(-2)
    .long(-(2 ** 40) - 1)
    .float(1.5)
    .double(0.1)
    .int(7);
  const view = new DataView(p.bytes.buffer);
  expect(p.size).toBe(40);
  expect(view.getInt32(0, true)).toBe(-2);
  expect(view.getBigInt64(8, true)).toBe(-(2n ** 40n) - 1n);
  expect(view.getFloat32(16, true)).toBe(1.5);
  expect(view.getFloat64(24, true)).toBe(0.1);
  expect(view.getInt32(32, true)).toBe(7);
});

test("device addresses of 49 bits and lists padded with zeros", () => {
  const p = new Parameters()
    .start()
    .pointer(2 ** 48 + 512)
    .longs([1, 2], 4)
    .ints([3], 2)
    .words(0xffffffff, 1);
  const view = new DataView(p.bytes.buffer);
  expect([0, 8, 16, 24, 32].map((at) => Number(view.getBigUint64(at, true)))).toEqual([2 ** 48 + 512, 1, 2, 0, 0]);
  expect([40, 44].map((at) => view.getInt32(at, true))).toEqual([3, 0]);
  expect(view.getBigUint64(48, true)).toBe(0x1ffffffffn);
});

test("tensor maps lie at multiples of 64, as does what ends with them", () => {
  const p = new Parameters().start().int(1);
  const at: number[] = [];
  for (let i = 0; i < 2; i++) p.map((_, offset) => at.push(offset));
  expect(at).toEqual([64, 192]);
  expect(p.int(5).size).toBe(384);
  expect(new DataView(p.bytes.buffer).getInt32(320, true)).toBe(5);
});

test("a number of more than 32 bits is an error, not another number", () => {
  const p = new Parameters().start();
  p.int(2 ** 32 - 1).int(-(2 ** 31));
  for (const count of [2 ** 32, 5_000_000_000, -(2 ** 31) - 1])
    expect(() => p.int(count)).toThrow(`counts what it was given in 32 bits, and ${count} is more`);
});
