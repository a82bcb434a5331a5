import { i32, ModuleBuilder, v128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { emitRegisterSums, REGISTER_SUMS } from "../registerSums.ts";
import { VectorCode } from "../vector/vectors.ts";
import { webAssembly } from "../webAssembly.ts";

// What a tier promises, tried out before it is chosen: the right numbers, and 256-bit vectors where they were switched on.

const LENGTH = 32;
const PLACES = { a: 0, b: 128, c: 256, y: 384, z: 512 } as const;

type Functions = Readonly<Record<string, (...args: number[]) => void>>;

function instantiate(write: (m: ModuleBuilder) => void): {
  readonly floats: Float32Array;
  readonly exports: Functions;
} {
  const api = webAssembly!;
  const builder = new ModuleBuilder({ maximumPages: 1, isShared: false });
  write(builder);
  const memory = new api.Memory({ initial: 1, maximum: 1, shared: false });
  const { exports } = new api.Instance(new api.Module(builder.bytes()), { host: { memory } });
  return { floats: new Float32Array(memory.buffer), exports };
}

/** a·b + c and c - a·b on eight vectors side by side, as kernels are written. */
function emitNumbers(m: ModuleBuilder, multiply: Multiply): void {
  m.function("numbers", [], (f) => {
    const v = new VectorCode(f, LENGTH / 4, multiply);
    const at = i32.const(0);
    const [a, b, c] = [PLACES.a, PLACES.b, PLACES.c].map((place) => v.map((i) => v128.load(at, place + 16 * i)));
    const [y, z] = [v.madd(a!, b!, c!), v.nmadd(a!, b!, c!)];
    y.forEach((x, i) => {
      f.do(v128.store(at, x, PLACES.y + 16 * i));
    });
    z.forEach((x, i) => {
      f.do(v128.store(at, x, PLACES.z + 16 * i));
    });
  });
}

/**
 * What is wrong with the numbers of a way to multiply and add; undefined when nothing is. Relaxed SIMD leaves engines free to
 * round a product before it is added: one that does is told by (1 + 2^-12)² - 1 - 2^-11, which is 2^-24 or 0.
 */
export function faultOf(multiply: Multiply): string | undefined {
  const { floats, exports } = instantiate((m) => emitNumbers(m, multiply));
  const { numbers } = exports;
  const given = (place: number, make: (i: number) => number): number[] =>
    Array.from({ length: LENGTH }, (_, i) => {
      floats[place / 4 + i] = make(i);
      return floats[place / 4 + i]!;
    });
  const a = given(PLACES.a, (i) => (i < 4 ? 1 + 2 ** -12 : i - 7.25));
  const b = given(PLACES.b, (i) => (i < 4 ? 1 + 2 ** -12 : 3.5 - i));
  const c = given(PLACES.c, (i) => (i < 4 ? -1 - 2 ** -11 : i / 8));
  const once = multiply.isFused ? (x: number): number => x : Math.fround;
  for (let call = 0; call < 3; call++) numbers!();
  for (let i = 0; i < LENGTH; i++) {
    // Exact in float64, but for the product's rounding, which is what is asked.
    const product = once(a[i]! * b[i]!);
    const expected = [Math.fround(product + c[i]!), Math.fround(c[i]! - product)];
    const found = [floats[PLACES.y / 4 + i]!, floats[PLACES.z / 4 + i]!];
    if (found[0] === expected[0] && found[1] === expected[1]) continue;
    const isRounding = multiply.isFused && i < 4 && found[0] === 0;
    return isRounding
      ? "its relaxed multiply-add rounds the product"
      : `its multiply-add gives ${found.join(" and ")} instead of ${expected.join(" and ")}`;
  }
  return undefined;
}

const ROUNDS = 1000;
const PATIENCE_MS = 100;

/**
 * How many times more multiply-adds a second 24 running sums make than 12: about 1.3 to 2 where the engine joins vectors in pairs, 0.5 where 24
 * do not fit its registers. Takes a few milliseconds, until the optimised code has arrived.
 */
export function gainOfPairs(multiply: Multiply): number {
  const { exports } = instantiate((m) => {
    emitRegisterSums(m, multiply, "few", REGISTER_SUMS);
    emitRegisterSums(m, multiply, "many", 2 * REGISTER_SUMS);
  });
  const time = (name: "few" | "many"): number => {
    const start = performance.now();
    exports[name]!(0, 0, ROUNDS);
    return performance.now() - start;
  };
  const best = { few: Number.POSITIVE_INFINITY, many: Number.POSITIVE_INFINITY };
  const start = performance.now();
  // The least of interleaved runs, until the gain is plain or patience ends.
  for (let round = 0; performance.now() - start < PATIENCE_MS; round++) {
    best.few = Math.min(best.few, time("few"));
    best.many = Math.min(best.many, time("many") / 2);
    if (round >= 20 && best.few / best.many > 1.2) break;
  }
  return best.few / best.many;
}
