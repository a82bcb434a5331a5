import { describe, expect, test } from "vitest";
import { CpuBackend } from "../src/index.ts";
import { f32, f32x4, f64, f64x2, i32, i32x4, i64x2, type V128, v128 } from "../src/wasm/assembler/index.ts";
import { A, B, C, type Machine, machine, OUT, place } from "./assembler/machine.ts";
import {
  bitsOf,
  bitwise,
  divisions,
  doubles,
  evenRound,
  f32x4Binary,
  f32x4Tests,
  f32x4Unary,
  flag,
  floats,
  i32x4Binary,
  i32x4Unary,
  ofF32,
  ofF64,
  ofI32,
  type Scalar,
  shifts,
  testsOfF32,
  truncated,
  unaryF32,
  words,
} from "./assembler/models.ts";

// Every instruction of the assembler on its own, against what JavaScript says it does.

const covered = new Map<object, Set<string>>();
const cover = (table: object, ...names: readonly string[]): void => {
  const known = covered.get(table) ?? new Set();
  for (const n of names) known.add(n);
  covered.set(table, known);
};

// biome-ignore lint/suspicious/noExplicitAny: tables of instructions by name.
type Any = any;
type Kind = "i32" | "f32" | "f64";

/** An instruction, given as many operands as its model takes. */
const applied =
  (table: object, name: string, model: (a: number, b: number) => number) =>
  (a: Any, b: Any): Any =>
    model.length === 1 ? (table as Any)[name](a) : (table as Any)[name](a, b);

const put = (m: Machine, type: Kind, at: number, x: number): void => {
  if (type === "i32") m.view.setInt32(at, x, true);
  else if (type === "f32") m.view.setFloat32(at, x, true);
  else m.view.setFloat64(at, x, true);
};
const get = (m: Machine, type: Kind, at: number): number => {
  if (type === "i32") return m.view.getInt32(at, true);
  return type === "f32" ? m.view.getFloat32(at, true) : m.view.getFloat64(at, true);
};
const valuesOf: { readonly [K in Kind]: readonly number[] } = { i32: words, f32: floats, f64: doubles };
const scalars = { i32, f32, f64 };

describe("scalar instructions", () => {
  const all: readonly (readonly [Scalar, Kind, Kind])[] = [
    [{ ...ofI32, ...divisions }, "i32", "i32"],
    [{ ...ofF32, ...unaryF32 }, "f32", "f32"],
    [testsOfF32, "f32", "i32"],
    [ofF64, "f64", "f64"],
  ];
  const cases = all.flatMap(([models, from, to]) =>
    Object.entries(models).map(([name, model]) => [`${from}.${name}`, from, to, name, model] as const),
  );
  test.each(cases)("%s", (what, from, to, name, model) => {
    cover(scalars[from], name, "load");
    cover(scalars[to], "store");
    const [table, target] = [scalars[from], scalars[to]] as [Any, Any];
    const emit = applied(table, name, model);
    const m = machine((f) => f.do(target.store(place(OUT), emit(table.load(place(A)), table.load(place(B))))));
    for (const a of valuesOf[from]) {
      for (const b of valuesOf[from]) {
        put(m, from, A, a);
        put(m, from, B, b);
        const expected = model(a, b);
        if (name in divisions && Number.isNaN(expected)) expect(() => m.run()).toThrow();
        else {
          m.run();
          expect(get(m, to, OUT), `${what} ${a} ${b}`).toBe(expected);
        }
      }
    }
  });
});

type Lane = "f32" | "i32";

/** A vector instruction that does the same in each of four lanes. */
function expectLanes(
  emit: (a: V128, b: V128) => V128,
  [from, to]: readonly [Lane, Lane],
  model: (a: number, b: number) => number,
  what: string,
): void {
  const m = machine((f) => f.do(v128.store(place(OUT), emit(v128.load(place(A)), v128.load(place(B))))));
  const values = valuesOf[from];
  for (let i = 0; i < values.length; i++) {
    for (let j = 0; j < values.length; j++) {
      const pick = (first: number, step: number): number[] =>
        [0, 1, 2, 3].map((l) => values[(first + step * l) % values.length]!);
      const [a, b] = [pick(i, 1), pick(j, 3)];
      for (let l = 0; l < 4; l++) {
        put(m, from, A + 4 * l, a[l]!);
        put(m, from, B + 4 * l, b[l]!);
      }
      m.run();
      for (let l = 0; l < 4; l++) expect(get(m, to, OUT + 4 * l), `${what} ${a[l]} ${b[l]}`).toBe(model(a[l]!, b[l]!));
    }
  }
}

describe("vector instructions, lane by lane", () => {
  const all: readonly (readonly [string, object, string, readonly [Lane, Lane], (a: number, b: number) => number])[] = [
    ...Object.entries({ ...f32x4Binary, ...f32x4Unary }).map(
      ([n, f]) => ["f32x4", f32x4, n, ["f32", "f32"], f] as const,
    ),
    ...Object.entries(f32x4Tests).map(([n, f]) => ["f32x4", f32x4, n, ["f32", "i32"], f] as const),
    ...Object.entries({ ...i32x4Binary, ...i32x4Unary }).map(
      ([n, f]) => ["i32x4", i32x4, n, ["i32", "i32"], f] as const,
    ),
    ...Object.entries(bitwise).map(([n, f]) => ["v128", v128, n, ["i32", "i32"], f] as const),
    ["f32x4", f32x4, "fromI32", ["i32", "f32"], Math.fround],
    ["i32x4", i32x4, "truncSat", ["f32", "i32"], truncated],
  ];
  test.each(
    all.map(([table, object, name, lanes, model]) => [`${table}.${name}`, object, name, lanes, model] as const),
  )("%s", (what, table, name, lanes, model) => {
    cover(table, name);
    expectLanes(applied(table, name, model), lanes, model, what);
  });

  test.each(Object.entries(shifts))("i32x4.%s by constant distances", (name, model) => {
    cover(i32x4, name);
    for (const by of [0, 1, 16, 31]) {
      expectLanes(
        (a) => (i32x4 as Any)[name](a, i32.const(by)),
        ["i32", "i32"],
        (a) => model(a, by),
        `${name} ${by}`,
      );
    }
  });

  test("f32x4.relaxedMadd and relaxedNmadd round once or twice, nothing else", () => {
    cover(f32x4, "relaxedMadd", "relaxedNmadd");
    new CpuBackend({ tier: "relaxed" }); // Node 20 has them behind a flag
    for (const [name, sign] of [
      ["relaxedMadd", 1],
      ["relaxedNmadd", -1],
    ] as const) {
      const m = machine((f) =>
        f.do(v128.store(place(OUT), f32x4[name](v128.load(place(A)), v128.load(place(B)), v128.load(place(C))))),
      );
      for (const [a, b, c] of [
        [2, 3, 4],
        [1 + 2 ** -12, 1 + 2 ** -12, -1],
        [1e20, 1e20, -1],
        [-0.1, 0.3, 7],
      ] as const) {
        for (const [at, x] of [
          [A, a],
          [B, b],
          [C, c],
        ] as const)
          m.view.setFloat32(at, x, true);
        const [p, q, r] = [a, b, c].map(Math.fround) as [number, number, number];
        m.run();
        expect([Math.fround(sign * p * q + r), Math.fround(Math.fround(sign * p * q) + r)]).toContain(
          get(m, "f32", OUT),
        );
      }
    }
  });
});

describe("constants, conversions and lanes", () => {
  const look = (emit: () => V128): Machine => {
    const m = machine((f) => f.do(v128.store(place(OUT), emit())));
    return m;
  };
  const bytesOf = (m: Machine, count = 16): number[] => [...m.bytes.slice(OUT, OUT + count)];
  const fill = (m: Machine, at: number, values: readonly number[]): void => m.bytes.set(values, at);
  const ascending = Array.from({ length: 16 }, (_, i) => 0x70 + i * 3);

  test("constants of every type are the values they name", () => {
    cover(i32, "const", "store");
    cover(f32, "const", "store");
    cover(f64, "const");
    cover(f32x4, "const");
    cover(f64x2, "const");
    cover(i32x4, "const", "constants");
    for (const n of [...words, -64, 63, 64, 8191, -8193]) {
      const m = machine((f) => f.do(i32.store(place(OUT), i32.const(n))));
      m.run();
      expect(get(m, "i32", OUT)).toBe(n);
    }
    for (const x of floats) {
      const m = machine((f) => {
        f.do(f32.store(place(OUT), f32.const(x)));
        f.do(f64.store(place(OUT + 8), f64.const(x)));
        f.do(v128.store(place(OUT + 16), f32x4.const(x)));
        f.do(v128.store(place(OUT + 32), f64x2.const(x)));
      });
      m.run();
      expect([get(m, "f32", OUT), m.view.getFloat64(OUT + 8, true)]).toEqual([x, x]);
      for (let l = 0; l < 4; l++) expect(get(m, "f32", OUT + 16 + 4 * l)).toBe(x);
      for (let l = 0; l < 2; l++) expect(m.view.getFloat64(OUT + 32 + 8 * l, true)).toBe(x);
    }
    const m = machine((f) => {
      f.do(v128.store(place(OUT), i32x4.const(-5)));
      f.do(v128.store(place(OUT + 16), i32x4.constants([1, -2, 3, 0x7fffffff])));
    });
    m.run();
    expect([0, 4, 8, 12, 16, 20, 24, 28].map((o) => get(m, "i32", OUT + o))).toEqual([
      -5, -5, -5, -5, 1, -2, 3, 0x7fffffff,
    ]);
  });

  test("numbers change type as they should", () => {
    cover(i32, "reinterpret", "eqz", "ctz", "load");
    cover(f32, "convertS", "demote", "load");
    cover(f64, "promote", "sqrt");
    for (const n of words) {
      const m = machine((f) => {
        f.do(f32.store(place(OUT), f32.convertS(i32.load(place(A)))));
        f.do(i32.store(place(OUT + 4), i32.eqz(i32.load(place(A)))));
        f.do(i32.store(place(OUT + 8), i32.ctz(i32.load(place(A)))));
      });
      put(m, "i32", A, n);
      m.run();
      const zeros = n === 0 ? 32 : 31 - Math.clz32(n & -n);
      expect([get(m, "f32", OUT), get(m, "i32", OUT + 4), get(m, "i32", OUT + 8)]).toEqual([
        Math.fround(n),
        flag(n === 0),
        zeros,
      ]);
    }
    for (const x of floats) {
      const m = machine((f) => {
        f.do(i32.store(place(OUT), i32.reinterpret(f32.load(place(A)))));
        f.do(f64.store(place(OUT + 8), f64.promote(f32.load(place(A)))));
        f.do(f32.store(place(OUT + 4), f32.demote(f64.sqrt(f64.promote(f32.load(place(A)))))));
      });
      put(m, "f32", A, x);
      m.run();
      if (!Number.isNaN(x)) expect(get(m, "i32", OUT)).toBe(bitsOf(x));
      expect(m.view.getFloat64(OUT + 8, true)).toBe(x);
      expect(get(m, "f32", OUT + 4)).toBe(Math.fround(Math.sqrt(x)));
    }
  });

  test("two doubles: arithmetic, rounding, and to and from the other types", () => {
    cover(f64x2, "add", "sub", "mul", "floor", "nearest", "promoteLow", "splat", "lane");
    cover(f32x4, "demote");
    cover(i32x4, "truncSatF64");
    const rules: readonly (readonly [(a: V128, b: V128) => V128, (a: number, b: number) => number])[] = [
      [f64x2.add, (a, b) => a + b],
      [f64x2.sub, (a, b) => a - b],
      [f64x2.mul, (a, b) => a * b],
      [(a) => f64x2.floor(a), (a) => Math.floor(a)],
      [(a) => f64x2.nearest(a), (a) => evenRound(a)],
      [(a) => f64x2.splat(f64x2.lane(a, 0)), (a) => a],
    ];
    for (const [emit, model] of rules) {
      const m = machine((f) => f.do(v128.store(place(OUT), emit(v128.load(place(A)), v128.load(place(B))))));
      for (const a of doubles) {
        for (const b of doubles) {
          for (const l of [0, 8]) {
            m.view.setFloat64(A + l, a, true);
            m.view.setFloat64(B + l, b, true);
          }
          m.run();
          for (const l of [0, 8]) expect(m.view.getFloat64(OUT + l, true)).toBe(model(a, b));
        }
      }
    }
    const m = machine((f) => {
      f.do(v128.store(place(OUT), f32x4.demote(v128.load(place(A)))));
      f.do(v128.store(place(OUT + 16), i32x4.truncSatF64(v128.load(place(A)))));
      f.do(v128.store(place(OUT + 32), f64x2.promoteLow(v128.load(place(B)))));
    });
    for (const x of doubles) {
      m.view.setFloat64(A, x, true);
      m.view.setFloat64(A + 8, -x, true);
      put(m, "f32", B, x);
      put(m, "f32", B + 4, -x);
      m.run();
      expect([0, 4, 8, 12].map((o) => get(m, "f32", OUT + o))).toEqual([Math.fround(x), Math.fround(-x), 0, 0]);
      expect([0, 4, 8, 12].map((o) => get(m, "i32", OUT + 16 + o))).toEqual([
        truncated(x) | 0,
        truncated(-x) | 0,
        0,
        0,
      ]);
      expect([0, 8].map((o) => m.view.getFloat64(OUT + 32 + o, true))).toEqual([Math.fround(x), Math.fround(-x)]);
    }
  });

  test("lanes are splat, taken, replaced and shuffled", () => {
    cover(f32x4, "splat", "lane", "replace");
    cover(i32x4, "splat", "lane", "replace", "bitmask");
    cover(v128, "lanes32", "shuffle", "bitSelect", "anyTrue");
    for (let l = 0; l < 4; l++) {
      const m = machine((f) => {
        const [a, b, c] = [A, B, C].map((at) => v128.load(place(at))) as [V128, V128, V128];
        f.do(v128.store(place(OUT), f32x4.splat(f32x4.lane(a, l))));
        f.do(v128.store(place(OUT + 16), i32x4.splat(i32x4.lane(b, l))));
        f.do(v128.store(place(OUT + 32), f32x4.replace(a, l, f32.const(9))));
        f.do(v128.store(place(OUT + 48), i32x4.replace(b, l, i32.const(9))));
        f.do(v128.store(place(OUT + 64), v128.lanes32(a, b, [l, 4 + l, 0, 7])));
        f.do(v128.store(place(OUT + 80), v128.shuffle(a, b, [...Array.from({ length: 15 }, (_, i) => i + 1), 16 + l])));
        f.do(v128.store(place(OUT + 96), v128.bitSelect(a, b, c)));
        f.do(i32.store(place(OUT + 112), i32x4.bitmask(b)));
        f.do(i32.store(place(OUT + 116), v128.anyTrue(c)));
      });
      const [a, b, c] = [
        [1, -2, 3.5, 4],
        [-10, 20, -30, 40],
        [0, -1, 0x0f0f0f0f, 0],
      ];
      for (let i = 0; i < 4; i++) {
        put(m, "f32", A + 4 * i, a![i]!);
        put(m, "i32", B + 4 * i, b![i]!);
        put(m, "i32", C + 4 * i, c![i]!);
      }
      m.run();
      const four = (lane: Lane, at: number): number[] => [0, 4, 8, 12].map((o) => get(m, lane, OUT + at + o));
      expect(four("f32", 0)).toEqual(new Array(4).fill(a![l]));
      expect(four("i32", 16)).toEqual(new Array(4).fill(b![l]));
      expect(four("f32", 32)).toEqual(a!.map((x, i) => (i === l ? 9 : x)));
      expect(four("i32", 48)).toEqual(b!.map((x, i) => (i === l ? 9 : x)));
      expect(four("i32", 64)).toEqual([bitsOf(a![l]!), b![l], bitsOf(a![0]!), b![3]]);
      expect([...m.bytes.slice(OUT + 80, OUT + 96)]).toEqual([...m.bytes.slice(A + 1, A + 16), m.bytes[B + l]]);
      expect(four("i32", 96)).toEqual(a!.map((x, i) => (bitsOf(x) & c![i]!) | (b![i]! & ~c![i]!)));
      expect([get(m, "i32", OUT + 112), get(m, "i32", OUT + 116)]).toEqual([0b0101, 1]);
    }
  });

  test("bytes and words are widened, narrowed and multiplied", () => {
    cover(i32x4, "fromBytes", "fromSignedBytes", "narrowU", "narrowBytes", "dot");
    cover(i64x2, "extmulLowU", "extmulHighU");
    const m = machine((f) => {
      const [a, b] = [v128.load(place(A)), v128.load(place(B))];
      f.do(v128.store(place(OUT), i32x4.fromBytes(a)));
      f.do(v128.store(place(OUT + 16), i32x4.fromSignedBytes(a)));
      f.do(v128.store(place(OUT + 32), i32x4.narrowU(a, b)));
      f.do(v128.store(place(OUT + 48), i32x4.narrowBytes(a, b)));
      f.do(v128.store(place(OUT + 64), i32x4.dot(a, b)));
      f.do(v128.store(place(OUT + 80), i64x2.extmulLowU(a, b)));
      f.do(v128.store(place(OUT + 96), i64x2.extmulHighU(a, b)));
    });
    for (const turn of [0, 3, 6]) {
      const [a, b] = [0, 1].map((k) => [0, 1, 2, 3].map((i) => words[(turn + 4 * k + i) % words.length]!)) as [
        number[],
        number[],
      ];
      a.forEach((n, i) => {
        put(m, "i32", A + 4 * i, n);
      });
      b.forEach((n, i) => {
        put(m, "i32", B + 4 * i, n);
      });
      m.run();
      const ints = (at: number): number[] => [0, 4, 8, 12].map((o) => get(m, "i32", OUT + at + o));
      const half = (at: number, i: number): number => m.view.getInt16(at + 2 * i, true);
      expect(ints(0)).toEqual([0, 1, 2, 3].map((i) => m.bytes[A + i]));
      expect(ints(16)).toEqual([0, 1, 2, 3].map((i) => m.view.getInt8(A + i)));
      const cut = (n: number, most: number): number => Math.max(0, Math.min(most, n));
      expect(Array.from({ length: 8 }, (_, i) => m.view.getUint16(OUT + 32 + 2 * i, true))).toEqual(
        [...a, ...b].map((n) => cut(n, 0xffff)),
      );
      const halves = [A, B].flatMap((at) => Array.from({ length: 8 }, (_, i) => half(at, i)));
      expect([...m.bytes.slice(OUT + 48, OUT + 64)]).toEqual(halves.map((n) => cut(n, 0xff)));
      expect(ints(64)).toEqual(
        [0, 1, 2, 3].map((i) => (half(A, 2 * i) * half(B, 2 * i) + half(A, 2 * i + 1) * half(B, 2 * i + 1)) | 0),
      );
      const product = (i: number): bigint => BigInt(a[i]! >>> 0) * BigInt(b[i]! >>> 0);
      expect([80, 88, 96, 104].map((o) => m.view.getBigUint64(OUT + o, true))).toEqual([0, 1, 2, 3].map(product));
    }
  });

  test("memory is read and written in every width, at offsets", () => {
    const loads = [
      "load16x4S",
      "load16x4U",
      "load8x8U",
      "load8x8S",
      "load32Splat",
      "load32Zero",
      "load64Zero",
    ] as const;
    cover(v128, "load", "store", ...loads, "storeLane8", "storeLane16", "storeLane32", "storeLane64");
    cover(i32, "load8u", "load8s", "load16u", "load16s", "store8", "store16", "atomicAdd");
    const at = (m: Machine) => ({
      s16: (i: number) => m.view.getInt16(A + 4 + 2 * i, true),
      u16: (i: number) => m.view.getUint16(A + 4 + 2 * i, true),
    });
    for (const name of loads) {
      const m = look(() => v128[name](place(A), 4));
      fill(m, A, [...ascending, ...ascending]);
      m.run();
      const { s16, u16 } = at(m);
      const own = [...m.bytes.slice(A + 4, A + 20)];
      const expected: { readonly [K in (typeof loads)[number]]: () => number[] } = {
        load16x4S: () => [...new Uint8Array(Int32Array.of(s16(0), s16(1), s16(2), s16(3)).buffer)],
        load16x4U: () => [...new Uint8Array(Int32Array.of(u16(0), u16(1), u16(2), u16(3)).buffer)],
        load8x8U: () => [...new Uint8Array(Uint16Array.from(own.slice(0, 8)).buffer)],
        load8x8S: () => [...new Uint8Array(Int16Array.from(own.slice(0, 8), (n) => (n << 24) >> 24).buffer)],
        load32Splat: () => [0, 1, 2, 3].flatMap(() => own.slice(0, 4)),
        load32Zero: () => [...own.slice(0, 4), ...new Array(12).fill(0)],
        load64Zero: () => [...own.slice(0, 8), ...new Array(8).fill(0)],
      };
      expect(bytesOf(m), name).toEqual(expected[name]());
    }
    for (const [name, bytes] of [
      ["storeLane8", 1],
      ["storeLane16", 2],
      ["storeLane32", 4],
      ["storeLane64", 8],
    ] as const) {
      for (let lane = 0; lane < 16 / bytes; lane++) {
        const m = machine((f) => f.do(v128[name](place(OUT), v128.load(place(A)), lane, 8)));
        fill(m, A, ascending);
        m.run();
        expect(bytesOf(m), name).toEqual([
          ...new Array(8).fill(0),
          ...ascending.slice(lane * bytes, (lane + 1) * bytes),
          ...new Array(8 - bytes).fill(0),
        ]);
      }
    }
    const m = machine((f) => {
      f.do(i32.store(place(OUT), i32.load8u(place(A), 3)));
      f.do(i32.store(place(OUT), i32.load8s(place(A), 3), 4));
      f.do(i32.store(place(OUT), i32.load16u(place(A), 2), 8));
      f.do(i32.store(place(OUT), i32.load16s(place(A), 2), 12));
      f.do(i32.store8(place(OUT), i32.const(0x1ff), 16));
      f.do(i32.store16(place(OUT), i32.const(0x1ffff), 20));
      f.do(i32.atomicAdd(place(OUT + 24), i32.const(5)));
      f.do(i32.atomicAdd(place(OUT + 24), i32.const(-7)));
    });
    fill(m, A, [1, 2, 0x83, 0x94]);
    m.run();
    expect([0, 4, 8, 12, 16, 20, 24].map((o) => get(m, "i32", OUT + o))).toEqual([
      ...[0x94, 0x94 - 256, 0x9483, 0x9483 - 65_536],
      ...[0xff, 0xffff, -2],
    ]);
  });
});

test("no instruction is left out", () => {
  for (const [name, table] of Object.entries({ i32, f32, f64, v128, f32x4, i32x4, f64x2, i64x2 })) {
    expect([...(covered.get(table) ?? [])].sort(), name).toEqual(Object.keys(table).sort());
  }
});
