import { defaultEngine } from "../defaultEngine.ts";
import { checkDType, type DType, dtypes, isFloat, type TypedArray } from "../dtype.ts";
import type { Engine } from "../engine.ts";
import { DTypeError, ShapeError, ValueError } from "../errors.ts";
import { toBf16, toF16 } from "../float16.ts";
import { contiguous } from "../layout.ts";
import { greatestBelow, leastFrom } from "../neighbours.ts";
import { fill } from "../ops/copy.ts";
import { bitsToNormal, bitsToUniform, randomBits } from "../ops/random.ts";
import { foldKey, type Key } from "../rng.ts";
import { checkShape, numel, type Shape } from "../shape.ts";
import { dispatch } from "./dispatch.ts";
import { makeTensor } from "./link.ts";
import type { Tensor } from "./tensor.ts";

export interface CreateOptions {
  readonly dtype?: DType;
  /** Default: the default engine. */
  readonly engine?: Engine;
}

/** Nested arrays of numbers, one level an axis. */
export type Nested = number | boolean | readonly Nested[];

/**
 * A tensor from host values: nested arrays (their nesting is the shape), or a flat array with `shape`. Typed arrays
 * keep their type; other values are f32 (or `dtype`).
 */
export function tensor<const T extends Shape = Shape>(
  values: Nested | ArrayLike<number>,
  options: CreateOptions & { readonly shape?: T } = {},
): Tensor<T> {
  const dtype = checkDType("tensor", options.dtype ?? typeOf(values));
  const { flat, shape: nesting } = flatten(values);
  const shape = options.shape ?? nesting;
  checkShape("tensor", shape);
  if (flat.length !== numel(shape)) {
    throw new ShapeError(
      "tensor",
      `${flat.length} values do not fill [${shape.join(", ")}]`,
      `give ${numel(shape)} values, or another shape`,
    );
  }
  return fromWords(toWords(flat, dtype), shape, dtype, options.engine) as Tensor<T>;
}

/** A tensor from raw words (bf16 and f16 as 16-bit patterns): what checkpoints hold. The words are copied. */
export function fromWords(words: TypedArray, shape: Shape, dtype: DType, engine: Engine = defaultEngine()): Tensor {
  const { array } = dtypes[checkDType("fromWords", dtype)];
  checkShape("fromWords", shape);
  if (!(words instanceof array)) {
    throw new DTypeError(
      "fromWords",
      `words of ${dtype} lie in ${array.name}, got ${(words as object).constructor.name}`,
      "toWords(values, dtype) converts numbers",
    );
  }
  if (words.length !== numel(shape)) {
    throw new ShapeError(
      "fromWords",
      `${words.length} words do not fill [${shape.join(", ")}]`,
      `give ${numel(shape)} words, or another shape`,
    );
  }
  const storage = engine.allocate({ shape, dtype });
  try {
    engine.backend.write(storage.data, words);
  } catch (error) {
    storage.release();
    throw error;
  }
  return makeTensor({ engine, storage, layout: contiguous(shape), dtype });
}

/**
 * A tensor of numbers that the host has anew at every run of this code: `make` is called now, and where the code is recorded (`compile`),
 * at every call of the recording, before its work. A learning rate and its like.
 *
 * @throws ShapeError where `make` gives another count of numbers.
 */
export function hostValues(
  make: () => ArrayLike<number>,
  { shape, dtype = "f32", engine = defaultEngine() }: CreateOptions & { readonly shape: Shape },
): Tensor {
  const words = (): TypedArray => {
    const values = make();
    if (values.length === numel(shape)) return toWords(values, dtype);
    throw new ShapeError(
      "hostValues",
      `${values.length} values do not fill [${shape.join(", ")}]`,
      `make ${numel(shape)} values at every call`,
    );
  };
  const t = fromWords(words(), shape, dtype, engine);
  engine.noteHostValues(t.storage.data, words);
  return t;
}

/** Host numbers as the words of a dtype, rounding to nearest even; integers saturate, NaN becomes 0. */
export function toWords(values: ArrayLike<number>, dtype: DType): TypedArray {
  const { array } = dtypes[dtype];
  const isPattern = dtype === "bf16" || dtype === "f16" || dtype === "bool";
  if (!isPattern && values instanceof array) return values.slice();
  const out = new array(values.length);
  const convert = converter(dtype);
  for (let i = 0; i < values.length; i++) out[i] = convert(values[i]!);
  return out;
}

function converter(dtype: DType): (v: number) => number {
  if (dtype === "bf16") return toBf16;
  if (dtype === "f16") return toF16;
  if (dtype === "bool") return (v) => (v !== 0 ? 1 : 0);
  const { range } = dtypes[dtype];
  return range === undefined ? (v) => v : (v) => Math.trunc(Math.min(Math.max(v, range[0]), range[1])) || 0;
}

const arrayTypes: readonly (readonly [new (n: number) => TypedArray, DType])[] = [
  [Float32Array, "f32"],
  [Float64Array, "f64"],
  [Int32Array, "i32"],
  [Int16Array, "i16"],
  [Int8Array, "i8"],
  [Uint8Array, "u8"],
];

function typeOf(values: unknown): DType {
  for (const [array, dtype] of arrayTypes) if (values instanceof array) return dtype;
  let first = values;
  while (Array.isArray(first) && first.length > 0) first = first[0];
  return typeof first === "boolean" ? "bool" : "f32";
}

function flatten(values: Nested | ArrayLike<number>): { flat: ArrayLike<number>; shape: number[] } {
  if (typeof values === "number" || typeof values === "boolean") return { flat: [Number(values)], shape: [] };
  if (typeof (values as Partial<ArrayLike<number>> | null)?.length !== "number" || typeof values === "string")
    throw noNumber(values);
  if (!Array.isArray(values) && values.length > 0 && typeof values[0] !== "number") throw noNumber(values[0]);
  if (!Array.isArray(values)) return { flat: values as ArrayLike<number>, shape: [values.length] };
  const shape: number[] = [];
  for (let level: unknown = values; Array.isArray(level); level = level[0]) shape.push(level.length);
  const flat: number[] = [];
  const visit = (v: Nested, depth: number): void => {
    if (!Array.isArray(v)) {
      if (typeof v !== "number" && typeof v !== "boolean") throw noNumber(v);
      if (depth !== shape.length) throw ragged(shape, depth);
      flat.push(Number(v));
      return;
    }
    if (v.length !== shape[depth]) throw ragged(shape, depth);
    for (const x of v) visit(x, depth + 1);
  };
  visit(values as readonly Nested[], 0);
  return { flat, shape };
}

function noNumber(v: unknown): DTypeError {
  const what = typeof v === "object" && v !== null ? (v.constructor?.name ?? "object") : String(v);
  return new DTypeError(
    "tensor",
    `got ${typeof v === "object" ? what : `${typeof v} ${what}`} where numbers should be`,
    "give numbers, truth values, nested arrays of them, or one typed array with { shape }",
  );
}

const ragged = (shape: Shape, depth: number): ShapeError =>
  new ShapeError(
    "tensor",
    `nested arrays are ragged at depth ${depth}: expected [${shape.join(", ")}]`,
    "every row of an axis must have one length",
  );

/** A tensor of one value. */
export function full(
  shape: Shape,
  value: number,
  { dtype = "f32", engine = defaultEngine() }: CreateOptions = {},
): Tensor {
  return dispatch(engine, fill, [], { shape, value, dtype })[0]!;
}
/** A tensor of whatever its memory held: for who writes all of it. */
export function uninitialised(shape: Shape, { dtype = "f32", engine = defaultEngine() }: CreateOptions = {}): Tensor {
  checkShape("uninitialised", shape);
  const storage = engine.allocate({ shape, dtype: checkDType("uninitialised", dtype) });
  return makeTensor({ engine, storage, layout: contiguous(shape), dtype });
}
export const zeros = (shape: Shape, options?: CreateOptions): Tensor => full(shape, 0, options);
export const ones = (shape: Shape, options?: CreateOptions): Tensor => full(shape, 1, options);

/** start, start + step, ... : n numbers. */
export function arange(
  n: number,
  {
    dtype = "i32",
    engine,
    start = 0,
    step = 1,
  }: CreateOptions & { readonly start?: number; readonly step?: number } = {},
): Tensor {
  if (!Number.isInteger(n) || n < 0) throw new ValueError("arange", `the count is ${n}`, "use a non-negative integer");
  checkDType("arange", dtype);
  // A loop: attention asks for its places in every layer, and a callback an element is ten times as slow.
  const values = new Float64Array(n);
  for (let i = 0; i < n; i++) values[i] = start + i * step;
  return fromWords(toWords(values, dtype), [n], dtype, engine);
}

export interface RandomOptions extends CreateOptions {
  readonly key: Key;
}

function checkRandomDType(dtype: DType): void {
  if (!isFloat(checkDType("random", dtype)))
    throw new ValueError("random", `dtype is ${dtype}`, "random numbers are floats; use randomWords for integers");
}

/** Uniform in [low, high), 24 random bits each; the same on every backend up to the scaling's rounding. */
export function randomUniform(
  shape: Shape,
  {
    key,
    dtype = "f32",
    engine = defaultEngine(),
    low = 0,
    high = 1,
  }: RandomOptions & { readonly low?: number; readonly high?: number },
): Tensor {
  checkRandomDType(dtype);
  const [least, greatest] = [leastFrom(low, dtype), greatestBelow(high, dtype)];
  const isHeld = (v: number): boolean => Number.isFinite(leastFrom(v, dtype) - greatestBelow(v, dtype));
  if (!(least <= greatest && isHeld(low) && isHeld(high) && Number.isFinite(Math.fround(high - low)))) {
    throw new ValueError(
      "random",
      `cannot draw ${dtype} from [${low}, ${high})`,
      "use low < high, both in the dtype's range, with a number of the dtype between them",
    );
  }
  return engine.scope(() => {
    const [bits] = dispatch(engine, randomBits, [], { shape, key });
    const [unit] = dispatch(engine, bitsToUniform, [bits!], undefined);
    const isUnit = low === 0 && high === 1;
    const scaled = (isUnit ? unit! : unit!.mul(high - low).add(low)).cast(dtype);
    // Rounding may reach high, or the float below low: one bf16 in 512 would be 1.
    const isInside = isUnit && (dtype === "f32" || dtype === "f64");
    return isInside ? scaled : scaled.maximum(least).minimum(greatest);
  });
}

/** Normal with the given mean and standard deviation (Box-Muller). */
export function randomNormal(
  shape: Shape,
  {
    key,
    dtype = "f32",
    engine = defaultEngine(),
    mean = 0,
    std = 1,
  }: RandomOptions & { readonly mean?: number; readonly std?: number },
): Tensor {
  checkRandomDType(dtype);
  if (!Number.isFinite(mean) || !(std >= 0 && std < Number.POSITIVE_INFINITY))
    throw new ValueError(
      "random",
      `mean is ${mean}, std is ${std}`,
      "use a finite mean and a finite std of at least 0",
    );
  return engine.scope(() => {
    const [a] = dispatch(engine, randomBits, [], { shape, key: foldKey(key, 0) });
    const [b] = dispatch(engine, randomBits, [], { shape, key: foldKey(key, 1) });
    const [unit] = dispatch(engine, bitsToNormal, [a!, b!], undefined);
    const scaled = mean === 0 && std === 1 ? unit! : unit!.mul(std).add(mean);
    return scaled.cast(dtype);
  });
}

/** Random 32-bit words (i32). */
export function randomWords(shape: Shape, { key, engine = defaultEngine() }: Omit<RandomOptions, "dtype">): Tensor {
  return dispatch(engine, randomBits, [], { shape, key })[0]!;
}
