import { OnlineTimes, ScaledPrior } from "../costModel/onlineTimes.ts";
import { staticTimes, type TimeModel } from "../costModel/timeModel.ts";
import type { TimeNetwork } from "../costModel/timeNetwork.ts";

/**
 * How a scheduler plans:
 * - `conservative`: the least bytes that any plan needs; of such plans the fastest;
 * - `balanced`: half of what the budget leaves beyond these least bytes, times by operations and bytes;
 * - `aggressive`: the whole budget, times likewise;
 * - `adaptive`: the whole budget, times as every block was seen to take them;
 * - `ml-adaptive`: the same, with a network that says what was not seen yet.
 */
export const strategyNames = ["conservative", "balanced", "aggressive", "adaptive", "ml-adaptive"] as const;
export type MemoryStrategy = (typeof strategyNames)[number];

export interface StrategyDefinition {
  /** Share of the bytes between the least peak and the budget that a plan may use. */
  readonly share: number;
  readonly usesNetwork: boolean;
  readonly times: (network: TimeNetwork | undefined) => TimeModel;
}

export const strategies: { readonly [S in MemoryStrategy]: StrategyDefinition } = {
  conservative: { share: 0, usesNetwork: false, times: () => staticTimes },
  balanced: { share: 0.5, usesNetwork: false, times: () => staticTimes },
  aggressive: { share: 1, usesNetwork: false, times: () => staticTimes },
  adaptive: { share: 1, usesNetwork: false, times: () => new OnlineTimes(new ScaledPrior()) },
  "ml-adaptive": { share: 1, usesNetwork: true, times: (network) => new OnlineTimes(network!) },
};
