import { type DType, dtypes, Engine, fromF16, fromWords, type Tensor, tensor } from "@revnet-zero/tensor";
import { describe, expect, test } from "vitest";
import { ReferenceBackend, tierNames } from "../src/index.ts";
import { backendOf } from "./tier.fixture.ts";

const reference = new Engine(new ReferenceBackend());
const names = Object.keys(dtypes) as DType[];

/** Every 131101st bit pattern of a float, and the edges of every type's range. */
function floats(): Float32Array {
  const words = new Uint32Array(2 ** 15);
  for (let i = 0; i < words.length; i++) words[i] = i * 131101;
  const edges = [
    127,
    128,
    255,
    256,
    32767,
    32768,
    65504,
    65519.996,
    65520,
    2 ** 31,
    2 ** 24 + 1,
    2 ** -25,
    2 ** -24,
    0.5,
    1.5,
  ];
  const all = [
    ...edges,
    ...edges.map((x) => -x),
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    0,
    -0,
  ];
  const values = new Float32Array(words.buffer);
  values.set(all, 7);
  return values;
}

/** The stored words, all NaN alike. */
function wordsOf(t: Tensor): ArrayLike<number> {
  const data = t.dataSync() as Float32Array;
  if (t.dtype === "f16" || t.dtype === "bf16") {
    const [exponent, quiet] = t.dtype === "f16" ? [0x7c00, 0x7e00] : [0x7f80, 0x7fc0];
    return Array.from(data as ArrayLike<number>, (w) => ((w & 0x7fff) > exponent ? quiet : w));
  }
  return Array.from(data as ArrayLike<number>);
}

describe.each(tierNames)("tier %s converts as the oracle does", (tier) => {
  function engineOf(): Engine | undefined {
    const backend = backendOf(tier, { threads: 1 });
    return backend && new Engine(backend);
  }

  test.each(names)("floats of all magnitudes to %s, and what comes of it to every type", (to) => {
    const engine = engineOf();
    if (engine === undefined) return;
    const values = floats();
    const [found, wanted] = [engine, reference].map((e) =>
      e.scope(() => {
        const once = tensor(values, { engine: e }).cast(to);
        return [once, ...names.map((n) => once.cast(n))].map(wordsOf);
      }),
    ) as [ArrayLike<number>[], ArrayLike<number>[]];
    for (const [i, words] of wanted.entries()) {
      const name = i === 0 ? `f32 to ${to}` : `f32 to ${to} to ${names[i - 1]}`;
      for (let k = 0; k < words.length; k++)
        if (!Object.is(found[i]![k], words[k])) expect(found[i]![k], `${name} of ${values[k]}`).toBe(words[k]);
    }
  });

  test("every half precision number there is, to float32 and back", () => {
    const engine = engineOf();
    if (engine === undefined) return;
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    engine.scope(() => {
      const half = fromWords(halves, [halves.length], "f16", engine);
      const wide = half.cast("f32");
      const values = wide.dataSync() as Float32Array;
      for (let i = 0; i < halves.length; i++)
        if (!Object.is(values[i], fromF16(i))) expect(values[i], `${i}`).toBe(fromF16(i));
      expect(wordsOf(wide.cast("f16"))).toEqual(wordsOf(half));
    });
  });
});
