import type { DType } from "../dtype.ts";
import { isFloat, isInteger } from "../dtype.ts";
import { DTypeError, describeAll } from "../errors.ts";
import { differentiate } from "../expr/differentiate.ts";
import { argument, argumentsOf, type Expr, mul, substitute } from "../expr/expr.ts";
import { type ElementwiseOp, elementwise, type Gradient, type Meta } from "../op.ts";
import { broadcastShapes, type Shape } from "../shape.ts";
import { dispatch } from "../tensor/dispatch.ts";
import type { Tensor } from "../tensor/tensor.ts";

// Elementwise ops say their body; their shape rule, what they save and their gradients follow from it.

export const broadcastAll = (name: string, inputs: readonly Meta[]): Shape =>
  inputs.reduce<Shape>((shape, x) => broadcastShapes(name, shape, x.shape), []);

/** All operands of one dtype, which is also the result's. */
export const sameDType =
  (name: string, only?: "float" | "int" | "bool") =>
  (inputs: readonly Meta[]): readonly Meta[] => {
    const { dtype } = inputs[0]!;
    if (inputs.some((x) => x.dtype !== dtype)) {
      throw new DTypeError(name, `operands differ in dtype: ${describeAll(inputs)}`, 'cast one of them: x.cast("f32")');
    }
    if (only === "float" && !isFloat(dtype)) {
      throw new DTypeError(
        name,
        `needs a floating-point tensor, got ${describeAll(inputs)}`,
        'cast it first: x.cast("f32")',
      );
    }
    if (only === "int" && (isFloat(dtype) || dtype === "bool")) {
      throw new DTypeError(name, `needs integer tensors, got ${describeAll(inputs)}`, 'cast them first: x.cast("i32")');
    }
    if (only === "bool" && dtype !== "bool") {
      throw new DTypeError(name, `needs bool tensors, got ${describeAll(inputs)}`, "compare first: x.notEqual(0)");
    }
    return [{ shape: broadcastAll(name, inputs), dtype }];
  };

/** Operands of one dtype, a truth value out. */
export const toBool =
  (name: string) =>
  (inputs: readonly Meta[]): readonly Meta[] => {
    sameDType(name)(inputs);
    return [{ shape: broadcastAll(name, inputs), dtype: "bool" }];
  };

type Written<A> = Omit<ElementwiseOp<A>, "kind" | "gradient">;

/** The derivative ops of one op, made when first needed: one fused body each, and differentiable in their turn. */
class Derivatives<A> {
  readonly #op: Written<A>;
  readonly #made = new Map<string, { readonly used: readonly number[]; readonly op: ElementwiseOp; partial: Expr }>();

  constructor(op: Written<A>) {
    this.#op = op;
  }

  by(
    index: number,
    arity: number,
    attrs: A,
  ): { readonly used: readonly number[]; readonly op: ElementwiseOp; readonly partial: Expr } {
    const key = `${index}${attrs === undefined ? "" : JSON.stringify(attrs)}`;
    let made = this.#made.get(key);
    if (made === undefined) {
      const args = Array.from({ length: arity }, (_, i) => argument(i));
      const partial = differentiate(this.#op.body(args, attrs), index);
      made = chainOp(`${this.#op.name}Grad${key}`, partial, arity);
      this.#made.set(key, made);
    }
    return made;
  }
}

/** The op `gradient * partial`, of the partial's own arguments followed by the gradient. */
function chainOp(name: string, partial: Expr, arity: number): { used: number[]; op: ElementwiseOp; partial: Expr } {
  const used = argumentsOf(partial);
  const position = Array.from({ length: arity }, (_, i) => argument(Math.max(0, used.indexOf(i))));
  const moved = substitute(partial, position);
  const op: ElementwiseOp = smooth({
    name,
    arity: used.length + 1,
    doc: "generated derivative",
    meta: (inputs) => [{ shape: broadcastAll(name, inputs), dtype: inputs[inputs.length - 1]!.dtype }],
    body: () => mul(argument(used.length), moved),
  });
  return { used, op, partial };
}

const isOne = (e: Expr): boolean => e.kind === "constant" && e.value === 1;
const isZero = (e: Expr): boolean => e.kind === "constant" && e.value === 0;

/** An elementwise op whose gradients are the derivatives of its body; saves exactly the inputs those read. */
export function smooth<A = undefined>(op: Written<A>): ElementwiseOp<A> {
  const derivatives = new Derivatives(op);
  const gradient: Gradient<A> = {
    saves: (inputs, attrs) => {
      const used = inputs.flatMap((x, i) =>
        isDifferentiable(x.dtype) ? derivatives.by(i, inputs.length, attrs).used : [],
      );
      return { inputs: [...new Set(used)].sort((a, b) => a - b) };
    },
    vjp: (context, attrs) =>
      context.needs.map((isNeeded, i) => {
        if (!isNeeded) return undefined;
        const { used, op: chain, partial } = derivatives.by(i, context.inputs.length, attrs);
        if (isZero(partial)) return undefined;
        if (isOne(partial)) return context.gradient;
        // An integer operand (a stream's whole coefficient) is a number to the float gradient, not a word.
        const operand = (u: number): Tensor => {
          const x = context.input(u);
          return isInteger(x.dtype) ? x.cast(context.gradient.dtype) : x;
        };
        return context.gradient.apply(chain, [...used.map(operand), context.gradient], undefined);
      }),
  };
  const made = elementwise<A>({ ...op, gradient });
  derivativesOf.set(made, derivatives);
  return made;
}

// biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
const derivativesOf = new WeakMap<ElementwiseOp<any>, Derivatives<any>>();

/** Integers take part as fixed-point streams (their sum has a gradient); truth values never do. */
const isDifferentiable = (d: DType): boolean => d !== "bool";

/** A unary op whose derivative is a function of its own output, which is then all that is saved. */
export function smoothByOutput(op: Written<undefined>, partial: (y: Expr) => Expr): ElementwiseOp {
  const chain = chainOp(`${op.name}Grad`, partial(argument(0)), 1).op;
  return elementwise({
    ...op,
    gradient: {
      saves: () => ({ outputs: [0] }),
      vjp: (context) => [context.gradient.apply(chain, [context.output(0), context.gradient], undefined)],
    },
  });
}

/** An elementwise op without a gradient: comparisons, rounding, bits. */
export function flat<A = undefined>(op: Written<A>): ElementwiseOp<A> {
  return elementwise<A>({ ...op, gradient: "none" });
}

/** The op (x, g) -> g · op'(x), for fused ops that begin or end with an elementwise one: the derivative is the one its body gives. */
export function derivativeOf(op: ElementwiseOp): ElementwiseOp {
  const derivative = derivativesOf.get(op)?.by(0, 1, undefined);
  if (derivative?.used.length !== 1) throw new Error(`${op.name} has no derivative body of its argument`);
  return derivative.op;
}

/** g · op'(x). */
export const pullUnary = (op: ElementwiseOp, x: Tensor, g: Tensor): Tensor =>
  g.apply(derivativeOf(op), [x, g], undefined);

/** The same written over g, which the caller gives up, where nobody else holds it. */
export function pullUnaryInto(op: ElementwiseOp, x: Tensor, g: Tensor): Tensor {
  const [by] = dispatch(g.engine, derivativeOf(op), [x, g], undefined, { donates: 1 });
  g.dispose();
  return by!;
}
