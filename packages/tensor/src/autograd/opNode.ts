import { type DType, gradientDType } from "../dtype.ts";
import type { AnyOp, Meta, Saves, VjpContext } from "../op.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Edge, GradientNode } from "./node.ts";
import { SavedTensor } from "./saved.ts";
import { pullThrough } from "./transforms.ts";

/** A recorded op of the table. */
export class OpNode extends GradientNode {
  readonly op: AnyOp;
  readonly attrs: unknown;
  readonly inputs: readonly Meta[];
  readonly #savedInputs: (SavedTensor | undefined)[] = [];
  readonly #savedOutputs: (SavedTensor | undefined)[] = [];

  constructor(id: number, op: AnyOp, attrs: unknown, inputs: readonly Tensor[], outputs: readonly Tensor[]) {
    super(
      id,
      op.name,
      inputs.map((t) => t.edge),
      outputs.map(metaOf),
    );
    this.op = op;
    this.attrs = attrs;
    this.inputs = inputs.map(metaOf);
    const saves = savesOf(op, this.inputs, attrs);
    try {
      for (const i of saves.inputs ?? []) this.#savedInputs[i] = new SavedTensor(inputs[i]!, op.name);
      for (const i of saves.outputs ?? []) this.#savedOutputs[i] = new SavedTensor(outputs[i]!, op.name);
    } catch (error) {
      // A keeper that could not take one: nobody will refer to this node, and so let go of the others.
      this.retain();
      this.release();
      throw error;
    }
  }

  override pull(
    gradients: readonly (Tensor | undefined)[],
    needs: readonly boolean[],
    createGraph: boolean,
  ): readonly (Tensor | undefined)[] {
    const { op } = this;
    const input = (i: number): Tensor => this.#open(this.#savedInputs[i], "input", i, createGraph, this.edges[i]);
    const rebuild = rebuilder(op);
    if (rebuild !== undefined) {
      const inputs = this.inputs.map((_, i) => input(i));
      return pullThrough((xs) => rebuild(xs, this.attrs), inputs, gradients, needs, createGraph);
    }
    if (typeof op.gradient === "string" || "through" in op.gradient) return [];
    const outputs = this.outputs;
    const walk = gradients.find((g) => g !== undefined)!.engine.currentWalk;
    const first = outputs[0]!;
    const context: VjpContext = {
      input,
      output: (i) => this.#open(this.#savedOutputs[i], "output", i, createGraph, { node: this, output: i }),
      releaseOutput: (i) => {
        if (walk?.options.freeSaved === true) this.#savedOutputs[i]!.release();
      },
      inputs: this.inputs,
      outputs,
      gradients,
      get gradient() {
        return (
          gradients[0] ?? gradients.find((g) => g !== undefined)!.fullOf(first.shape, 0, gradientDType(first.dtype))
        );
      },
      needs,
      gradientTypes: this.edges.map((e, i) => e?.node.gradientTypeOf(e.output) ?? gradientDType(this.inputs[i]!.dtype)),
      takeReceived: (i) => {
        const edge = this.edges[i];
        return edge && walk?.takeReceived(edge.node, edge.output);
      },
    };
    return op.gradient.vjp(context, this.attrs);
  }

  override gradientTypeOf(output: number): DType {
    return this.op.widerGradient?.(this.inputs, this.attrs) ?? super.gradientTypeOf(output);
  }

  #open(saved: SavedTensor | undefined, what: string, i: number, createGraph: boolean, edge?: Edge): Tensor {
    if (saved === undefined) throw new Error(`${this.op.name}: vjp reads ${what} ${i}, which "saves" does not declare`);
    return saved.open(createGraph ? edge : undefined);
  }

  override releaseSaved(): void {
    for (const s of this.#savedInputs) s?.release();
    for (const s of this.#savedOutputs) s?.release();
  }
}

/** The recorded form an op is differentiated through, when it has no rule of its own. */
function rebuilder(op: AnyOp): ((inputs: readonly Tensor[], attrs: unknown) => readonly Tensor[]) | undefined {
  if (typeof op.gradient === "object" && "through" in op.gradient) return op.gradient.through;
  return op.gradient === "decomposition" && op.kind === "fused" ? op.decompose : undefined;
}

const metaOf = (t: Tensor): Meta => ({ shape: t.shape, dtype: t.dtype });

/** What an op keeps for backward, given its inputs and attributes: the planner's question, answered by the table. */
export function savesOf(op: AnyOp, inputs: readonly Meta[], attrs: unknown): Saves {
  if (op.gradient === "none") return {};
  if (op.gradient === "decomposition" || "through" in op.gradient) return { inputs: inputs.map((_, i) => i) };
  return op.gradient.saves(inputs, attrs);
}
