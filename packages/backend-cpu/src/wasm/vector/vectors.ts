import {
  type FunctionBuilder,
  f32x4,
  f64x2,
  type I32,
  i32,
  i32x4,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";

/** Several vectors that go through the same instructions side by side: V8 joins neighbours to 256 bits. */
export type Vectors = readonly V128[];

/** Writes arithmetic on vectors into a function; every result is a local, constants are set before the loop. */
export class VectorCode {
  readonly f: FunctionBuilder;
  readonly width: number;
  readonly multiply: Multiply;
  /** Address of 256 bytes to put vectors in for a moment. */
  readonly spill: I32 | undefined;
  readonly #constants: Map<string, Local<"v128">>;

  constructor(
    f: FunctionBuilder,
    width: number,
    multiply: Multiply,
    spill?: I32,
    constants: Map<string, Local<"v128">> = new Map(),
  ) {
    this.f = f;
    this.width = width;
    this.multiply = multiply;
    this.spill = spill;
    this.#constants = constants;
  }

  /** Another number of vectors in the same function, with the same constants. */
  ofWidth(width: number): VectorCode {
    return new VectorCode(this.f, width, this.multiply, this.spill, this.#constants);
  }

  map(make: (i: number) => V128): readonly Local<"v128">[] {
    return Array.from({ length: this.width }, (_, i) => this.f.let(make(i)));
  }
  float(x: number): Vectors {
    return this.#constant(`f${Object.is(x, -0) ? "-0" : x}`, () => f32x4.const(x));
  }
  /** Two doubles a vector. */
  double(x: number): Vectors {
    return this.#constant(`d${Object.is(x, -0) ? "-0" : x}`, () => f64x2.const(x));
  }
  int(n: number): Vectors {
    return this.#constant(`i${n}`, () => i32x4.const(n));
  }
  #constant(key: string, value: () => V128): Vectors {
    let local = this.#constants.get(key);
    if (local === undefined) {
      local = this.f.hoist(value());
      this.#constants.set(key, local);
    }
    return new Array<V128>(this.width).fill(local);
  }

  unary(op: (a: V128) => V128, a: Vectors): Vectors {
    return this.map((i) => op(a[i]!));
  }
  binary(op: (a: V128, b: V128) => V128, a: Vectors, b: Vectors): Vectors {
    return this.map((i) => op(a[i]!, b[i]!));
  }

  add(a: Vectors, b: Vectors): Vectors {
    return this.binary(f32x4.add, a, b);
  }
  sub(a: Vectors, b: Vectors): Vectors {
    return this.binary(f32x4.sub, a, b);
  }
  mul(a: Vectors, b: Vectors): Vectors {
    return this.binary(f32x4.mul, a, b);
  }
  div(a: Vectors, b: Vectors): Vectors {
    return this.binary(f32x4.div, a, b);
  }
  /** a·b + c, fused where the tier has it: for approximations alone, never for what a user wrote. */
  madd(a: Vectors, b: Vectors, c: Vectors): Vectors {
    return this.map((i) => this.multiply.add(a[i]!, b[i]!, c[i]!));
  }
  /** c - a·b */
  nmadd(a: Vectors, b: Vectors, c: Vectors): Vectors {
    return this.map((i) => this.multiply.subtractFrom(a[i]!, b[i]!, c[i]!));
  }
  /** Highest power first. */
  polynomial(x: Vectors, coefficients: readonly number[]): Vectors {
    return coefficients.slice(1).reduce((p, c) => this.madd(p, x, this.float(c)), this.float(coefficients[0]!));
  }
  /** Between the bounds; NaN stays NaN. */
  clamp(x: Vectors, low: number, high: number): Vectors {
    return this.binary(f32x4.pmax, this.binary(f32x4.pmin, x, this.float(high)), this.float(low));
  }
  select(mask: Vectors, a: Vectors, b: Vectors): Vectors {
    return this.map((i) => v128.bitSelect(a[i]!, b[i]!, mask[i]!));
  }
  shift(op: (a: V128, by: ReturnType<typeof i32.const>) => V128, a: Vectors, by: number): Vectors {
    return this.map((i) => op(a[i]!, i32.const(by)));
  }
}
