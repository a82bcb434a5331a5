import { type Tensor, ValueError } from "@revnet-zero/tensor";
import { type Branch, checkIncrement } from "../branch.ts";
import type { BackwardPass } from "../passes/backwardPass.ts";
import type { ForwardPass } from "../passes/forwardPass.ts";
import type { StoredPass } from "../passes/storedPass.ts";
import type { StreamPass } from "../passes/streamPass.ts";
import type { Step, StepMaker } from "./step.ts";

/** What a stream is multiplied by and then receives. */
export interface ScaleParts {
  /** f32, positive, of the stream's shape or one that broadcasts to it. */
  readonly factor: Tensor;
  /** Logarithm of the factor's size, of a shape that broadcasts to the stream's: summed for the log-determinant. */
  readonly logFactor: Tensor;
  /** Of the stream's shape. */
  readonly shift?: Tensor | undefined;
}

export interface ScaleOptions {
  readonly target: number;
  readonly sources: readonly number[];
  /** Factor and shift from the sources' values (and the context). */
  readonly parts: (...inputs: readonly unknown[]) => ScaleParts;
  /** The modules that `parts` runs, for their train flags and parameters. */
  readonly branches: readonly Branch[];
  readonly name?: string;
}

/** `streams[target] = streams[target] · factor + shift`, both computed from other streams. */
export function scale({ target, sources, name = "scale", ...rest }: ScaleOptions): StepMaker {
  if (sources.includes(target) || new Set(sources).size < sources.length) {
    throw new ValueError(
      "scale",
      `${name} scales stream ${target} by what it computes from streams [${sources}]`,
      "name each source once, none of them the target",
    );
  }
  return ({ slot, block }) =>
    new ScaleStep({ ...rest, target: slot(target), sources: sources.map(slot), name: `${name} of ${block}` });
}

class ScaleStep implements Step {
  readonly name: string;
  readonly branches: readonly Branch[];
  readonly #target: number;
  readonly #sources: readonly number[];
  readonly #parts: ScaleOptions["parts"];

  constructor({ target, sources, parts, branches, name }: Required<ScaleOptions>) {
    this.name = name;
    this.branches = branches;
    this.#target = target;
    this.#sources = sources;
    this.#parts = parts;
  }

  forward(pass: ForwardPass): void {
    const target = this.#target;
    const { factor, logFactor, shift } = pass.run(() =>
      this.#run(
        pass,
        this.#sources.map((s) => pass.read(s)),
      ),
    );
    pass.put(target, pass.arithmetic.scale(pass.streams[target]!, factor, pass.memory(target)));
    if (shift !== undefined) pass.add(target, shift, 1);
    pass.addLogDeterminant(() => perSample(logFactor, pass.streams[target]!));
  }

  inverse(pass: StreamPass): void {
    const parts = pass.run(() =>
      this.#run(
        pass,
        this.#sources.map((s) => pass.read(s)),
      ),
    );
    this.#undo(pass, parts);
  }

  backward(pass: BackwardPass): void {
    const target = this.#target;
    const leaves = this.#sources.map((s) => pass.read(s).requireGrad());
    const parts = pass.recompute(() => this.#run(pass, leaves));
    this.#undo(pass, parts);
    const own = pass.read(target).requireGrad();
    const [y, log] = pass.record(() => {
      const product = own.mul(parts.factor);
      return [
        parts.shift === undefined ? product : product.add(parts.shift.cast("f32")),
        pass.logDeterminant === undefined ? undefined : perSample(parts.logFactor, own),
      ] as const;
    });
    const outputs = log === undefined ? [y] : [y, log];
    const [gradient, ...gradients] = pass.pull(
      outputs,
      [pass.cotangents[target], pass.logDeterminant],
      [own, ...leaves],
    );
    pass.replaceCotangent(target, gradient);
    pass.receive(this.#sources, gradients);
  }

  record(pass: StoredPass): void {
    const { arithmetic, streams } = pass;
    const target = this.#target;
    const values = this.#sources.map((s) => arithmetic.read(streams[s]!));
    const { factor, logFactor, shift } = pass.run(() => this.#run(pass, values));
    const product = arithmetic.scale(streams[target]!, factor, pass.memory(target));
    pass.put(target, shift === undefined ? product : arithmetic.add(product, shift, 1));
    pass.addLogDeterminant(() => perSample(logFactor, streams[target]!));
  }

  #run({ streams, context }: Pick<StoredPass, "context" | "streams">, values: readonly Tensor[]): ScaleParts {
    const parts = this.#parts(...values, ...context);
    if (parts.shift !== undefined) checkIncrement(this.name, parts.shift, streams[this.#target]!);
    return parts;
  }

  #undo(pass: StreamPass, { factor, shift }: ScaleParts): void {
    const target = this.#target;
    if (shift !== undefined) pass.remove(target, shift.detach(), 1);
    pass.put(target, pass.arithmetic.unscale(pass.streams[target]!, factor.detach(), pass.memory(target)));
  }
}

/** Σ log-factor over all axes but the first: [...] broadcast to the stream's [batch, ...] -> [batch]. */
function perSample(logFactor: Tensor, { shape }: Tensor): Tensor {
  const whole = logFactor.expand(shape);
  return shape.length < 2 ? whole : whole.reshape([shape[0]!, -1]).sum(1);
}
