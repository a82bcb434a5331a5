import { dtypes, isFloat, type KeptElsewhere, type SavedKeeper, type Storage, type Tensor } from "@revnet-zero/tensor";
import type { Offloaded, OffloadStore } from "./offload.ts";
import { SwappedBuffers } from "./swap.ts";

/** Numbers that share a scale. */
const GROUP = 64;

/** Keeps saved float buffers in 8 bits a number, in the engine; what is no float, or does not fall into groups, stays as it is. */
export class CompressedBuffers implements SavedKeeper {
  readonly #swapped = new SwappedBuffers(eightBits);

  keep(storage: Storage, whole: () => Tensor): KeptElsewhere | undefined {
    const { dtype, bytes } = storage;
    const isWhole = (bytes / dtypes[dtype].bytes) % GROUP === 0;
    if (!isFloat(dtype) || dtype === "f64" || !isWhole) return undefined;
    return this.#swapped.keep(storage, whole);
  }
}

/**
 * Groups of 64 numbers as int8 multiples of a scale of their own, their largest magnitude over 127: 8.5 bits a number, each within half a
 * scale of what it was. Source: Chakrabarti and Moseley 2019 (arXiv:1901.07988), activations kept in few bits; we differ: 8 of them, in
 * groups.
 */
const eightBits: OffloadStore = {
  put: (t: Tensor): Offloaded => {
    const { engine, dtype, shape } = t;
    const [scale, words] = engine.noGrad(() =>
      engine.scope(() => {
        const groups = t.cast("f32").reshape([-1, GROUP]);
        const largest = groups.abs().max(1, { keepDims: true });
        // A group of zeros has no scale; any will do.
        const step = largest.div(127).maximum(1e-30);
        return [step, groups.div(step).round().cast("i8")] as const;
      }),
    );
    for (const kept of [scale, words]) {
      engine.keep(kept);
      kept.storage.category = "saved";
    }
    return {
      fetch: () => engine.noGrad(() => engine.scope(() => words.cast("f32").mul(scale).reshape(shape).cast(dtype))),
      release: () => {
        scale.dispose();
        words.dispose();
      },
    };
  },
};
