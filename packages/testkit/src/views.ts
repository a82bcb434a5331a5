import {
  type DType,
  dtypes,
  type Engine,
  fromWords,
  numel,
  type Shape,
  type Tensor,
  toWords,
} from "@revnet-zero/tensor";
import fc from "fast-check";

/** How a tensor's elements lie in memory, axis by axis of the tensor. */
export interface ViewRecipe {
  /** Axes from the slowest in memory to the fastest. */
  readonly order: readonly number[];
  readonly isFlipped: readonly boolean[];
  /** Foreign elements before and after, cut away by a slice. */
  readonly margins: readonly (readonly [number, number])[];
  /** Stored once and expanded. */
  readonly isRepeated: readonly boolean[];
}

export const contiguousView = (rank: number): ViewRecipe => ({
  order: Array.from({ length: rank }, (_, d) => d),
  isFlipped: new Array(rank).fill(false),
  margins: new Array(rank).fill([0, 0]),
  isRepeated: new Array(rank).fill(false),
});

const perAxis = <T>(rank: number, value: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(value, { minLength: rank, maxLength: rank });
const rarely = fc.integer({ min: 0, max: 3 }).map((n) => n === 3);

export interface ViewOptions {
  /** Views that show one stored element several times. */
  readonly allowsRepeated?: boolean;
}

/** Transposed, flipped, sliced and expanded views, alone and together; contiguous ones too. */
export function views(rank: number, { allowsRepeated = true }: ViewOptions = {}): fc.Arbitrary<ViewRecipe> {
  const margin = fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 1 }));
  const plain = contiguousView(rank);
  const strided = fc.record({
    order: fc.shuffledSubarray([...plain.order], { minLength: rank, maxLength: rank }),
    isFlipped: perAxis(rank, rarely),
    margins: perAxis(rank, fc.oneof(fc.constant([0, 0] as const), margin)),
    isRepeated: allowsRepeated ? perAxis(rank, rarely) : fc.constant(plain.isRepeated),
  });
  return fc.oneof({ weight: 2, arbitrary: fc.constant(plain) }, { weight: 3, arbitrary: strided });
}

/** The shape of what is stored: 1 along repeated axes. */
export const storedShape = (shape: Shape, { isRepeated }: ViewRecipe): Shape =>
  shape.map((s, d) => (isRepeated[d] && s > 0 ? 1 : s));

/** Foreign elements: NaN, or the largest integer, so that a kernel that reads past its view shows. */
const foreign = (dtype: DType): number => dtypes[dtype].range?.[1] ?? Number.NaN;

/** A tensor that shows `values` (row-major, of `storedShape`) through the recipe's view. */
export function layOut(
  engine: Engine,
  shape: Shape,
  dtype: DType,
  values: ArrayLike<number>,
  recipe: ViewRecipe,
): Tensor {
  const { order, isFlipped, margins, isRepeated } = recipe;
  const sizes = storedShape(shape, recipe);
  const memory = order.map((a) => margins[a]![0] + sizes[a]! + margins[a]![1]);
  const words = new Float64Array(numel(memory)).fill(foreign(dtype));
  const index = new Array<number>(shape.length).fill(0);
  for (let i = 0; i < values.length; i++) {
    let at = 0;
    order.forEach((a, j) => {
      const place = isFlipped[a] ? sizes[a]! - 1 - index[a]! : index[a]!;
      at = at * memory[j]! + margins[a]![0] + place;
    });
    words[at] = values[i]!;
    for (let d = shape.length - 1; d >= 0 && ++index[d]! === sizes[d]; d--) index[d] = 0;
  }
  return engine.scope(() => {
    let t = fromWords(toWords(words, dtype), memory, dtype, engine);
    if (margins.some(([a, b]) => a + b > 0)) {
      t = t.slice(
        order.map((a) => margins[a]![0]),
        order.map((a) => sizes[a]!),
      );
    }
    if (order.some((a, j) => a !== j)) t = t.permute(order.map((_, a) => order.indexOf(a)));
    const flips = isFlipped.flatMap((f, d) => (f ? [d] : []));
    if (flips.length > 0) t = t.flip(flips);
    return isRepeated.some((r) => r) ? t.expand(shape) : t;
  });
}
