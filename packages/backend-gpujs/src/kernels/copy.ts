import { type DType, fillRandomBits, numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import { wordsFromHost } from "../host.ts";
import type { Slot } from "../slot.ts";
import type { Source, Value } from "../text/source.ts";
import * as words from "../text/words.ts";
import type { Context } from "./context.ts";
import { map } from "./map.ts";

type Kernels = Pick<PrimitiveKernels<Slot>, "fill" | "copy" | "cast" | "assign" | "randomBits">;

/** To integers toward zero, saturating, NaN to 0; to truth what is not 0. */
function converted(s: Source, v: Value, to: DType): Value {
  if (to === "i32") {
    if (v.kind === "int") return v;
    return v.kind === "bool" ? words.fromWhole(s, v.text) : words.fixed(s, s.let(`truncate(${v.text})`));
  }
  if (to === "bool") {
    const isZero = v.kind === "int" ? words.equals(v, words.word(0)) : `${v.text} === 0`;
    return { kind: "bool", text: s.let(`(${isZero}) ? 0 : 1`) };
  }
  return { kind: "float", text: v.kind === "int" ? words.toFloat(s, v) : v.text };
}

export function copyKernels(c: Context): Kernels {
  return {
    fill: { run: (_, [y], { value }) => c.fill(y!, value) },
    copy: {
      run: ([x], [y]) => {
        if (numel(y!.shape) > 0)
          c.store(
            y!.data,
            map(c, "copy", [x!], y!.dtype, (_, [v]) => v!),
          );
      },
    },
    cast: {
      run: ([x], [y]) => {
        if (numel(y!.shape) > 0)
          c.store(
            y!.data,
            map(c, "cast", [x!], y!.dtype, (s, [v]) => converted(s, v!, y!.dtype)),
          );
      },
    },
    assign: {
      run: ([, value], [y]) => {
        if (numel(y!.shape) > 0)
          c.store(
            y!.data,
            map(c, "copy", [value!], y!.dtype, (_, [v]) => v!),
          );
      },
    },
    randomBits: {
      // 32-bit products are slow in halves: the generator's words are made on the host.
      run: (_, [y], { key }) => {
        const bits = new Int32Array(numel(y!.shape));
        fillRandomBits(bits, key);
        if (bits.length > 0) {
          const { elements } = y!.data;
          c.store(y!.data, { words: c.device.upload(wordsFromHost(bits, "i32", elements)), dtype: "i32", elements });
        }
      },
    },
  };
}
