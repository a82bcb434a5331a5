import type { Shape } from "./shape.ts";

// Optional literal shapes: `Tensor<[2, 3]>`. Wherever a size is not a literal the result is the plain Shape. A clash is
// a ShapeMismatch as the result's shape: its message shows in the editor, and no literal shape accepts it.

/** An error as a shape. */
export interface ShapeMismatch<Message extends string> extends ReadonlyArray<number> {
  readonly shapeMismatch: Message;
}

/** True for one literal; not for `number`, nor for a union, of which only the run knows which it is. */
type IsOne<N extends number, All = N> = number extends N
  ? false
  : N extends unknown
    ? [All] extends [N]
      ? true
      : false
    : never;

/** True for tuples of literal sizes. */
export type IsLiteral<S extends Shape> =
  IsOne<S["length"]> extends true
    ? S extends readonly [infer H extends number, ...infer R extends Shape]
      ? IsOne<H> extends true
        ? IsLiteral<R>
        : false
      : true
    : false;

type Reverse<S extends Shape> = S extends readonly [infer H extends number, ...infer T extends Shape]
  ? [...Reverse<T>, H]
  : [];

type BroadcastReversed<A extends Shape, B extends Shape> = A extends readonly [
  infer X extends number,
  ...infer XS extends Shape,
]
  ? B extends readonly [infer Y extends number, ...infer YS extends Shape]
    ? X extends Y
      ? [X, ...BroadcastReversed<XS, YS>]
      : X extends 1
        ? [Y, ...BroadcastReversed<XS, YS>]
        : Y extends 1
          ? [X, ...BroadcastReversed<XS, YS>]
          : never
    : A
  : B;

/** NumPy broadcasting of literal shapes; Shape where a size is unknown. */
export type Broadcast<A extends Shape, B extends Shape> =
  IsLiteral<A> extends true
    ? IsLiteral<B> extends true
      ? HasNever<BroadcastReversed<Reverse<A>, Reverse<B>>> extends true
        ? ShapeMismatch<`cannot broadcast [${Join<A>}] with [${Join<B>}]`>
        : Reverse<Extract<BroadcastReversed<Reverse<A>, Reverse<B>>, Shape>>
      : Shape
    : Shape;

type HasNever<T> = [T] extends [never]
  ? true
  : T extends readonly [infer H, ...infer R]
    ? [H] extends [never]
      ? true
      : HasNever<R>
    : false;

/** `[m, k] x [k, n]` of literal matrices; Shape for anything else. */
export type MatmulShape<A extends Shape, B extends Shape> =
  IsLiteral<A> extends true
    ? IsLiteral<B> extends true
      ? A extends readonly [infer M extends number, infer K extends number]
        ? B extends readonly [infer K2 extends number, infer N extends number]
          ? K extends K2
            ? [M, N]
            : ShapeMismatch<`inner sizes differ: [${Join<A>}] x [${Join<B>}]`>
          : Shape
        : Shape
      : Shape
    : Shape;

/** The shape a reshape was asked for; the size that -1 stands for is known at run time only. */
export type ReshapeShape<T extends Shape> = { [K in keyof T]: T[K] extends -1 ? number : T[K] };

/** `2, 3` for `[2, 3]`. */
type Join<S extends Shape> = S extends readonly [infer H extends number, ...infer R extends Shape]
  ? R["length"] extends 0
    ? `${H}`
    : `${H}, ${Join<R>}`
  : "";
