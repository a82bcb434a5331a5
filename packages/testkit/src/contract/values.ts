import {
  type Backend,
  type DType,
  dtypes,
  type ElementwiseOp,
  Engine,
  expr,
  isFloat,
  type TypedArray,
} from "@revnet-zero/tensor";
import { evaluateBody, isExactBody } from "../body.ts";
import { inFloat, type OperandFacts, operandsOf, type Sample } from "../sample.ts";
import { allowedErrors, firstExcess, position } from "../tolerance.ts";
import { floatLimits, rounded } from "../values.ts";
import { type Outcome, outcome, type Subject } from "./run.ts";

// What an op must compute. Elementwise ops are held to a second reading of their body, with the error bound that the
// reading gives; structural ops to the reference backend in float64, with the reference's own error in the type as
// the yardstick.

export interface Judge {
  readonly reference: Backend;
  /** How many times the yardstick is allowed. */
  readonly factor: number;
  /** Allowed besides, of the value and of the terms it came from. */
  readonly tolerance?: Tolerance;
}

/** Errors that a device's arithmetic makes wherever it rounds: relative ones, and absolute ones near 0. */
export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** What a tolerance adds to the allowed error of a value. */
const more = (tolerance: Tolerance | undefined, size: number): number =>
  tolerance === undefined || !Number.isFinite(size) ? 0 : tolerance.relative * Math.abs(size) + tolerance.absolute;

/** Throws where `actual` is not what the op must give for the sample. */
export async function expectValues(
  judge: Judge,
  subject: Subject,
  sample: Sample,
  actual: Outcome,
  what: string,
): Promise<void> {
  const { op } = subject;
  if (op.kind === "elementwise") {
    await expectBody(judge, op, sample, actual, what);
    return;
  }
  const { sampler } = subject;
  const plain = await outcome(judge.reference, subject, sample);
  expectMetas(actual, plain, what);
  if (sampler.compare === "bits") {
    expectSameOutcome(actual, plain, what);
    return;
  }
  const wide = inFloat(sampler, sample);
  const exact = await outcome(judge.reference, subject, wide);
  const sizes = sampler.isMultilinear ? await outcome(judge.reference, subject, absolute(wide)) : undefined;
  expectOutcome(judge, actual, { plain, exact, sizes, termSize: termSize(subject, sample) }, what);
}

export interface Yardstick {
  /** The reference in the sample's own type. */
  readonly plain: Outcome;
  /** The reference in float64. */
  readonly exact: Outcome;
  /** The op of the absolute values, where that is how large the summed terms were. */
  readonly sizes?: Outcome | undefined;
  /** How large the summed terms may be: results that cancel are as uncertain as what cancelled. */
  readonly termSize: number;
}

/** The largest finite value among the float operands, or what the op makes of it. */
export function termSize({ sampler }: Subject, { operands }: Sample): number {
  const facts = operands.map(({ dtype, shape, values }): OperandFacts => {
    let [largest, least] = [0, Number.POSITIVE_INFINITY];
    for (const v of isFloat(dtype) ? values : []) {
      if (!Number.isFinite(v)) continue;
      largest = Math.max(largest, Math.abs(v));
      least = Math.min(least, Math.abs(v));
    }
    return { shape, largest, least };
  });
  return Math.max(...facts.map((f) => f.largest), sampler.termSize?.(facts) ?? 0, 0);
}

/** In float64 there is no finer type to measure the yardstick in, so this much more of the scale is allowed. */
const extraInDouble = 8;

/** Holds every output to the tolerance rule; integers to the bits of the reference. */
export function expectOutcome(
  { factor, tolerance }: Judge,
  actual: Outcome,
  { plain, exact, sizes, termSize }: Yardstick,
  what: string,
): void {
  actual.values.forEach((values, k) => {
    const { dtype, shape } = actual.metas[k]!;
    if (!isFloat(dtype)) {
      expectSame(values, plain.values[k]!, shape, `${what}, output ${k}`);
      return;
    }
    const extra = dtype === "f64" ? extraInDouble : 1;
    const sized = Float64Array.from(sizes?.values[k] ?? exact.values[k]!, (v) =>
      Number.isFinite(v) ? Math.abs(v) : 0,
    );
    const most = sizes === undefined ? sized.reduce((a, b) => Math.max(a, b), termSize) : 0;
    const scale = sized.map((v) => extra * Math.max(v, most));
    const own = allowedErrors({ exact: exact.values[k]!, naive: plain.values[k]!, scale, dtype, factor });
    const allowed = own.map((v, i) => v + more(tolerance, scale[i]!));
    // Where NaN or an infinity arises may depend on the order of operations: the reference's own answer counts too.
    const likely = plain.values[k]!;
    const judged = Float64Array.from(values, (v, i) => (Object.is(v, likely[i]) ? exact.values[k]![i]! : v));
    const excess = firstExcess(judged, exact.values[k]!, allowed, dtype, shape);
    if (excess !== undefined) throw new Error(`${what}, output ${k}: ${excess}`);
  });
}

const absolute = (sample: Sample): Sample => ({
  attrs: sample.attrs,
  operands: sample.operands.map((o) => (isFloat(o.dtype) ? { ...o, values: o.values.map(Math.abs) } : o)),
});

export function expectMetas(actual: Outcome, expected: Outcome, what: string): void {
  const name = ({ metas }: Outcome): string => metas.map((m) => `[${m.shape.join(", ")}] ${m.dtype}`).join("; ");
  if (name(actual) !== name(expected))
    throw new Error(`${what}: outputs are ${name(actual)}, expected ${name(expected)}`);
}

/** Same numbers, zeros of the same sign, NaN where NaN is. */
export function expectSame(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  shape: readonly number[],
  what: string,
): void {
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i])) continue;
    throw new Error(`${what}: element ${position(i, shape)} is ${show(actual[i])}, expected ${show(expected[i])}`);
  }
}

/** The same for every output of a call. */
export function expectSameOutcome(actual: Outcome, expected: Outcome, what: string): void {
  for (const [k, values] of expected.values.entries()) {
    expectSame(actual.values[k]!, values, expected.metas[k]!.shape, `${what}, output ${k}`);
  }
}

const show = (v: number | undefined): string => (Object.is(v, -0) ? "-0" : String(v));

/** The type in which a backend computes: 16-bit floats are computed in f32 and rounded at the end. */
const computedIn = (d: DType): number => floatLimits[d === "f64" ? "f64" : "f32"]!.unit;

async function expectBody(
  { factor, reference, tolerance }: Judge,
  op: ElementwiseOp<never>,
  sample: Sample,
  actual: Outcome,
  what: string,
): Promise<void> {
  const { shape, dtype } = actual.metas[0]!;
  const columns = await logical(reference, sample, shape);
  const types = sample.operands.map((o) => dtypes[o.dtype].kind);
  const body = op.body(
    types.map((_, i) => expr.argument(i)),
    sample.attrs as never,
  );
  const unit = computedIn(isFloat(dtype) ? dtype : (sample.operands.find((o) => isFloat(o.dtype))?.dtype ?? "f32"));
  const isExact = !isFloat(dtype) || isExactBody(body, types);
  const wrapped = new dtypes[dtype].array(1);
  actual.values[0]!.forEach((got, i) => {
    const args = columns.map((c) => c[i]!);
    const { value, error } = evaluateBody(body, args, types, unit);
    const want = stored(value, dtype, wrapped);
    if (got === want || (Number.isNaN(got) && Number.isNaN(want))) return;
    const limits = floatLimits[dtype];
    const mustBeExact = limits === undefined || (isExact && tolerance === undefined);
    const allowed = mustBeExact
      ? 0
      : factor * error + limits.unit * Math.abs(value) + limits.smallest + more(tolerance, value);
    const excess = mustBeExact
      ? `is ${show(got)}, expected exactly ${show(want)}`
      : firstExcess([got], [value], [allowed], dtype)?.replace("element 0 ", "");
    if (excess === undefined) return;
    throw new Error(`${what}: element ${position(i, shape)} ${excess}, of (${args.map(show).join(", ")})`);
  });
}

/** What the output type makes of a body's value: floats are rounded, integers wrap. */
function stored(value: number, dtype: DType, word: TypedArray): number {
  if (isFloat(dtype)) return rounded(value, dtype);
  if (dtype === "bool") return value ? 1 : 0;
  word[0] = value;
  return word[0]!;
}

/** The operands' values broadcast to the output's shape. */
async function logical(reference: Backend, sample: Sample, shape: readonly number[]): Promise<ArrayLike<number>[]> {
  const engine = new Engine(reference);
  const expanded = engine.scope(() => operandsOf(engine, sample).map((t) => t.expand(shape)));
  const columns = await Promise.all(expanded.map((t) => t.data()));
  for (const t of expanded) t.dispose();
  return columns;
}
