import { ValueError } from "@revnet-zero/tensor";
import type { BackwardPass } from "../passes/backwardPass.ts";
import type { ForwardPass } from "../passes/forwardPass.ts";
import type { StoredPass } from "../passes/storedPass.ts";
import type { StreamPass } from "../passes/streamPass.ts";
import type { Step, StepMaker } from "./step.ts";

export interface CombineOptions {
  readonly target: number;
  /** What the target is multiplied by. Default 1. */
  readonly sign?: 1 | -1;
  /** Whole coefficients of other streams. */
  readonly terms: readonly { readonly source: number; readonly times: number }[];
}

/** `streams[target] = ±streams[target] + Σ times · streams[source]`: a shear with whole coefficients. */
export function combine({ target, sign = 1, terms }: CombineOptions): StepMaker {
  const sources = terms.map((t) => t.source);
  if (sources.includes(target) || new Set(sources).size < sources.length) {
    throw new ValueError(
      "combine",
      `stream ${target} is to receive multiples of streams [${sources}]`,
      "name each source once, none of them the target: its own coefficient is the sign",
    );
  }
  for (const { times } of terms) {
    if (Number.isInteger(times) && times !== 0) continue;
    throw new ValueError("combine", `a coefficient is ${times}`, "use whole numbers other than 0");
  }
  return ({ slot, block }) =>
    new CombineStep({
      target: slot(target),
      sign,
      terms: terms.map(({ source, times }) => ({ source: slot(source), times })),
      name: `combination of ${block}`,
    });
}

class CombineStep implements Step {
  readonly name: string;
  readonly branches = [];
  readonly #target: number;
  readonly #sign: 1 | -1;
  readonly #terms: CombineOptions["terms"];

  constructor({ target, sign, terms, name }: Required<CombineOptions> & { readonly name: string }) {
    this.name = name;
    this.#target = target;
    this.#sign = sign;
    this.#terms = terms;
  }

  forward(pass: ForwardPass): void {
    const { arithmetic, streams } = pass;
    const terms = this.#terms.map(({ source, times }) => ({ stream: streams[source]!, times }));
    pass.put(this.#target, arithmetic.combine(streams[this.#target]!, this.#sign, terms, pass.memory(this.#target)));
  }

  inverse(pass: StreamPass): void {
    const { arithmetic, streams } = pass;
    const terms = this.#terms.map(({ source, times }) => ({ stream: streams[source]!, times }));
    pass.put(this.#target, arithmetic.separate(streams[this.#target]!, this.#sign, terms, pass.memory(this.#target)));
  }

  backward(pass: BackwardPass): void {
    this.inverse(pass);
    const cotangent = pass.cotangents[this.#target];
    if (cotangent === undefined) return;
    // A linear map has one gradient, whatever its operands: the cotangent stands for them, and no stream is read.
    const leaf = () => cotangent.detach().requireGrad();
    const [own, sources] = [leaf(), this.#terms.map(leaf)];
    const sum = pass.record(() =>
      this.#terms.reduce(
        (y, { times }, i) => {
          const source = sources[i]!;
          return y.add(times === 1 ? source : source.mul(times));
        },
        this.#sign === 1 ? own : own.neg(),
      ),
    );
    const [gradient, ...gradients] = pass.pull([sum], [cotangent], [own, ...sources]);
    pass.replaceCotangent(this.#target, gradient);
    pass.receive(
      this.#terms.map((t) => t.source),
      gradients,
    );
  }

  record(pass: StoredPass): void {
    const { arithmetic, streams } = pass;
    const terms = this.#terms.map(({ source, times }) => ({ stream: streams[source]!, times }));
    pass.put(this.#target, arithmetic.combine(streams[this.#target]!, this.#sign, terms));
  }
}
