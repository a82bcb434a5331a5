import {
  type BufferView,
  collapse,
  type DType,
  type ElementwiseOp,
  expr,
  isContiguous,
  type Loop,
  numel,
  type TypedArray,
} from "@revnet-zero/tensor";
import { scalarKind } from "../../scalar.ts";
import type { Device, Follower, LoadedKernel } from "../device/device.ts";
import { vectorBody, type Written } from "../vector/body.ts";
import { conversion, writeConversion } from "../vector/conversion.ts";
import { emitLoop, LOOP_ALIGN, type Operand, type Pattern } from "../vector/loop.ts";
import { bytesOf, isVectorDType, VECTOR_CODES, type VectorDType, vectorCode } from "../vector/memory.ts";

type View = BufferView<TypedArray>;
// biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
type Op = ElementwiseOp<any>;

interface Compiled {
  readonly kernel: LoadedKernel;
  readonly nanosecondsPerElement: number;
}

const patternCode: { readonly [K in Pattern]: number } = { neighbour: 0, same: 1, step: 2 };

const strides = (views: readonly View[]): (readonly number[])[] => views.map((v) => v.strides);

/** Whether every operand is dense or one repeated element: the common case, told without looking at axes. */
function isFlat(views: readonly View[]): boolean {
  for (const v of views) if (!isContiguous(v) && !isRepeated(v)) return false;
  return true;
}
const isRepeated = ({ strides }: View): boolean => {
  for (const s of strides) if (s !== 0) return false;
  return true;
};
const flatLoop = (views: readonly View[], size: number): Loop => ({
  size,
  strides: views.map((v, k) => (k > 0 && isRepeated(v) ? 0 : 1)),
});

function writeBody(op: Op, attrs: unknown, inputs: readonly Operand[]): Written | undefined {
  const expression = op.body(
    inputs.map((_, i) => expr.argument(i)),
    attrs,
  );
  return vectorBody(
    expression,
    inputs.map(({ dtype }) => scalarKind(dtype)),
  );
}

/** Elementwise ops as vector loops, one compiled for each body, types, rank and pattern of strides. */
export class ElementwiseKernels {
  readonly #device: Device;
  /** Undefined: the body has an op without a vector form. */
  readonly #compiled = new WeakMap<Op, Map<number | string, Compiled | undefined>>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** Runs the op and says true; says false where types or body have no vector form. */
  run(op: Op, attrs: unknown, inputs: readonly View[], output: View): boolean {
    const views = [output, ...inputs];
    for (const v of views) if (!isVectorDType(v.dtype)) return false;
    const size = numel(output.shape);
    if (size === 0) return true;
    const loops = isFlat(views) ? [flatLoop(views, size)] : collapse(output.shape, strides(views));
    const { strides: inner, size: innermost } = loops[loops.length - 1]!;
    // Results are stored as whole vectors.
    if (inner[0] !== 1 && innermost > 1) return false;
    // A single element may lie anywhere: the output's step plays no part.
    const patterns = inner.map((s, k): Pattern => (k === 0 || s === 1 ? "neighbour" : s === 0 ? "same" : "step"));
    const compiled = this.#find(op, attrs, views, patterns, loops.length);
    if (compiled === undefined) return false;
    this.#call(compiled, views, loops, patterns);
    return true;
  }

  /** A unary op on dense float32, as what follows a kernel on `input`, so many elements to each of its units. */
  following(op: ElementwiseOp, input: View, output: View, scale: number): Follower {
    const views = [output, input];
    const compiled = this.#find(op, undefined, views, ["neighbour", "neighbour"], 1);
    if (compiled === undefined) throw new Error(`${op.name} has no vector form`);
    const args = views.map((v) => this.#device.addressOf(v));
    const { kernel, nanosecondsPerElement } = compiled;
    return { kernel, scale, nanosecondsPerUnit: nanosecondsPerElement, args: [...args, numel(output.shape)] };
  }

  #find(
    op: Op,
    attrs: unknown,
    views: readonly View[],
    patterns: readonly Pattern[],
    rank: number,
  ): Compiled | undefined {
    let variants = this.#compiled.get(op);
    if (variants === undefined) {
      variants = new Map();
      this.#compiled.set(op, variants);
    }
    let code = rank;
    for (let k = 0; k < views.length; k++) {
      code = code * 3 * VECTOR_CODES + vectorCode(views[k]!.dtype as VectorDType) * 3 + patternCode[patterns[k]!];
    }
    const key = attrs === undefined ? code : `${code}${JSON.stringify(attrs)}`;
    let found = variants.get(key);
    if (found === undefined && !variants.has(key)) {
      const operands = views.map(({ dtype }, k) => ({ dtype: dtype as VectorDType, pattern: patterns[k]! }));
      found = this.#compile(op, attrs, operands, rank);
      variants.set(key, found);
    }
    return found;
  }

  #compile(op: Op, attrs: unknown, [output, ...inputs]: readonly Operand[], rank: number): Compiled | undefined {
    const written = op === conversion ? writeConversion(inputs[0]!.dtype, output!.dtype) : writeBody(op, attrs, inputs);
    if (written === undefined || written.type !== scalarKind(output!.dtype as DType)) return undefined;
    const { multiply, name } = this.#device.tier;
    // Every function's constants are loaded anew for each round of the loop; more vectors than this leave the registers.
    const width = written.cost >= 20 && written.isJoined && name === "wide" ? 10 : 4;
    const { loop } = this.#device.load(
      (m) =>
        emitLoop(m, multiply, {
          name: "loop",
          output: output!.dtype,
          inputs,
          rank,
          width,
          body: (v, values) => written.write(v, values, new Map()),
        }),
      ["loop"],
    );
    return { kernel: loop, nanosecondsPerElement: 0.1 * (1 + inputs.length) + 0.02 * written.cost };
  }

  #call(compiled: Compiled, views: readonly View[], loops: readonly Loop[], patterns: readonly Pattern[]): void {
    const device = this.#device;
    const { kernel, nanosecondsPerElement } = compiled;
    const args = views.map((v) => device.addressOf(v));
    const { size } = loops[loops.length - 1]!;
    args.push(size);
    const outer = loops.length - 1;
    let rows = 1;
    for (let d = 0; d < outer; d++) {
      rows *= loops[d]!.size;
      if (d > 0) args.push(loops[d]!.size);
    }
    for (let k = 0; k < views.length; k++) {
      const bytes = bytesOf(views[k]!.dtype as VectorDType);
      for (let d = 0; d < outer; d++) args.push(loops[d]!.strides[k]! * bytes);
    }
    for (let k = 0; k < views.length; k++) {
      if (patterns[k] === "step") args.push(loops[outer]!.strides[k]! * bytesOf(views[k]!.dtype as VectorDType));
    }
    if (outer === 0)
      device.run(kernel, { units: size, align: LOOP_ALIGN, nanosecondsPerUnit: nanosecondsPerElement }, ...args);
    else device.run(kernel, { units: rows, nanosecondsPerUnit: size * nanosecondsPerElement }, ...args);
  }
}
