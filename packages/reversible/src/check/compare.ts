import type { Module } from "@revnet-zero/nn";
import { type HostData, ValueError } from "@revnet-zero/tensor";

/** Compares arrays element by element, bit for bit (so that -0 is not 0 and NaN equals itself). */
export class BitComparison {
  elements = 0;
  firstDifference: string | undefined;
  /** The largest distance of two elements in units in the last place (of f32) or in whole numbers; NaN from a NaN. */
  unitsInLastPlace = 0;
  #error = 0;
  #size = 0;

  add(name: string, found: HostData, expected: HostData): void {
    if (found.length !== expected.length)
      throw new ValueError("compare", `${name} has ${found.length} elements, expected ${expected.length}`);
    for (let i = 0; i < found.length; i++) {
      const [a, b] = [found[i]!, expected[i]!];
      this.elements++;
      this.#size += b ** 2;
      if (Object.is(a, b)) continue; // equal infinities and NaNs have no distance
      this.#error += (a - b) ** 2;
      this.unitsInLastPlace = Math.max(this.unitsInLastPlace, distance(a, b, expected));
      this.firstDifference ??= `${name}[${i}] is ${signed(a)}, expected ${signed(b)}`;
    }
  }

  get isEqual(): boolean {
    return this.firstDifference === undefined;
  }
  get relativeError(): number {
    return this.#error === 0 ? 0 : Math.sqrt(this.#error / this.#size);
  }
}

const signed = (v: number): string => (Object.is(v, -0) ? "-0" : String(v));

/** How many values of the array's type lie between two of them. */
function distance(a: number, b: number, of: HostData): number {
  if (!(of instanceof Float32Array)) return Math.abs(a - b);
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.NaN;
  return Math.abs(rank(a) - rank(b));
}

const word = new Float32Array(1);
const bits = new Int32Array(word.buffer);

/** The place of a float32 among all of them, with -0 just below 0. */
function rank(v: number): number {
  word[0] = v;
  const w = bits[0]!;
  return w < 0 ? -(w & 0x7fffffff) - 1 : w;
}

/** The gradients of a pass by name, copied to the host; the gradients themselves are freed. */
export async function takeGradients(module: Module): Promise<Map<string, HostData | undefined>> {
  const found = new Map<string, HostData | undefined>();
  for (const [name, p] of module.namedParameters()) {
    found.set(name, await p.grad?.data());
    p.grad?.dispose();
    p.grad = undefined;
  }
  return found;
}

/** Adds every gradient of two passes to a comparison; one present in only one of them is a difference. */
export function compareGradients(
  comparison: BitComparison,
  found: ReadonlyMap<string, HostData | undefined>,
  expected: ReadonlyMap<string, HostData | undefined>,
): void {
  for (const [name, e] of expected) {
    const f = found.get(name);
    if (f !== undefined && e !== undefined) comparison.add(`gradient of ${name}`, f, e);
    else if (f !== e)
      comparison.firstDifference ??= `gradient of ${name} is ${f === undefined ? "missing" : "unexpected"}`;
  }
}
