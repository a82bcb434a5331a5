import { normalise, PreNormBranch } from "@revnet-zero/nn";
import { type Tensor, ValueError } from "@revnet-zero/tensor";
import { type Branch, checkIncrement, runBranch } from "../branch.ts";
import type { BackwardPass } from "../passes/backwardPass.ts";
import type { ForwardPass } from "../passes/forwardPass.ts";
import type { StoredPass } from "../passes/storedPass.ts";
import type { StreamPass } from "../passes/streamPass.ts";
import type { Step, StepMaker } from "./step.ts";

export interface AddOptions {
  readonly target: number;
  /** The streams that the branch is given, in this order; none of them the target. */
  readonly sources: readonly number[];
  readonly branch: Branch;
  /** What errors call the branch. Default: "branch". */
  readonly name?: string;
  /** How often the increment is added, a whole number other than 0. Default 1. */
  readonly times?: number;
}

/** `streams[target] += times · branch(...streams[sources])`: invertible because the sources are left alone. */
export function add({ target, sources, branch, name = "branch", times = 1 }: AddOptions): StepMaker {
  if (sources.length === 0 || sources.includes(target) || new Set(sources).size < sources.length) {
    throw new ValueError(
      "add",
      `${name} adds to stream ${target} what it computes from streams [${sources}]`,
      "name one or more sources, each once, none of them the target",
    );
  }
  if (!Number.isInteger(times) || times === 0) {
    throw new ValueError("add", `times is ${times}`, "use a whole number; put other factors into the branch");
  }
  return ({ slot, block }) =>
    new AddStep({ target: slot(target), sources: sources.map(slot), branch, times, name: `${name} of ${block}` });
}

class AddStep implements Step {
  readonly name: string;
  readonly branches: readonly Branch[];
  readonly beginsWith: Step["beginsWith"];
  readonly #target: number;
  readonly #sources: readonly number[];
  readonly #branch: Branch;
  readonly #times: number;
  /** The branch, where it begins with a norm of its one source. */
  readonly #begun: { readonly branch: PreNormBranch; readonly source: number } | undefined;

  constructor({ target, sources, branch, name, times }: Required<AddOptions>) {
    this.name = name;
    this.branches = [branch];
    this.#target = target;
    this.#sources = sources;
    this.#branch = branch;
    this.#times = times;
    if (branch instanceof PreNormBranch && sources.length === 1) {
      this.#begun = { branch, source: sources[0]! };
      this.beginsWith = { stream: sources[0]!, norm: branch.norm };
    }
  }

  forward(pass: ForwardPass): void {
    const increment = pass.run(() => {
      const normalised = pass.takeNormalised() ?? this.#normOfStream(pass);
      return normalised === undefined
        ? this.#increment(
            pass,
            this.#sources.map((s) => pass.read(s)),
          )
        : this.#check(pass, (this.#branch as PreNormBranch).afterNorm(normalised, ...pass.context));
    });
    pass.add(this.#target, increment, this.#times);
  }

  /** The norm that the branch begins with, where norms read streams as they are: the bits of the value's norm. */
  #normOfStream({ arithmetic: { fractionBits }, engine, streams }: StreamPass): Tensor | undefined {
    if (this.#begun === undefined || fractionBits === undefined) return undefined;
    const { branch, source } = this.#begun;
    const [normalised, ...statistics] = branch.atNorm(engine, () =>
      normalise(branch.norm, streams[source]!, fractionBits),
    );
    for (const t of statistics) t.dispose();
    return normalised;
  }

  inverse(pass: StreamPass): void {
    const increment = pass.run(() =>
      this.#increment(
        pass,
        this.#sources.map((s) => pass.read(s)),
      ),
    );
    pass.remove(this.#target, increment, this.#times);
  }

  backward(pass: BackwardPass): void {
    if (this.#begun !== undefined) {
      this.#backwardFromNorm(pass, this.#begun.branch, this.#begun.source);
      return;
    }
    const leaves = this.#sources.map((s) => pass.read(s).requireGrad());
    const increment = pass.recompute(() => this.#increment(pass, leaves));
    pass.remove(this.#target, increment.detach(), this.#times);
    pass.receive(this.#sources, this.#pull(pass, increment, leaves));
  }

  /**
   * The same for a branch that begins with a norm: the norm's gradient joins the stream's in one pass over it, and the record begins
   * behind the norm. The bits are those of the two one after the other. The stream is rebuilt last, with the norm that the next step begins with: both
   * come from one pass over it, and the increment lives as long in any case.
   */
  #backwardFromNorm(pass: BackwardPass, branch: PreNormBranch, source: number): void {
    const { fractionBits } = pass.arithmetic;
    const value = fractionBits === undefined ? pass.read(source) : pass.streams[source]!;
    const norm = (): Tensor[] => branch.atNorm(pass.engine, () => normalise(branch.norm, value, fractionBits));
    const [normalised, ...statistics] = pass.takeNormalised() ?? pass.recompute(() => pass.engine.noGrad(() => norm()));
    const leaf = normalised!.requireGrad();
    const increment = pass.recompute(() => this.#check(pass, branch.afterNorm(leaf, ...pass.context)));
    const [gradient] = this.#pull(pass, increment, [leaf]);
    if (gradient !== undefined) {
      pass.receiveFromNorm(source, { branch, value, statistics, gradient }, increment.dtype);
    }
    pass.rebuild(this.#target, increment.detach(), this.#times);
  }

  /** Gradients of the leaves that an increment was computed from. */
  #pull(pass: BackwardPass, increment: Tensor, leaves: readonly Tensor[]): (Tensor | undefined)[] {
    const added = pass.record(() => (this.#times === 1 ? increment : increment.cast("f32").mul(this.#times)));
    return pass.pull([added], [pass.cotangentAs(this.#target, added.dtype)], leaves);
  }

  record(pass: StoredPass): void {
    const { arithmetic, streams } = pass;
    const values = this.#sources.map((s) => arithmetic.read(streams[s]!));
    const increment = pass.run(() => this.#increment(pass, values));
    pass.put(this.#target, arithmetic.add(streams[this.#target]!, increment, this.#times));
  }

  #increment(
    pass: { readonly streams: readonly Tensor[]; readonly context: readonly unknown[] },
    values: readonly Tensor[],
  ): Tensor {
    const [first, ...others] = values;
    return this.#check(pass, runBranch(this.#branch, first!, ...others, ...pass.context));
  }

  #check(pass: { readonly streams: readonly Tensor[] }, increment: Tensor): Tensor {
    return checkIncrement(this.name, increment, pass.streams[this.#target]!);
  }
}
