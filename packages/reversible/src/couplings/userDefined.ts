import type { CoupledBlock } from "../block.ts";
import { type CustomMap, custom } from "../steps/custom.ts";

export interface UserDefinedOptions extends CustomMap {
  /** How many streams the map takes and returns. Default 2. */
  readonly streams?: number;
}

/** A coupling of one's own, for float streams: see `CustomMap` for the contract, and `checkReversible` for the check. */
export function userDefined(options: UserDefinedOptions): UserDefinedOptions & CoupledBlock {
  const { streams = 2, name = "userDefined" } = options;
  return { ...options, streams, coupling: name, program: [custom(options, streams)] };
}
