import type { ReversibleTransformer } from "@revnet-zero/models";
import { NonFiniteError, type Tensor } from "@revnet-zero/tensor";

export interface Diagnosis {
  /** Where the first value that is not finite is, in words. */
  readonly where: string;
  /** Whether the parameters are numbers still: a state without is of no use to a run that goes on. */
  readonly isStateFinite: boolean;
}

/**
 * Says where a NaN or an infinity began, after a loss or a gradient that is not finite: the parameter that is one, else the
 * op and layer when `rerun` repeats the computation, with the gradient nearest the loss where that is in the backward pass.
 */
export async function findNonFinite(model: ReversibleTransformer, rerun: () => void): Promise<Diagnosis> {
  const { engine } = model.embedding.tokens.weight;
  const parameters = [...model.namedParameters()];
  for (const [name, p] of parameters) {
    if (!(await holdsNumbers(p))) return { where: `parameter ${name} is not finite`, isStateFinite: false };
  }
  let last: string | undefined;
  for (const [name, { grad }] of parameters) if (grad !== undefined && !(await holdsNumbers(grad))) last = name;
  model.zeroGrad();
  const gradient =
    last === undefined ? undefined : `the gradient of ${last} is the one nearest the loss that is not finite`;
  const { checksFinite } = engine;
  engine.checksFinite = true;
  try {
    engine.scope(rerun);
  } catch (error) {
    if (!(error instanceof NonFiniteError)) throw error;
    const op = error.message.split("\n")[0]!;
    // An op of the backward pass runs outside of all modules.
    const where = op.includes(" in ") || gradient === undefined ? op : `${op}; ${gradient}`;
    return { where, isStateFinite: true };
  } finally {
    engine.checksFinite = checksFinite;
    model.zeroGrad();
  }
  return { where: gradient ?? "the sum of squares of the gradient overflows", isStateFinite: true };
}

async function holdsNumbers(t: Tensor): Promise<boolean> {
  return (await t.data()).every(Number.isFinite);
}
