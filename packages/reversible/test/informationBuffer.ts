import { type Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import { expect } from "vitest";
import { type Multiplied, makeHead, multiply, undoMultiply } from "../src/side/informationBuffer.ts";

/** A run of multiplications with a whole number added behind each: ratios n/d, one an element. */
export interface BufferCase {
  readonly size: number;
  readonly steps: number;
  readonly seed: number;
  /** Largest magnitude of the numbers that go in. */
  readonly largest: number;
  readonly ratio: (random: Random, step: number) => readonly [number, number];
  readonly isPerElement: boolean;
}

export interface BufferRun {
  /** Bits kept for each element: head and bytes. */
  readonly bits: number;
  /** Mean over the elements of the sum of log2(d/n). */
  readonly information: number;
  /** The same of the factors below 1 alone. */
  readonly contracted: number;
}

/** Multiplies forward and back; throws unless every word, and the buffer, are what they were. */
export function runBuffer(engine: Engine, { size, steps, seed, largest, ratio, isPerElement }: BufferCase): BufferRun {
  return engine.scope(() => {
    const random = new Random(seed);
    const words = (): Int32Array => Int32Array.from({ length: size }, () => random.integer(-largest, largest));
    const start = words();
    const whole = (values: Int32Array): Tensor => tensor(values, { engine });
    const made: { readonly n: Tensor; readonly d: Tensor; readonly f: Tensor; readonly done: Multiplied }[] = [];
    let [v, head] = [whole(start), makeHead(whole(start))];
    let [information, contracted] = [0, 0];
    for (let step = 0; step < steps; step++) {
      const drawn = Array.from({ length: isPerElement ? size : 1 }, () => ratio(random, step));
      for (const [n, d] of drawn) {
        information += Math.log2(d / n) / drawn.length;
        contracted += Math.max(0, Math.log2(d / n)) / drawn.length;
      }
      const [n, d] = [0, 1].map((k) => whole(Int32Array.from(drawn, (pair) => pair[k as 0 | 1]))) as [Tensor, Tensor];
      const before = v.dataSync().slice();
      const done = multiply(v, n, d, head);
      done.value.dataSync().forEach((product, i) => {
        const [p, q] = drawn[isPerElement ? i : 0]!;
        // Within one unit: the digit that the product has room for is worth at most n/d ≤ the distance to the next.
        expect(Math.abs(product - (before[i]! * p) / q)).toBeLessThanOrEqual(1 + p / q);
      });
      const f = whole(words());
      made.push({ n, d, f, done });
      [v, head] = [done.value.add(f), done.head];
    }
    const bits = 32 + (8 * made.reduce((sum, { done }) => sum + done.bytes.size, 0)) / size;
    for (const { n, d, f, done } of made.reverse()) {
      const back = undoMultiply({ value: v.sub(f), head, bytes: done.bytes }, n, d);
      [v, head] = [back.value, back.head];
    }
    expect(v.dataSync()).toEqual(start);
    expect(new Set(head.dataSync())).toEqual(new Set(makeHead(v).dataSync()));
    return { bits, information, contracted };
  });
}
