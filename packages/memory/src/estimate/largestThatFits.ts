import { type Backend, ValueError } from "@revnet-zero/tensor";
import { estimateProgram, type StepProgram } from "./estimateProgram.ts";

/** The sizes of a training step that memory depends on. */
export interface StepSizes {
  /** Samples of a step. */
  readonly batch: number;
  /** Length of a sequence; height and width of an image. */
  readonly sequence: number;
  /** Blocks. */
  readonly depth: number;
}

export interface SearchOptions {
  /** Bytes that the step's peak may have. */
  readonly budget: number;
  /** Least value. Default 1. */
  readonly from?: number;
  /** Largest value that is looked at. Default 65,536. */
  readonly upTo?: number;
  /** Only multiples of it are looked at (a patch size, a number of devices). Default 1. */
  readonly multipleOf?: number;
}

export interface FitOptions extends SearchOptions {
  readonly vary: keyof StepSizes;
  /** The sizes that stay as they are. */
  readonly sizes: StepSizes;
  /** The program of given sizes. */
  readonly program: (sizes: StepSizes) => StepProgram;
  /** The backend it is to run on. */
  readonly like: Backend;
}

export interface Probe {
  readonly value: number;
  readonly peakBytes: number;
}

export interface Fit {
  /** The largest value that fits, with its peak; undefined where not even the least one does. */
  readonly largest: Probe | undefined;
  /** The next one, which does not fit; undefined where the search ended at its upper end. */
  readonly smallestTooLarge: Probe | undefined;
  /** Whether every peak that was looked at is at least that of each smaller value: else a larger value might fit too. */
  readonly isMonotone: boolean;
  /** All that was looked at, from the least value on. */
  readonly probes: readonly Probe[];
}

/** The largest batch, sequence or depth whose training step fits into the budget, by estimates: nothing is computed. */
export function largestThatFits({ vary, sizes, program, like, ...search }: FitOptions): Fit {
  return searchLargest((value) => estimateProgram(program({ ...sizes, [vary]: value }), { like }).peakBytes, search);
}

/**
 * Bisection: doubles from the least value on until the budget is exceeded, then halves the gap. What it returns was looked at, and so was
 * its neighbour, which does not fit; that peaks grow with the value is checked on everything that was looked at.
 */
export function searchLargest(
  peakOf: (value: number) => number,
  { budget, from = 1, upTo = 2 ** 16, multipleOf = 1 }: SearchOptions,
): Fit {
  checkSearch({ budget, from, upTo, multipleOf });
  const probes = new Map<number, Probe>();
  // In steps of `multipleOf`, so that the bisection is over whole numbers.
  const probe = (step: number): Probe => {
    const known = probes.get(step);
    if (known !== undefined) return known;
    const value = step * multipleOf;
    const found = { value, peakBytes: peakOf(value) };
    probes.set(step, found);
    return found;
  };
  const fits = (step: number): boolean => probe(step).peakBytes <= budget;
  const [first, last] = [Math.ceil(from / multipleOf), Math.floor(upTo / multipleOf)];
  let [good, bad] = [first - 1, last + 1];
  for (let step = first; step <= last; step = step === last ? last + 1 : Math.min(2 * step, last)) {
    if (!fits(step)) {
      bad = step;
      break;
    }
    good = step;
  }
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (fits(middle)) good = middle;
    else bad = middle;
  }
  const sorted = [...probes.values()].sort((a, b) => a.value - b.value);
  return {
    largest: good < first ? undefined : probe(good),
    smallestTooLarge: bad > last ? undefined : probe(bad),
    isMonotone: sorted.every((p, i) => i === 0 || p.peakBytes >= sorted[i - 1]!.peakBytes),
    probes: sorted,
  };
}

function checkSearch({ budget, from, upTo, multipleOf }: Required<SearchOptions>): void {
  const isSize = (n: number): boolean => Number.isSafeInteger(n) && n >= 1;
  if (!(budget >= 0)) throw new ValueError("largestThatFits", `the budget is ${budget} bytes`, "use a number from 0");
  if (isSize(from) && isSize(upTo) && isSize(multipleOf) && Math.ceil(from / multipleOf) * multipleOf <= upTo) return;
  throw new ValueError(
    "largestThatFits",
    `there is no multiple of ${multipleOf} from ${from} to ${upTo}`,
    "use whole numbers from 1, with from <= upTo",
  );
}
