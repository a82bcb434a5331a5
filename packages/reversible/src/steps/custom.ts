import { describe, ShapeError, sameShape, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { Branch } from "../branch.ts";
import type { BackwardPass } from "../passes/backwardPass.ts";
import type { ForwardPass } from "../passes/forwardPass.ts";
import type { StoredPass } from "../passes/storedPass.ts";
import type { StreamPass } from "../passes/streamPass.ts";
import type { Step, StepMaker } from "./step.ts";

/**
 * An invertible map of one's own, of f32 streams. Contract:
 * - both are deterministic and written with engine ops (randomness by the engine's keys); nothing is modified in place;
 * - each takes all streams (then the context, if one was passed) and returns as many, of the same shapes;
 * - `inverse(...forward(...x))` is x, up to rounding;
 * - parameters are those of `branches`, or tensors made before the call.
 * Gradients are never asked for: the engine derives them from `forward`, run again on what `inverse` returns.
 * `checkReversible` measures both claims.
 */
export interface CustomMap {
  // biome-ignore lint/suspicious/noExplicitAny: the context is the user's own.
  readonly forward: (...inputs: any[]) => readonly Tensor[];
  // biome-ignore lint/suspicious/noExplicitAny: the context is the user's own.
  readonly inverse: (...inputs: any[]) => readonly Tensor[];
  /** log |det| of the Jacobian for every sample, [batch], from the same inputs as `forward`; without it, there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: the context is the user's own.
  readonly logDeterminant?: (...inputs: any[]) => Tensor;
  /** The modules that the maps run, for their train flags and parameters. */
  readonly branches?: readonly Branch[];
  readonly name?: string;
}

/** A user's own map of `streams` streams as a step. */
export function custom(map: CustomMap, streams: number): StepMaker {
  return ({ slot, block }) =>
    new CustomStep(
      map,
      Array.from({ length: streams }, (_, i) => slot(i)),
      `${map.name ?? "custom map"} of ${block}`,
    );
}

class CustomStep implements Step {
  readonly name: string;
  readonly branches: readonly Branch[];
  readonly logDeterminant: Step["logDeterminant"];
  readonly #map: CustomMap;
  readonly #slots: readonly number[];

  constructor(map: CustomMap, slots: readonly number[], name: string) {
    this.name = name;
    this.branches = map.branches ?? [];
    this.logDeterminant = map.logDeterminant === undefined ? "unknown" : undefined;
    this.#map = map;
    this.#slots = slots;
  }

  forward(pass: ForwardPass): void {
    this.#refuseExact(pass);
    const values = this.#slots.map((s) => pass.read(s));
    const { logDeterminant } = this.#map;
    pass.run(() => {
      this.#enter(pass, this.#check("forward", this.#map.forward(...values, ...pass.context), values));
      if (logDeterminant !== undefined) pass.addLogDeterminant(() => logDeterminant(...values, ...pass.context));
    });
  }

  inverse(pass: StreamPass): void {
    this.#refuseExact(pass);
    const values = this.#slots.map((s) => pass.read(s));
    const back = pass.run(() => this.#map.inverse(...values, ...pass.context));
    this.#enter(pass, this.#check("inverse", back, values));
  }

  backward(pass: BackwardPass): void {
    this.inverse(pass);
    const leaves = this.#slots.map((s) => pass.read(s).requireGrad());
    const { logDeterminant } = this.#map;
    const outputs = pass.recompute(() => {
      const found = [...this.#check("forward", this.#map.forward(...leaves, ...pass.context), leaves)];
      if (pass.logDeterminant !== undefined && logDeterminant !== undefined) {
        found.push(logDeterminant(...leaves, ...pass.context));
      }
      return found;
    });
    const cotangents = this.#slots.map((s, i) => pass.cotangents[s]?.cast(outputs[i]!.dtype));
    const gradients = pass.pull(outputs, [...cotangents, pass.logDeterminant], leaves);
    for (const [i, s] of this.#slots.entries()) pass.replaceCotangent(s, gradients[i]);
  }

  record(pass: StoredPass): void {
    const { arithmetic, streams } = pass;
    const values = this.#slots.map((s) => arithmetic.read(streams[s]!));
    const { logDeterminant } = this.#map;
    pass.run(() => {
      const results = this.#check("forward", this.#map.forward(...values, ...pass.context), values);
      if (logDeterminant !== undefined) pass.addLogDeterminant(() => logDeterminant(...values, ...pass.context));
      // A result may be one of the streams given: another handle, so that replacing one leaves the other.
      const entered = results.map((y) => arithmetic.enter(values.includes(y) ? y.alias() : y));
      for (const [i, y] of entered.entries()) pass.put(this.#slots[i]!, y);
    });
  }

  #enter(pass: StreamPass, values: readonly Tensor[]): void {
    for (const [i, y] of values.entries()) {
      const before = pass.streams[this.#slots[i]!]!;
      pass.put(this.#slots[i]!, pass.arithmetic.enter(y));
      before.dispose();
    }
  }

  #check(what: string, results: readonly Tensor[], values: readonly Tensor[]): readonly Tensor[] {
    const fits = results.length === values.length && results.every((y, i) => sameShape(y.shape, values[i]!.shape));
    if (fits) return results;
    throw new ShapeError(
      "reversible",
      `${what} of the ${this.name} returned ${results.map(describe).join(", ")} for ${values.map(describe).join(", ")}`,
      "return as many streams as were given, of the same shapes",
    );
  }

  #refuseExact({ arithmetic }: StreamPass): void {
    if (!arithmetic.isExact) return;
    throw new ValueError(
      "reversible",
      `${this.name} is a float map: on ${arithmetic.name} its inverse would not be exact`,
      'use mode "float", or build the coupling from add, combine and permute, which are exact whatever they compute',
    );
  }
}
