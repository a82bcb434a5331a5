import type { Engine } from "@revnet-zero/tensor";

/**
 * Whether an engine has shapes and no values, asked where values are to be read: a recording of the computation learns of it, as it would
 * of the reading.
 */
export function lacksValues(engine: Engine): boolean {
  if (engine.backend.assumptions === undefined) return false;
  engine.noteHostEffect("it reads values on the host");
  return true;
}
