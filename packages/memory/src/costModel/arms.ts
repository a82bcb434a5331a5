import { priorMs } from "./priorTimes.ts";
import type { ProbedItem } from "./probe.ts";
import type { Work } from "./stepRecorder.ts";

/** What is timed: the forward or the backward pass of an item under one of its choices. */
export interface Arm {
  readonly item: number;
  readonly choice: number;
  readonly pass: "forward" | "backward";
  readonly policy: string;
  readonly work: Work;
  readonly priorMs: number;
  /** Arms of equal work under the same policy have the same: what is seen of one says something of the others. */
  readonly kind: string;
}

/** The arms of every item, by choice: the forward and the backward one. */
export type ArmTable = readonly (readonly (readonly [forward: Arm, backward: Arm])[])[];

export function armsOf(items: readonly ProbedItem[]): ArmTable {
  return items.map(({ choices }, item) =>
    choices.map(({ policy, forward, backward }, choice) => {
      const arm = (pass: Arm["pass"], work: Work): Arm => ({
        item,
        choice,
        pass,
        policy,
        work,
        // Nothing is free: logarithms are taken.
        priorMs: Math.max(priorMs(work), 1e-3),
        kind: `${policy} ${pass} ${work.flops} ${work.bytes} ${work.ops}`,
      });
      return [arm("forward", forward), arm("backward", backward)] as const;
    }),
  );
}
