import { type Backend, type DType, type OpName, ops } from "@revnet-zero/tensor";
import { describe, test } from "vitest";
import { promisesOf } from "./promises.ts";
import { subject } from "./run.ts";
import type { Tolerance } from "./values.ts";

export interface ContractOptions {
  readonly backend: () => Backend;
  /** The oracle: plain kernels, float64 inside, every fused op by its decomposition. */
  readonly reference: () => Backend;
  /** Types to draw. Default: those the device has. */
  readonly dtypes?: readonly DType[];
  /** Multiplies the number of runs of every property. Default 1; the deep variant takes 10. */
  readonly effort?: number;
  /** How many times the plain version's error is allowed. Default 4. */
  readonly factor?: number;
  /** Errors allowed besides, for devices whose functions and divisions are not IEEE's. */
  readonly tolerance?: Tolerance;
  /** Why NaN, infinities and subnormals are not asked for. Default: they are. */
  readonly noSpecials?: string;
  /**
   * Every property draws from this seed: the same structures, so that a device that compiles a kernel for each shape compiles few. Default:
   * as `runs` says.
   */
  readonly seed?: number;
  /** Only these ops. */
  readonly only?: readonly OpName[];
}

/**
 * The tests that every backend passes, generated from the op table: one group an op. Shapes, layouts, types and values
 * are drawn by fast-check; a failure prints the sample and the seed (REVNET_SEED repeats it).
 */
export function opContract({ factor = 4, only, ...options }: ContractOptions): void {
  const backend = options.backend();
  const reference = options.reference();
  for (const name of only ?? (Object.keys(ops) as OpName[])) {
    describe(`${name} on ${backend.name}`, () => {
      for (const { title, skip, run } of promisesOf(subject(name), { ...options, backend, reference, factor })) {
        test(title, async (context) => {
          if (skip !== undefined) context.skip(skip);
          await run();
        });
      }
    });
  }
}
