import type { ReversibleTransformer } from "@revnet-zero/models";
import { NonFiniteError } from "@revnet-zero/tensor";

/**
 * Says where a NaN or an infinity began, after a step whose loss or gradient is not finite: the op and layer of the
 * forward pass if it shows there, else the first parameter whose gradient is not finite. `rerun` repeats the step.
 */
export async function findNonFinite(model: ReversibleTransformer, rerun: () => void): Promise<string> {
  const { engine } = model.embedding.tokens.weight;
  for (const [name, p] of model.namedParameters()) {
    if (!(await p.data()).every(Number.isFinite)) return `parameter ${name} is not finite`;
  }
  const bad: string[] = [];
  for (const [name, p] of model.namedParameters()) {
    if (p.grad !== undefined && !(await p.grad.data()).every(Number.isFinite)) bad.push(name);
  }
  model.zeroGrad();
  const { checksFinite } = engine;
  engine.checksFinite = true;
  try {
    engine.scope(rerun);
  } catch (error) {
    if (!(error instanceof NonFiniteError)) throw error;
    return error.message.split("\n")[0]!;
  } finally {
    engine.checksFinite = checksFinite;
    model.zeroGrad();
  }
  return bad.length === 0
    ? "the sum of squares of the gradient overflows"
    : `the gradient of ${bad.slice(0, 3).join(", ")}${bad.length > 3 ? ` and ${bad.length - 3} more` : ""} is not finite`;
}
