import { randomWords, type Tensor, ValueError } from "@revnet-zero/tensor";
import { withValue } from "../arithmetic/storedScale.ts";
import { type Branch, checkIncrement, runBranch } from "../branch.ts";
import type { BackwardPass } from "../passes/backwardPass.ts";
import type { ForwardPass } from "../passes/forwardPass.ts";
import type { StoredPass } from "../passes/storedPass.ts";
import type { StreamPass } from "../passes/streamPass.ts";
import { packCodes, unpackCodes } from "../side/pack.ts";
import type { Step, StepMaker } from "./step.ts";

export interface BdiaOptions {
  /** The stream of the block before, which becomes the next. */
  readonly target: number;
  readonly source: number;
  /** h: what an ordinary residual block adds to its stream. */
  readonly branch: Branch;
}

/** What the increment is made of: Q[(1 - γ) x + (1 + γ) h(x)] before rounding, and γ = sign / 2, one a sample. */
interface Update {
  /** i32, 1 or -1, [batch, 1, ...]. */
  readonly signs: Tensor;
  readonly increment: Tensor;
}

/**
 * `streams[target] = γ (streams[target] + s) + Q[(1 - γ) x + (1 + γ) h(x)]` on int32 streams, with x the source, γ = ±1/2 drawn
 * for each sample from the engine's keys, and s the lowest bit of the target, which makes it even: the one bit an element
 * that is remembered. Source: Zhang et al. 2024 (arXiv:2407.09093),
 * the quantised update.
 */
export const bdiaStep =
  ({ target, source, branch }: BdiaOptions): StepMaker =>
  ({ slot, block }) =>
    new BdiaStep(slot(target), slot(source), branch, `h of ${block}`);

class BdiaStep implements Step {
  readonly name: string;
  readonly branches: readonly Branch[];
  readonly remembers = true;
  readonly logDeterminant = "unknown";
  readonly #target: number;
  readonly #source: number;

  constructor(target: number, source: number, branch: Branch, name: string) {
    this.name = name;
    this.branches = [branch];
    this.#target = target;
    this.#source = source;
  }

  forward(pass: ForwardPass): void {
    this.#checkType(pass);
    const { signs, increment } = pass.run(() => this.#update(pass, pass.read(this.#source)));
    const stream = pass.streams[this.#target]!;
    const odd = stream.bitwiseAnd(1);
    pass.memory(this.#target).push(packCodes(odd, 1));
    // (stream + odd) / 2 without leaving 32 bits.
    pass.put(this.#target, stream.shiftRight(1).add(odd).mul(signs));
    stream.dispose();
    pass.add(this.#target, increment, 1);
  }

  inverse(pass: StreamPass): void {
    this.#checkType(pass);
    this.#undo(
      pass,
      pass.run(() => this.#update(pass, pass.read(this.#source))),
    );
  }

  backward(pass: BackwardPass): void {
    const leaf = pass.read(this.#source).requireGrad();
    const update = pass.recompute(() => this.#update(pass, leaf));
    this.#undo(pass, { ...update, increment: update.increment.detach() });
    const cotangent = pass.cotangents[this.#target];
    const gradients = pass.pull([update.increment], [cotangent], [leaf]);
    pass.receive([this.#source], gradients);
    if (cotangent !== undefined) pass.replaceCotangent(this.#target, cotangent.mul(halves(update.signs)));
  }

  record(pass: StoredPass): void {
    this.#checkType(pass);
    const { arithmetic, streams } = pass;
    const before = streams[this.#target]!;
    const { signs, increment } = pass.run(() => this.#update(pass, arithmetic.read(streams[this.#source]!)));
    // In float64, which holds every number that occurs.
    const whole = before.detach().cast("f64");
    const even = whole.div(2).ceil().mul(2);
    const value = even.mul(halves(signs).cast("f64")).cast("i32");
    const halved = withValue(arithmetic.enter(arithmetic.read(before).mul(halves(signs))), value);
    pass.put(this.#target, arithmetic.add(halved, increment, 1));
  }

  #update(pass: Pick<StreamPass, "streams" | "context">, x: Tensor): Update {
    const { engine, shape } = x;
    const perSample = shape.length < 2 ? [] : shape.map((size, axis) => (axis === 0 ? size : 1));
    const words = randomWords(perSample, { key: engine.nextKey("bdia"), engine });
    const signs = words.shiftRight(31).bitwiseOr(1);
    const h = checkIncrement(this.name, runBranch(this.branches[0]!, x, ...pass.context), pass.streams[this.#target]!);
    const gamma = halves(signs);
    const increment = x.mul(gamma.neg().add(1)).add(h.cast("f32").mul(gamma.add(1)));
    return { signs, increment };
  }

  #undo(pass: StreamPass, { signs, increment }: Update): void {
    pass.remove(this.#target, increment, 1);
    const half = pass.streams[this.#target]!;
    const odd = unpackCodes(pass.memory(this.#target).pop(), 1, half.size).reshape(half.shape);
    pass.put(this.#target, half.mul(signs).mul(2).sub(odd));
    half.dispose();
  }

  #checkType({ arithmetic }: { readonly arithmetic: { readonly dtype: string } }): void {
    if (arithmetic.dtype === "i32") return;
    throw new ValueError("bdia", `streams are ${arithmetic.dtype}`, 'use mode "exact", "store" or "checkpoint"');
  }
}

/** γ of signs, f32. */
const halves = (signs: Tensor): Tensor => signs.cast("f32").mul(0.5);
