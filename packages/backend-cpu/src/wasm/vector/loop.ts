import { type I32, i32, type Local, type ModuleBuilder, type V128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { bytesOf, gatherVectors, loadSplat, loadVectors, storeSome, storeVectors, type VectorDType } from "./memory.ts";
import { VectorCode, type Vectors } from "./vectors.ts";

/** How an operand moves along the innermost axis: to its neighbour, not at all, or by a step given at run time. */
export type Pattern = "neighbour" | "same" | "step";

export interface Operand {
  readonly dtype: VectorDType;
  readonly pattern: Pattern;
}

export interface LoopSpec {
  readonly name: string;
  /** Written at neighbouring elements. */
  readonly output: VectorDType;
  readonly inputs: readonly Operand[];
  /** Axes, the innermost included. */
  readonly rank: number;
  /** Vectors side by side in the main loop. */
  readonly width: number;
  readonly body: (v: VectorCode, inputs: readonly Vectors[]) => Vectors;
}

/** Elements that parts of a one-axis loop begin at multiples of. */
export const LOOP_ALIGN = 16;

/**
 * An elementwise loop. Parameters: scratch, from, to (elements of a one-axis loop, else rows), the addresses of output and inputs, the
 * innermost size, the sizes of the other axes but the first, and for each operand its steps in bytes (outermost axis first; the innermost
 * only where its pattern is "step").
 */
export function emitLoop(m: ModuleBuilder, multiply: Multiply, spec: LoopSpec): void {
  const operands = [{ dtype: spec.output, pattern: "neighbour" as const }, ...spec.inputs];
  const outer = spec.rank - 1;
  const counts = 3 + operands.length + 1 + Math.max(0, outer - 1) + operands.length * outer;
  const steps = operands.filter((o) => o.pattern === "step").length;
  const parameters = Array.from({ length: counts + steps }, () => "i32" as const);
  m.function(spec.name, parameters, (f, ...locals) => {
    const next = (n: number): Local<"i32">[] => locals.splice(0, n);
    const [, from, to] = next(3) as [Local<"i32">, Local<"i32">, Local<"i32">];
    const bases = next(operands.length);
    const [size] = next(1) as [Local<"i32">];
    const sizes = next(Math.max(0, outer - 1));
    const strides = operands.map(() => next(outer));
    const inner = operands.map(({ dtype, pattern }) =>
      pattern === "step" ? locals.shift()! : i32.const(pattern === "same" ? 0 : bytesOf(dtype)),
    );
    const v = new VectorCode(f, spec.width, multiply);
    const at = f.locals("i32", operands.length);
    if (outer === 0) {
      at.forEach((a, i) => {
        f.set(a, i32.add(bases[i]!, i32.mul(from, inner[i]!)));
      });
      row(v, spec, at, inner, i32.sub(to, from));
      return;
    }
    const [line, rest, index] = f.locals("i32", 3) as [Local<"i32">, Local<"i32">, Local<"i32">];
    f.for(line, from, to, 1, () => {
      at.forEach((a, i) => {
        f.set(a, bases[i]!);
      });
      f.set(rest, line);
      for (let axis = outer - 1; axis >= 0; axis--) {
        if (axis === 0) f.set(index, rest);
        else {
          f.set(index, i32.remU(rest, sizes[axis - 1]!));
          f.set(rest, i32.divU(rest, sizes[axis - 1]!));
        }
        at.forEach((a, i) => {
          f.advance(a, i32.mul(index, strides[i]![axis]!));
        });
      }
      row(v, spec, at, inner, size);
    });
  });
}

/** One run along the innermost axis: several vectors at a time, then one at a time, then the last lanes. */
function row(v: VectorCode, spec: LoopSpec, at: readonly Local<"i32">[], inner: readonly I32[], size: I32): void {
  const { f } = v;
  const left = f.let(size);
  const [out, ...addresses] = at as [Local<"i32">, ...Local<"i32">[]];
  const fixed = spec.inputs.map((o, i) => (o.pattern === "same" ? loadSplat(v, o.dtype, addresses[i]!) : undefined));
  const compute = (w: VectorCode, count?: I32): Vectors => spec.body(w, load(w, spec, addresses, inner, fixed, count));
  const advance = (vectors: number): void => {
    f.advance(out, 4 * vectors * bytesOf(spec.output));
    spec.inputs.forEach(({ dtype, pattern }, i) => {
      if (pattern === "neighbour") f.advance(addresses[i]!, 4 * vectors * bytesOf(dtype));
      if (pattern === "step") f.advance(addresses[i]!, i32.mul(inner[i + 1]!, i32.const(4 * vectors)));
    });
    f.advance(left, -4 * vectors);
  };
  const rounds = (w: VectorCode): void =>
    f.while(i32.geS(left, i32.const(4 * w.width)), () => {
      storeVectors(w, spec.output, out, compute(w));
      advance(w.width);
    });
  rounds(v);
  const single = v.ofWidth(1);
  if (v.width > 1) rounds(single);
  f.if(i32.gtS(left, i32.const(0)), () => storeSome(single, spec.output, out, compute(single, left), left));
}

function load(
  v: VectorCode,
  spec: LoopSpec,
  addresses: readonly Local<"i32">[],
  inner: readonly I32[],
  fixed: readonly (V128 | undefined)[],
  count?: I32,
): Vectors[] {
  return spec.inputs.map(({ dtype, pattern }, i) => {
    const splat = fixed[i];
    if (splat !== undefined) return new Array<V128>(v.width).fill(splat);
    if (pattern === "neighbour") return loadVectors(v, dtype, addresses[i]!);
    return gatherVectors(v, dtype, addresses[i]!, inner[i + 1]!, count);
  });
}
