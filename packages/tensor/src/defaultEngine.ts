import type { Engine } from "./engine.ts";
import { BackendError } from "./errors.ts";

let current: Engine | undefined;

/** The engine that tensor-making functions use when none is named. */
export function defaultEngine(): Engine {
  if (current !== undefined) return current;
  throw new BackendError(
    "engine",
    "no default engine is set",
    'import "revnet-zero", which picks the best backend present, or call setDefaultEngine(new Engine(new CpuBackend()))',
  );
}

export const hasDefaultEngine = (): boolean => current !== undefined;

export function setDefaultEngine(engine: Engine | undefined): void {
  current = engine;
}
