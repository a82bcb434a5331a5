import { type Activation, activations, derivativeOf, dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import { withScratch } from "../choice/scratch.ts";
import { timeOnDevice } from "../choice/tune.ts";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView } from "../device/device.ts";
import { CHOICES, type Epilogue } from "../device/products.ts";
import { opBody } from "../elementwise/source.ts";
import { mapAndSum, type Rows } from "./columns.ts";
import type { Context } from "./context.ts";
import { libraryProduct, multiply } from "./matmul.ts";
import { fold, foldType } from "./reduce.ts";
import { asRows, hasGelu } from "./rowViews.ts";

/** Operands as matrices: g [rows, out], w [out, in], before and by [rows, in], and where wanted sums [in]. */
export interface LinearActivationBackward {
  readonly g: CudaView;
  readonly w: CudaView;
  readonly before: CudaView;
  readonly by: CudaView;
  readonly sums: CudaView | undefined;
  readonly activation: Exclude<Activation, "none">;
}

/** The library's kernels with the derivative in their epilogue, which multiplies what is not yet rounded. Sums are another pass, which only reads. */
const epilogues: ReadonlyMap<string, number> = new Map(
  Array.from({ length: CHOICES }, (_, which) => [`cuBLASLt ${which}, derivative in it`, which]),
);
/** The product, rounded to the operands' type, and a pass over it that multiplies it by the derivative and adds up columns. */
const APART = "product and pass";

/** The kernels that take the problem, the one that serves without a table first. */
export function kernelsFor({ device }: Context, { by, activation }: LinearActivationBackward): string[] {
  return !hasGelu(activation, by) || "missing" in device.products.state ? [APART] : [...epilogues.keys(), APART];
}

/** Runs one of `kernelsFor`; false where the library has no such kernel for the problem. */
export function runBy(context: Context, kernel: string, problem: LinearActivationBackward): boolean {
  const { device } = context;
  const { g, w, before, by, sums } = problem;
  const which = epilogues.get(kernel);
  if (which === undefined) {
    multiply(device, g, w, by);
    multiplyByDerivative(context, problem);
    return true;
  }
  const epilogue: Epilogue = { kind: "geluBack", matrix: addressOf(before) };
  const product = libraryProduct(g, w, by, { epilogue });
  if (product === undefined || !device.products.multiplyBy(which, product)) return false;
  if (sums !== undefined) fold(device, "Sum", by, sums, [0]);
  return true;
}

/** by = activation'(before) ⊙ by, and its sums. */
function multiplyByDerivative({ device, elementwise }: Context, problem: LinearActivationBackward): void {
  const { before, by, sums, activation } = problem;
  const derivative = derivativeOf(activations[activation]);
  if (sums === undefined) {
    elementwise.run(derivative, undefined, [before, by], by);
    return;
  }
  const body = opBody(derivative, undefined, by.dtype, [before.dtype, by.dtype]);
  mapAndSum(device, body, asMatrix(before), asMatrix(by), foldType("Sum", by.dtype), sums);
}

const asMatrix = (x: CudaView): Rows => ({
  ...{ dtype: x.dtype, address: addressOf(x) },
  ...{ rows: x.shape[0]!, length: x.shape[1]! },
});

function choose(context: Context, problem: LinearActivationBackward): string {
  const { g, w, by, sums, activation } = problem;
  const [rows, out, inner] = [g.shape[0]!, g.shape[1]!, w.shape[1]!];
  const alignment = [g, w, problem.before, by].every((v) => addressOf(v) % 16 === 0) ? "" : " unaligned";
  const { state } = context.device.products;
  const version = "missing" in state ? "" : `, cuBLASLt ${state.version}`;
  const what = `${by.dtype} ${activation} ${rows}x${out}x${inner}${sums === undefined ? "" : ` with sums in ${sums.dtype}`}${alignment}`;
  return context.device.choices.choose(
    "linearActivationBackward",
    `${what}${version}`,
    kernelsFor(context, problem),
    (kernel) => measure(context, kernel, problem),
  );
}

/** The time of a kernel, on numbers of its own; undefined where it does not run. */
function measure(context: Context, kernel: string, problem: LinearActivationBackward): number | undefined {
  const { device } = context;
  const views = [problem.g, problem.w, problem.before, problem.by, problem.sums];
  const sizes = views.map((v) => (v === undefined ? 0 : numel(v.shape) * dtypes[v.dtype].bytes));
  return withScratch(device, sizes, (addresses) => {
    const own = (i: number): CudaView => {
      const view = views[i]!;
      return { ...view, data: { address: addresses[i]!, bytes: sizes[i]! }, offset: 0 };
    };
    const sums = problem.sums === undefined ? undefined : own(4);
    const one = { ...problem, g: own(0), w: own(1), before: own(2), by: own(3), sums };
    return runBy(context, kernel, one) ? timeOnDevice(device, () => runBy(context, kernel, one)) : undefined;
  });
}

export const linearActivationBackwardKernels = (
  context: Context,
): Pick<FusedKernels<Block>, "linearActivationBackward"> => ({
  linearActivationBackward: {
    inputs: "contiguous",
    run: ([g, w, before], [by, sums], { activation }) => {
      const [rows, given, result] = [asRows(g!), asRows(before!), asRows(by!)];
      const problem = { g: rows, w: w!, before: given, by: result, sums, activation };
      if (numel(result.shape) === 0) {
        const bytes = sums === undefined ? 0 : numel(sums.shape) * dtypes[sums.dtype].bytes;
        if (bytes > 0) context.device.fill(addressOf(sums!), 0, bytes);
        return;
      }
      // What the table names may be refused for this layout: then the one that always runs.
      if (!runBy(context, choose(context, problem), problem)) runBy(context, APART, problem);
    },
  },
});
