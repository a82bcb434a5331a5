import { allDTypes, type Backend, type DType, Engine, isFloat } from "@revnet-zero/tensor";
import fc from "fast-check";
import { operandsOf, type Sample, type SampleOptions, samples } from "../sample.ts";
import { runs } from "../seed.ts";
import {
  checkDeterminism,
  checkDifferences,
  checkEntry,
  checkGradients,
  checkMemory,
  checkSaves,
  checkStraightThrough,
  checkValues,
} from "./checks.ts";
import { inputsOf, type Subject, takes } from "./run.ts";
import type { Judge } from "./values.ts";

export interface PromiseOptions extends Judge {
  readonly backend: Backend;
  /** Types to draw. Default: those the device has. */
  readonly dtypes?: readonly DType[];
  /** Why NaN, infinities and subnormals are not asked for of this backend. Default: they are. */
  readonly noSpecials?: string;
  /** Multiplies the number of runs of every property. Default 1; the deep variant takes 10. */
  readonly effort?: number;
  /** Of the first type; the next ones count up. Default: REVNET_SEED, or one that fast-check draws. */
  readonly seed?: number;
}

/** One thing that is true of an op on every backend. */
export interface OpPromise {
  readonly title: string;
  /** Why it is not checked for this op. */
  readonly skip?: string;
  readonly run: () => Promise<void>;
}

/** Everything an op promises on a backend, as properties over drawn samples. */
export function promisesOf(one: Subject, options: PromiseOptions): OpPromise[] {
  const { backend, effort = 1, seed } = options;
  const device = backend.dtypes ?? allDTypes;
  const { dtypes = device } = options;
  const { op, sampler } = one;
  const isTooNarrow = sampler.multipliesInDouble === true && !device.includes("f64");
  const noSpecials =
    sampler.noSpecials ??
    options.noSpecials ??
    (isTooNarrow ? `${backend.name} has no f64, in which squares and products do not overflow` : undefined);
  const types = sampler.dtypes.filter((d) => dtypes.includes(d) && takes(backend, one, d));
  const floating = types.filter(isFloat);

  // Types of an op's own: streams of 16 bits have no meaning on a device without them.
  const missing =
    (sampler.needs ?? []).find((d) => !device.includes(d)) ?? (types.length === 0 ? sampler.dtypes[0] : undefined);
  if (missing !== undefined) {
    return [{ title: `takes ${missing}`, skip: `${backend.name} has no ${missing}`, run: () => Promise.resolve() }];
  }

  type Check = (sample: Sample) => void | Promise<void>;
  /** A promise kept for `count` samples of every type. */
  const promise = (
    title: string,
    count: number,
    drawn: readonly DType[],
    sampling: Omit<SampleOptions, "dtype" | "device">,
    check: Check,
  ): OpPromise => ({
    title,
    run: async () => {
      for (const [i, dtype] of drawn.entries()) {
        const property = fc.asyncProperty(samples(sampler, { ...sampling, dtype, device }), async (sample) =>
          check(sample),
        );
        await fc.assert(
          property,
          runs(Math.ceil(count * effort * (sampler.variety ?? 1)), seed === undefined ? seed : seed + i),
        );
      }
    },
  });

  const everything = { allowsViews: true, allowsEmpty: true, allowsLong: true, values: "plain" } as const;
  const smooth = { allowsViews: true, values: "smooth" } as const;
  const extremes = { allowsViews: true, values: op.kind === "elementwise" ? "extreme" : "special" } as const;

  const always: OpPromise[] = [
    promise("is described", 2, types.slice(0, 1), { values: "plain" }, (sample) => {
      const engine = new Engine(backend);
      engine.scope(() => checkEntry(one, sample, inputsOf(one, operandsOf(engine, sample), sample)));
    }),
    promise("gives the right values for all types, layouts, broadcast and empty shapes", 5, types, everything, (s) =>
      checkValues(options, backend, one, s),
    ),
    {
      ...promise(
        "treats NaN, infinities, subnormals and the ends of ranges like the reference",
        4,
        types,
        extremes,
        (s) => checkValues(options, backend, one, s),
      ),
      ...(noSpecials === undefined ? {} : { skip: noSpecials }),
    },
    promise("gives the same bits again", 3, types, everything, (s) => checkDeterminism(backend, one, s)),
    promise("takes the memory that the meta backend predicts, and leaves none", 4, types.slice(0, 2), everything, (s) =>
      checkMemory(backend, one, s),
    ),
  ];
  if (op.gradient === "none") return always;
  if (sampler.straightThrough !== undefined) {
    const straight = promise(
      "passes the gradient straight through",
      5,
      types,
      { ...everything, allowsEmpty: false },
      (s) => checkStraightThrough(backend, one, s),
    );
    return [...always, straight];
  }
  return [
    ...always,
    promise("saves what its vjp reads, and no more", 5, floating.slice(0, 1), smooth, (s) =>
      checkSaves(backend, one, s),
    ),
    promise(
      sampler.compare === "parts"
        ? "has the gradients of its parts"
        : "has the reference's gradients in every float type",
      4,
      floating,
      { ...smooth, allowsEmpty: true },
      (s) => checkGradients(options, backend, one, s),
    ),
    ...(floating.includes("f64")
      ? [
          promise("has the gradients that differences give", 4, ["f64"], smooth, (s) =>
            checkDifferences(backend, one, s, 1),
          ),
          promise("has the second derivatives that differences give", 2, ["f64"], smooth, (s) =>
            checkDifferences(backend, one, s, 2),
          ),
        ]
      : []),
  ];
}
