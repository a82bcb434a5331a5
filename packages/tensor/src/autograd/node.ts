import { type DType, gradientDType } from "../dtype.ts";
import type { Meta } from "../op.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** One output of a node: what a tensor points at, and what a consumer's input points at. */
export interface Edge {
  readonly node: GradientNode;
  readonly output: number;
}

/**
 * A recorded computation. Nodes are reference counted: by the tensor handles that came out of them and by the nodes
 * that consumed those. Ids grow in program order, so walking by descending id is the reverse of the execution: every
 * consumer before its producer, and the contributions to one tensor always in the same order.
 */
export abstract class GradientNode {
  readonly id: number;
  readonly name: string;
  /** Where each input came from; undefined for inputs that need no gradient. */
  readonly edges: readonly (Edge | undefined)[];
  readonly outputs: readonly Meta[];
  /** Where it was recorded; only known while somebody listens to the engine's trace. */
  modulePath: readonly string[] | undefined;
  #references = 0;

  constructor(id: number, name: string, edges: readonly (Edge | undefined)[], outputs: readonly Meta[]) {
    this.id = id;
    this.name = name;
    this.edges = edges;
    this.outputs = outputs;
    for (const e of edges) e?.node.retain();
  }

  /** Gradients of the inputs from those of the outputs. Runs inside its own scope. */
  abstract pull(
    gradients: readonly (Tensor | undefined)[],
    needs: readonly boolean[],
    createGraph: boolean,
  ): readonly (Tensor | undefined)[];

  /** Drops what the forward pass kept. Called after the gradient has passed, and when nobody refers to the node. */
  abstract releaseSaved(): void;

  /** The type in which an output's gradient is wanted most: its own, or a wider one that it is going to be cast to. */
  gradientTypeOf(output: number): DType {
    return gradientDType(this.outputs[output]!.dtype);
  }

  /** Every node a gradient may flow to from here: the inputs', and for functions the captured tensors'. */
  dependencies(): readonly (Edge | undefined)[] {
    return this.edges;
  }

  /** How many handles and nodes refer to this one. */
  get holders(): number {
    return this.#references;
  }

  retain(): void {
    this.#references++;
  }

  /** Iterative, so that the depth of a graph is not bounded by the JavaScript stack. */
  release(): void {
    const pending: GradientNode[] = [this];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (--node.#references > 0) continue;
      node.releaseSaved();
      for (const e of node.edges) if (e !== undefined) pending.push(e.node);
    }
  }
}

/** A tensor the user (or a transform) wants the gradient of. */
export class LeafNode extends GradientNode {
  readonly tensor: Tensor;
  constructor(id: number, tensor: Tensor) {
    super(id, "leaf", [], [tensor]);
    this.tensor = tensor;
  }
  override pull(): readonly (Tensor | undefined)[] {
    return [];
  }
  override releaseSaved(): void {}
}
