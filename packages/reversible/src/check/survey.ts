import {
  dtypes,
  foldKey,
  fromWords,
  isFloat,
  type Key,
  numel,
  randomKey,
  randomWord,
  type Shape,
  type Tensor,
  type TypedArray,
  tensor,
} from "@revnet-zero/tensor";
import type { ReversibleSequence } from "../sequence.ts";
import { compareReversible, type ReversibilityReport } from "./check.ts";
import { logDeterminantError } from "./jacobian.ts";
import { withStateKept } from "./state.ts";

export interface SurveyOptions {
  /** Of one stream, [batch, ...]. */
  readonly shape: Shape;
  /** How many inputs are drawn, each kind in turn. Default 12. */
  readonly runs?: number;
  /** The same seed draws the same inputs and keys. Default 0. */
  readonly seed?: number;
  /** What the branches are given after their streams. */
  readonly context?: readonly unknown[];
}

/** What inputs are drawn: of order one, beyond every range, near zero, equal ones, and (in fixed-point modes) any words. */
const drawsOf = {
  ordinary: (unit) => 4 * (unit - 0.5),
  large: (unit) => (unit - 0.5) * 2 ** 12,
  tiny: (unit) => (unit - 0.5) * 2 ** -30,
  zeros: () => 0,
  "powers of two": (unit) => (unit < 0.5 ? -1 : 1) * 2 ** Math.floor(unit * 20 - 10),
} as const satisfies Record<DrawnKind, (unit: number) => number>;

type DrawnKind = "ordinary" | "large" | "tiny" | "zeros" | "powers of two";
export type InputKind = DrawnKind | "any words";

/** One input of a survey. */
export interface SurveyedCase extends ReversibilityReport {
  readonly kind: InputKind;
}

/** What was found over all inputs. Written as text it is a readable report. */
export class ReversibilitySurvey {
  readonly cases: readonly SurveyedCase[];
  /** |log-determinant - numeric one| of one sample; undefined where a step has none, or the sample is too large. */
  readonly logDeterminantError: number | undefined;
  readonly mode: string;

  constructor(mode: string, cases: readonly SurveyedCase[], logError: number | undefined) {
    this.mode = mode;
    this.cases = cases;
    this.logDeterminantError = logError;
  }

  /** Whether every input came back bit for bit and every gradient had the bits of stored backpropagation. */
  get isExact(): boolean {
    return this.cases.every((c) => c.reconstructionBitEqual && c.gradientsBitEqual);
  }
  get reconstructionRelativeError(): number {
    return Math.max(...this.cases.map((c) => c.reconstructionRelativeError));
  }
  get reconstructionUlpError(): number {
    return Math.max(...this.cases.map((c) => c.reconstructionUlpError));
  }
  get gradientRelativeError(): number {
    return Math.max(...this.cases.map((c) => c.gradientRelativeError));
  }
  get elementsCompared(): number {
    return this.cases.reduce((n, c) => n + c.elementsCompared, 0);
  }
  get firstDifference(): string | undefined {
    const odd = this.cases.find((c) => c.firstDifference !== undefined);
    return odd && `${odd.kind} inputs: ${odd.firstDifference}`;
  }

  toString(): string {
    const lines = [`mode ${this.mode}: ${this.isExact ? "exact" : "not exact"} on ${this.cases.length} drawn inputs`];
    const line = (name: string, isEqual: boolean, ...errors: string[]): void => {
      lines.push(`  ${name}: ${isEqual ? "bit-equal" : errors.join(", ")}`);
    };
    line(
      "reconstruction",
      this.cases.every((c) => c.reconstructionBitEqual),
      `relative error up to ${this.reconstructionRelativeError.toExponential(1)}`,
      `${this.reconstructionUlpError} units in the last place`,
    );
    line(
      "gradients",
      this.cases.every((c) => c.gradientsBitEqual),
      `relative error up to ${this.gradientRelativeError.toExponential(1)}`,
    );
    if (this.logDeterminantError !== undefined)
      lines.push(`  log-determinant: off by ${this.logDeterminantError.toExponential(1)}`);
    if (this.firstDifference !== undefined) lines.push(`  first difference: ${this.firstDifference}`);
    return lines.join("\n");
  }
}

/** Elements of a sample up to which its Jacobian is computed. */
const LARGEST_JACOBIAN = 64;

/** Draws inputs of every kind, runs, inverts and differentiates each, and compares with stored backpropagation. */
export async function surveyReversible(
  sequence: ReversibleSequence,
  options: SurveyOptions,
): Promise<ReversibilitySurvey> {
  const { shape, runs = 12, seed = 0, context = [] } = options;
  const kinds = kindsFor(sequence);
  const cases: SurveyedCase[] = [];
  const { engine } = sequence.counts;
  for (let run = 0; run < runs; run++) {
    const kind = kinds[run % kinds.length]!;
    const key = foldKey(randomKey(seed), run);
    const scope = engine.openScope("checkReversible");
    try {
      const inputs = drawStreams(sequence, shape, kind, key);
      const cotangents = drawStreams(sequence, shape, "ordinary", foldKey(key, 1));
      const report = await compareReversible(sequence, inputs, cotangents, { key: foldKey(key, 2), context });
      cases.push({ kind, ...report });
    } finally {
      scope.close();
    }
  }
  return new ReversibilitySurvey(sequence.mode, cases, await logError(sequence, options));
}

const kindsFor = ({ streamDType }: ReversibleSequence): InputKind[] => [
  ...(Object.keys(drawsOf) as DrawnKind[]),
  ...(isFloat(streamDType) ? [] : (["any words"] as const)),
];

async function logError(sequence: ReversibleSequence, options: SurveyOptions): Promise<number | undefined> {
  const { shape, seed = 0, context = [] } = options;
  const one = [1, ...shape.slice(1)];
  const isSmall = numel(one) * sequence.numStreams <= LARGEST_JACOBIAN;
  // A context of a whole batch does not fit one sample of it.
  if (!sequence.hasLogDeterminant || !isSmall || (context.length > 0 && shape[0] !== 1)) return undefined;
  const { engine } = sequence.counts;
  const scope = engine.openScope("checkReversible");
  const { mode } = sequence;
  try {
    const inputs = drawStreams(sequence, one, "ordinary", foldKey(randomKey(seed), 1));
    const key = foldKey(randomKey(seed), 2);
    return await withStateKept(sequence, () => logDeterminantError(sequence, inputs, { key, context }));
  } finally {
    sequence.mode = mode;
    scope.close();
  }
}

/** One tensor a stream: floats, or for `any words` i32 streams. */
function drawStreams(sequence: ReversibleSequence, shape: Shape, kind: InputKind, key: Key): Tensor[] {
  const { engine } = sequence.counts;
  return Array.from({ length: sequence.numStreams }, (_, stream) => {
    const own = foldKey(key, stream);
    if (kind === "any words") {
      const words = new dtypes[sequence.streamDType].array(numel(shape)).map((_, i) => randomWord(own, i));
      return fromWords(words as TypedArray, shape, sequence.streamDType, engine);
    }
    const draw = drawsOf[kind];
    const values = Float32Array.from({ length: numel(shape) }, (_, i) => draw((randomWord(own, i) >>> 0) / 2 ** 32));
    return tensor(values, { shape, engine });
  });
}

/** The part of fast-check that `reversibleProperty` uses: pass the library itself. */
export interface PropertyLibrary<Arbitrary, Property> {
  integer(): Arbitrary;
  asyncProperty(arbitrary: Arbitrary, predicate: (seed: number) => Promise<void>): Property;
}

/**
 * A fast-check property that a sequence is exact on inputs of every kind: `await fc.assert(reversibleProperty(fc,
 * sequence, { shape: [2, 8] }))`. For float modes name the largest relative error of reconstruction and gradients.
 */
export function reversibleProperty<Arbitrary, Property>(
  fc: PropertyLibrary<Arbitrary, Property>,
  sequence: ReversibleSequence,
  { largestError = 0, ...options }: Omit<SurveyOptions, "seed"> & { readonly largestError?: number },
): Property {
  return fc.asyncProperty(fc.integer(), async (seed) => {
    const survey = await surveyReversible(sequence, { runs: 6, ...options, seed });
    const error = Math.max(survey.reconstructionRelativeError, survey.gradientRelativeError);
    if (largestError === 0 ? survey.isExact : error <= largestError) return;
    throw new Error(String(survey));
  });
}
