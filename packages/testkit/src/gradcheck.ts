import { DTypeError, describe, grad, isFloat, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "./seed.ts";
import { position } from "./tolerance.ts";

export interface GradcheckOptions {
  /**
   * f64 tensors that `f` reads without being given them (parameters of a layer). They are moved in place, and put
   * back.
   */
  readonly parameters?: readonly Tensor[];
  /** Step of the differences. Default 1e-4: the error estimate below says when that was too long. */
  readonly step?: number;
  /** Elements tried in each tensor, drawn evenly. Default 12. */
  readonly elements?: number;
  /** Cotangents and the elements tried are drawn from this seed. Default 1. */
  readonly seed?: number;
}

type Differentiated = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

/**
 * Gradients of `f` by central differences in float64 against those of backward; throws where they disagree.
 *
 * `f`'s float outputs are weighted by random cotangents and summed to one number. The difference is taken with two
 * steps and extrapolated (error of order h^4); how far the two are apart, and the roundoff of the sum, give the limit,
 * so no tolerance is guessed. At a kink (relu at 0) any value between the one-sided differences is right.
 */
export async function gradcheck(
  f: Differentiated,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<void> {
  const { parameters = [], step = 1e-4, elements = 12, seed = 1 } = options;
  const slots = [...inputs, ...parameters];
  const engine = slots[0]!.engine;
  for (const t of slots) {
    if (isFloat(t.dtype) && t.dtype !== "f64") {
      throw new DTypeError("gradcheck", `${describe(t)} is too coarse for differences`, 'pass it as x.cast("f64")');
    }
  }
  const values = await Promise.all(slots.map(async (t) => new Float64Array(await t.data())));
  const analytic = await gradientsOf(f, inputs, parameters, seed);

  const lossAt = async (slot: number, element: number, moved: number): Promise<{ loss: number; size: number }> => {
    const own = values[slot]!.slice();
    own[element] = moved;
    const replaced = tensor(own, { shape: slots[slot]!.shape, dtype: "f64", engine });
    const outputs = engine.scope(() => {
      const xs = inputs.map((x, i) => (i === slot ? replaced : x));
      if (slot >= inputs.length) engine.noGrad(() => slots[slot]!.detach().assign(replaced));
      return engine.noGrad(() => floats(f(...xs.map((x) => x.detach()))));
    });
    if (slot >= inputs.length) {
      const before = tensor(values[slot]!, { shape: slots[slot]!.shape, dtype: "f64", engine });
      engine.scope(() => engine.noGrad(() => slots[slot]!.detach().assign(before)));
      before.dispose();
    }
    replaced.dispose();
    return weigh(outputs, seed);
  };

  for (let slot = 0; slot < slots.length; slot++) {
    if (!isFloat(slots[slot]!.dtype)) continue;
    const tried = new Random(seed + slot).permutation(values[slot]!.length).slice(0, elements);
    for (const element of tried) {
      const x = values[slot]![element]!;
      const h = step * Math.max(1, Math.abs(x));
      const far = { up: await lossAt(slot, element, x + h), down: await lossAt(slot, element, x - h) };
      const near = { up: await lossAt(slot, element, x + h / 2), down: await lossAt(slot, element, x - h / 2) };
      const coarse = (far.up.loss - far.down.loss) / (2 * h);
      const fine = (near.up.loss - near.down.loss) / h;
      const numeric = (4 * fine - coarse) / 3;
      const got = analytic[slot]![element]!;
      // Kernels and functions are good to some units in the last place; the sum is as large as its terms.
      const roundoff = (Number.EPSILON * (64 + 4096 * Math.max(far.up.size, far.down.size))) / h;
      const limit = 4 * Math.abs(fine - coarse) + roundoff;
      if (Math.abs(got - numeric) <= limit) continue;
      const middle = await lossAt(slot, element, x);
      const sides = [(near.up.loss - middle.loss) / (h / 2), (middle.loss - near.down.loss) / (h / 2)];
      if (got >= Math.min(...sides) - limit && got <= Math.max(...sides) + limit && isKink(sides, limit)) continue;
      const name = slot < inputs.length ? `input ${slot}` : `parameter ${slot - inputs.length}`;
      throw new Error(
        `gradcheck: ${name} ${describe(slots[slot]!)}, element ${position(element, slots[slot]!.shape)} (value ${x}): ` +
          `backward gives ${got}, differences give ${numeric} (apart ${Math.abs(got - numeric).toExponential(2)}, limit ${limit.toExponential(2)})`,
      );
    }
  }
}

/** One-sided slopes that differ by far more than curvature explains. */
const isKink = ([a, b]: readonly number[], limit: number): boolean => Math.abs(a! - b!) > 100 * limit;

const floats = (outputs: Tensor | readonly Tensor[]): Tensor[] =>
  (Array.isArray(outputs) ? (outputs as readonly Tensor[]) : [outputs as Tensor]).filter((t) => isFloat(t.dtype));

/** Cotangents of one output, the same in every call. */
const cotangent = (size: number, index: number, seed: number): Float64Array => {
  const random = new Random(seed * 7919 + index);
  return Float64Array.from({ length: size }, () => random.between(0.5, 1.5) * (random.unit() < 0.5 ? -1 : 1));
};

/** Σ w·y over all outputs, and Σ |w·y|. */
async function weigh(outputs: readonly Tensor[], seed: number): Promise<{ loss: number; size: number }> {
  let [loss, size] = [0, 0];
  for (const [index, t] of outputs.entries()) {
    const w = cotangent(t.size, index, seed);
    (await t.data()).forEach((y, i) => {
      loss += w[i]! * y;
      size += Math.abs(w[i]! * y);
    });
    t.dispose();
  }
  return { loss, size };
}

/** The same loss, differentiated by the engine. */
async function gradientsOf(
  f: Differentiated,
  inputs: readonly Tensor[],
  parameters: readonly Tensor[],
  seed: number,
): Promise<Float64Array[]> {
  const engine = (inputs[0] ?? parameters[0])!.engine;
  const before = parameters.map((p) => p.grad);
  for (const p of parameters) p.grad = undefined;
  const leaves = engine.scope(() => {
    const xs = inputs.map((x) => (isFloat(x.dtype) ? x.detach().requireGrad() : x.detach()));
    for (const p of parameters) p.requireGrad();
    const terms = floats(f(...xs)).flatMap((y, index) => {
      if (!y.requiresGrad) return [];
      const w = tensor(cotangent(y.size, index, seed), { shape: y.shape, dtype: "f64", engine });
      return [y.mul(w).sum()];
    });
    const loss = terms.slice(1).reduce((total, t) => total.add(t), terms[0]!);
    loss?.backward();
    return xs;
  });
  const results: Float64Array[] = [];
  for (const t of [...leaves, ...parameters]) {
    results.push(t.grad === undefined ? new Float64Array(t.size) : new Float64Array(await t.grad.data()));
  }
  for (const x of leaves) x.dispose();
  parameters.forEach((p, i) => {
    p.grad?.dispose();
    p.grad = before[i];
  });
  return results;
}

/**
 * Second derivatives: the gradient of `f` by differences of its gradient, along a random direction. The cotangents are
 * inputs too, so that the gradient's own dependence on them is checked.
 */
export async function gradgradcheck(
  f: Differentiated,
  inputs: readonly Tensor[],
  options: Omit<GradcheckOptions, "parameters"> = {},
): Promise<void> {
  const { seed = 1 } = options;
  const engine = inputs[0]!.engine;
  const weights = engine.scope(() =>
    engine.noGrad(() =>
      floats(f(...inputs.map((x) => x.detach()))).map((y, index) =>
        tensor(cotangent(y.size, index, seed), { shape: y.shape, dtype: "f64", engine }),
      ),
    ),
  );
  if (weights.length === 0) return;
  const moving = inputs.flatMap((x, i) => (isFloat(x.dtype) ? [i] : []));
  /** The gradients of Σ w·f by the float inputs, as a function of all inputs and of w. */
  const first: Differentiated = (...all) => {
    const ws = all.slice(inputs.length);
    const loss = (...xs: Tensor[]): Tensor => {
      const own = inputs.map((_, i) => xs[moving.indexOf(i)] ?? all[i]!);
      const terms = floats(f(...own)).map((y, k) => y.mul(ws[k]!).sum());
      return terms.slice(1).reduce((total, t) => total.add(t), terms[0]!);
    };
    return grad(
      loss,
      moving.map((i) => all[i]!),
    );
  };
  try {
    await gradcheck(first, [...inputs, ...weights], options);
  } finally {
    for (const w of weights) w.dispose();
  }
}
