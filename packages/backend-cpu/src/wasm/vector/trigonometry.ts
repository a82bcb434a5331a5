import { f32x4, f64x2, i32x4, type Local, type V128, v128 } from "../assembler/index.ts";
import type { VectorCode, Vectors } from "./vectors.ts";

// Sine and cosine of float32, for every magnitude. Angles near zero are reduced by pi/2 in parts whose multiples are exact (Cody & Waite
// 1980), others in float64 by exact products with parts of 2/pi (after Payne & Hanek 1983). Polynomials on [-pi/4, pi/4]: the Cephes
// library (Moshier 1989).

/** Up to here quarter turns have a number of 12 bits. */
const NEAR = 4096;
/** pi/2: three times 12 bits, and the rest. */
const halfPi = [1.5703125, 0.0004837512969970703, 7.549533620476723e-8, 2.5633440682570896e-12];

/** 2/pi in parts of 28 bits, highest first: exact when multiplied with a float32. Seven reach below 2^-190. */
const twoOverPi: readonly number[] = [0xa2f9836, 0xe4e4415, 0x29fc275, 0x7d1f534, 0xddc0db6, 0x295993c, 0x439041f].map(
  (bits, k) => bits * 2 ** (-28 * (k + 1)),
);

/** x = n·pi/2 + r with |r| <= pi/4: n modulo 4 as an integer. */
interface Turns {
  readonly n: readonly Local<"v128">[];
  readonly r: readonly Local<"v128">[];
}

function turnsOf(v: VectorCode, x: Vectors): Turns {
  const { f } = v;
  const magic = v.float(12582912); // 1.5 · 2^23: its sum with a small number is that number rounded.
  const shifted = v.madd(x, v.float(2 / Math.PI), magic);
  const count = v.sub(shifted, magic);
  const r = halfPi.reduce((rest: Vectors, part) => v.nmadd(count, v.float(part), rest), x) as Turns["r"];
  const n = v.binary(i32x4.sub, shifted, magic) as Turns["n"];
  const isFar = v.binary(f32x4.gt, v.unary(f32x4.abs, x), v.float(NEAR));
  f.if(v128.anyTrue(isFar.reduce((a, b) => v128.or(a, b))), () => {
    // Lane by lane: the bits of a near angle do not depend on its neighbours.
    for (const [i, angle] of x.entries()) {
      const [low, high] = [angle, v128.lanes32(angle, angle, [2, 3, 2, 3])].map((half) => far(v, half)) as [Half, Half];
      const farRest = v128.lanes32(f32x4.demote(low.r), f32x4.demote(high.r), [0, 1, 4, 5]);
      const farCount = v128.lanes32(i32x4.truncSatF64(low.n), i32x4.truncSatF64(high.n), [0, 1, 4, 5]);
      f.set(r[i]!, v128.bitSelect(farRest, r[i]!, isFar[i]!));
      f.set(n[i]!, v128.bitSelect(farCount, n[i]!, isFar[i]!));
    }
  });
  return { n, r };
}
type Half = ReturnType<typeof far>;

/** Quarter turns modulo 4, part by part from the highest; what is left stays below a half, so that no small part is lost to a large one. */
function far(v: VectorCode, halfOf: V128): { readonly n: V128; readonly r: V128 } {
  const { f } = v;
  const x = f.let(f64x2.promoteLow(halfOf));
  const [four, quarter] = [v.double(4)[0]!, v.double(0.25)[0]!];
  const [n, rest] = [f.let(f64x2.const(0)), f.let(f64x2.const(0))];
  for (const part of twoOverPi) {
    const product = f.let(f64x2.mul(x, v.double(part)[0]!));
    const remainder = f64x2.sub(product, f64x2.mul(four, f64x2.floor(f64x2.mul(product, quarter))));
    f.set(rest, f64x2.add(rest, remainder));
    const whole = f.let(f64x2.nearest(rest));
    f.set(n, f64x2.add(n, whole));
    f.set(rest, f64x2.sub(rest, whole));
  }
  return { n, r: f.let(f64x2.mul(rest, v.double(Math.PI / 2)[0]!)) };
}

/** sin(r) - r over r³, and cos(r) - 1 + r²/2 over r⁴. */
const sine = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1];
const cosine = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2];

/** Sine, `quarters` quarter turns ahead. */
function turned(v: VectorCode, x: Vectors, quarters: 0 | 1): Vectors {
  const { n, r } = turnsOf(v, x);
  const turn = quarters === 0 ? n : v.binary(i32x4.add, n, v.int(quarters));
  const r2 = v.mul(r, r);
  const s = v.madd(v.mul(v.polynomial(r2, sine), r2), r, r);
  const c = v.madd(v.mul(r2, r2), v.polynomial(r2, cosine), v.nmadd(v.float(0.5), r2, v.float(1)));
  const isOdd = v.binary(i32x4.eq, v.binary(v128.and, turn, v.int(1)), v.int(1));
  const sign = v.shift(i32x4.shl, v.binary(v128.and, turn, v.int(2)), 30);
  return v.binary(v128.xor, v.select(isOdd, c, s), sign);
}

export function sin(v: VectorCode, x: Vectors): Vectors {
  // Below, it is x itself, with its sign when zero.
  const isTiny = v.binary(f32x4.lt, v.unary(f32x4.abs, x), v.float(2 ** -12));
  return v.select(isTiny, x, turned(v, x, 0));
}

export const cos = (v: VectorCode, x: Vectors): Vectors => turned(v, x, 1);
