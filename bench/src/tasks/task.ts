/** [batch, m, k] times [batch, k, n]; a transposed operand lies in memory the other way round. */
export interface ProductShape {
  readonly batch: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transA: boolean;
  readonly transB: boolean;
}

/** Ops of one shape: `sum` over everything, `softmax` and `layerNorm` over the last axis, `cast` to bfloat16. */
export type MapOp = "add" | "mul" | "exp" | "tanh" | "gelu" | "sum" | "softmax" | "layerNorm" | "cast";

/** What everybody is asked to compute, on float32. */
export type Task =
  | { readonly op: "matmul"; readonly product: ProductShape }
  | { readonly op: MapOp; readonly shape: readonly number[] };

/** Computes the task so many times, and has the last result when it is done. */
export type Run = (times: number) => void | Promise<void>;

/** A library that can be given tasks. */
export interface TaskLibrary {
  readonly version: string;
  /** The kernels it runs on, where it has several. */
  readonly tier?: string;
  /** Undefined: the library has no such op. */
  prepare(task: Task): Run | undefined | Promise<Run | undefined>;
  /** Floating-point operations a second that the machine's units can do at this moment. */
  peakFlops?(): number | undefined;
}

export type TaskRequest = { readonly prepare: Task } | { readonly run: number };

/** Where the operands of a task lie: `[rows, columns]` of the product, or what memory holds instead. */
export const operandShape = (batch: number, rows: number, columns: number, isTransposed: boolean): number[] =>
  isTransposed ? [batch, columns, rows] : [batch, rows, columns];

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Floats that are neither special nor all equal, the same for every library. */
export function someFloats(shape: readonly number[], seed: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(elements(shape));
  let state = (seed * 2654435761) >>> 0;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = state / 2 ** 31 - 1;
  }
  return values;
}

/** Operands by name, as every library gets them. */
export function operandsOf(
  task: Task,
): readonly { readonly shape: readonly number[]; readonly values: Float32Array<ArrayBuffer> }[] {
  return shapesOf(task).map((shape, i) => ({ shape, values: someFloats(shape, i + 1) }));
}

function shapesOf(task: Task): readonly (readonly number[])[] {
  if (task.op === "matmul") {
    const { batch, m, k, n, transA, transB } = task.product;
    return [operandShape(batch, m, k, transA), operandShape(batch, k, n, transB)];
  }
  const row = [task.shape.at(-1)!];
  if (task.op === "layerNorm") return [task.shape, row, row];
  return task.op === "add" || task.op === "mul" ? [task.shape, task.shape] : [task.shape];
}

/** Floating-point operations of a product; elements of anything else. */
export const amountOf = (task: Task): number =>
  task.op === "matmul"
    ? 2 * task.product.batch * task.product.m * task.product.k * task.product.n
    : elements(task.shape);
