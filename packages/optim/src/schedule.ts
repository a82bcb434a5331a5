import { ValueError } from "@revnet-zero/tensor";

/**
 * A number for every step: a learning rate, or a multiplier of one. Step 0 is the first update. Schedules are pure, so
 * a resumed run needs only its step.
 */
export type Schedule = (step: number) => number;

function checkSteps(name: string, steps: number): void {
  if (!Number.isInteger(steps) || steps < 1)
    throw new ValueError(name, `steps is ${steps}`, "use an integer of at least 1");
}

export const constant =
  (value = 1): Schedule =>
  () =>
    value;

export interface RampOptions {
  readonly from: number;
  readonly to: number;
  /** Steps until `to` is reached; it stays there. */
  readonly steps: number;
}

/** A straight line: `from` at step 0, `to` at step `steps` and after. */
export function linear({ from, to, steps }: RampOptions): Schedule {
  checkSteps("linear", steps);
  return (step) => from + (to - from) * Math.min(step / steps, 1);
}

/**
 * Half a cosine from `from` at step 0 to `to` at step `steps` and after.
 * Source: Loshchilov & Hutter 2017 (arXiv:1608.03983), eq. 5, one period.
 */
export function cosine({ from, to, steps }: RampOptions): Schedule {
  checkSteps("cosine", steps);
  return (step) => to + ((from - to) / 2) * (1 + Math.cos(Math.PI * Math.min(step / steps, 1)));
}

/**
 * Rises to `to` in `steps` equal steps: to/steps at step 0 (no update is wasted on a rate of 0), `to` from step
 * `steps - 1` on. Source: Goyal et al. 2017 (arXiv:1706.02677), section 2.2.
 */
export function warmUp({ steps, to = 1 }: { readonly steps: number; readonly to?: number }): Schedule {
  checkSteps("warmUp", steps);
  return (step) => to * Math.min((step + 1) / steps, 1);
}

export interface Phase {
  readonly schedule: Schedule;
  /** Steps of this phase; left out in the last, which has no end. */
  readonly steps?: number;
}

/**
 * Schedules one after another, each counting from its own step 0.
 *
 * ```ts
 * import { schedules } from "revnet-zero";
 *
 * const { cosine, sequence, warmUp } = schedules;
 * const rate = sequence(
 *   { schedule: warmUp({ steps: 4 }), steps: 4 },
 *   { schedule: cosine({ from: 1, to: 0.1, steps: 6 }) },
 * );
 * [0, 1, 3, 4, 10].map(rate); // => [ 0.25, 0.5, 1, 1, 0.1 ]
 * ```
 */
export function sequence(...phases: readonly Phase[]): Schedule {
  if (phases.length === 0) throw new ValueError("sequence", "no phases were given");
  for (const { steps } of phases.slice(0, -1)) {
    if (steps === undefined || !Number.isInteger(steps) || steps < 0)
      throw new ValueError("sequence", `a phase before the last has ${steps} steps`, "say how long each phase lasts");
  }
  return (step) => {
    let start = 0;
    for (const { schedule, steps = Number.POSITIVE_INFINITY } of phases.slice(0, -1)) {
      if (step < start + steps) return schedule(step - start);
      start += steps;
    }
    return phases[phases.length - 1]!.schedule(step - start);
  };
}

/** The product of schedules: a multiplier on a learning rate. */
export const product =
  (...schedules: readonly Schedule[]): Schedule =>
  (step) =>
    schedules.reduce((p, s) => p * s(step), 1);
