import { gradientDType } from "../dtype.ts";
import type { Engine } from "../engine.ts";
import { AutogradError, describe } from "../errors.ts";
import { isContiguous } from "../layout.ts";
import { sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { accumulate } from "./accumulate.ts";
import { type GradientNode, LeafNode } from "./node.ts";
import { NodeQueue } from "./queue.ts";

export interface WalkOptions {
  /** Record the backward pass itself, so that its result can be differentiated again. */
  readonly createGraph: boolean;
  /** Free saved tensors as soon as the gradient has passed. */
  readonly freeSaved: boolean;
  /** Collect the gradients of these nodes and go no further; without it, leaves get their `.grad`. */
  readonly wanted?: ReadonlySet<GradientNode>;
  /** Inside a custom function: contributions to nodes older than `floor` go straight to the enclosing walk. */
  readonly enclosing?: { readonly walk: Walk; readonly floor: number };
}

/**
 * One backward pass: gradients flow from the roots through the nodes in descending id. Contributions to a tensor are
 * added one by one in that order, also when they come from a nested walk (a recomputed block), so that recomputation
 * changes no bit of a sum.
 */
export class Walk {
  readonly options: WalkOptions;
  readonly #pending = new Map<GradientNode, (Tensor | undefined)[]>();
  readonly #queue = new NodeQueue();
  readonly #leads: ((node: GradientNode) => boolean) | undefined;

  constructor(options: WalkOptions) {
    this.options = options;
    if (options.wanted !== undefined) this.#leads = leadsTo(options.wanted);
  }

  /** Whether a contribution to this node is of any use. */
  needs(node: GradientNode): boolean {
    const { enclosing } = this.options;
    if (enclosing !== undefined && node.id < enclosing.floor) return enclosing.walk.needs(node);
    return this.#leads === undefined || this.#leads(node);
  }

  /** Adds `gradient` (the caller's handle is left alone) to what output `output` of `node` has received so far. */
  receive(node: GradientNode, output: number, gradient: Tensor): void {
    const { enclosing, wanted, createGraph } = this.options;
    if (enclosing !== undefined && node.id < enclosing.floor) {
      enclosing.walk.receive(node, output, gradient);
      return;
    }
    if (!this.needs(node)) return;
    if (wanted === undefined && enclosing === undefined && node instanceof LeafNode) {
      // Nobody could read a disposed leaf's gradient, and nobody would free it.
      if (!node.tensor.isDisposed) node.tensor.grad = accumulate(node.tensor.grad, gradient, createGraph, "gradients");
      return;
    }
    let slots = this.#pending.get(node);
    if (slots === undefined) {
      slots = new Array(node.outputs.length).fill(undefined);
      this.#pending.set(node, slots);
      if (wanted?.has(node) !== true && !(node instanceof LeafNode)) {
        // Who leads here may be all that holds it (a function, what it captured), and lets go when its turn is over.
        node.retain();
        this.#queue.push(node);
      }
    }
    slots[output] = accumulate(slots[output], gradient, createGraph);
  }

  /**
   * Gives up what an output of a node has received so far, if its buffer is nobody else's and the pass is not recorded: whoever takes it
   * delivers it again, with more in it. The handle is the present scope's.
   */
  takeReceived(node: GradientNode, output: number): Tensor | undefined {
    const { enclosing, wanted, createGraph } = this.options;
    if (createGraph || !this.needs(node)) return undefined;
    if (enclosing !== undefined && node.id < enclosing.floor) return enclosing.walk.takeReceived(node, output);
    const leaf = wanted === undefined && enclosing === undefined && node instanceof LeafNode ? node.tensor : undefined;
    const slots = this.#pending.get(node);
    const sum = leaf === undefined ? slots?.[output] : leaf.grad;
    if (sum === undefined || sum.storage.references > 1 || !isContiguous(sum.layout)) return undefined;
    if (leaf !== undefined) leaf.grad = undefined;
    else slots![output] = undefined;
    return sum.engine.adopt(sum);
  }

  /** From outputs and their cotangents until no node is left, then `read`; gradients that nobody took are disposed, also after an error. */
  run<T>(outputs: readonly Tensor[], cotangents: readonly (Tensor | undefined)[], read: () => T): T {
    try {
      seed(this, outputs, cotangents);
      this.#drain();
      return read();
    } finally {
      for (const slots of this.#pending.values()) for (const g of slots) g?.dispose();
      this.#pending.clear();
    }
  }

  #drain(): void {
    let node = this.#queue.pop();
    try {
      for (; node !== undefined; node = this.#queue.pop()) {
        const gradients = this.#pending.get(node)!;
        this.#pending.delete(node);
        this.#pull(node, gradients);
        node.release();
      }
    } finally {
      // After an error: the nodes whose turn will not come.
      for (; node !== undefined; node = this.#queue.pop()) node.release();
    }
  }

  #pull(node: GradientNode, gradients: readonly (Tensor | undefined)[]): void {
    const { createGraph, freeSaved } = this.options;
    const engine = gradients.find((g) => g !== undefined)!.engine;
    if (engine.currentWalk === undefined) engine.notePull(node.id);
    const pass = (): void =>
      engine.withGradients(createGraph, () => {
        const needs = node.edges.map((e) => e !== undefined && this.needs(e.node));
        const results = withoutAutocast(engine, () => node.pull(gradients, needs, createGraph));
        // Free before delivering: the donors of an accumulation must not still be saved by this node.
        if (freeSaved) node.releaseSaved();
        // Last input first: the reverse of the order in which a computation written out would have read them.
        for (let i = node.edges.length - 1; i >= 0; i--) this.#deliver(node, i, needs[i]! ? results[i] : undefined);
      });
    const scoped = (): void => engine.withWalk(this, () => engine.scope(pass, `backward of ${node.name}`));
    try {
      if (node.modulePath === undefined) scoped();
      else engine.atModulePath(node.modulePath, scoped);
    } finally {
      for (const g of gradients) g?.dispose();
    }
  }

  #deliver(node: GradientNode, i: number, gradient: Tensor | undefined): void {
    const edge = node.edges[i];
    if (edge === undefined || gradient === undefined) return;
    const { shape, dtype } = edge.node.outputs[edge.output]!;
    const lead = gradient.shape.length - shape.length;
    const fits = lead >= 0 && shape.every((s, d) => s === gradient.shape[d + lead] || s === 1);
    const types = [gradientDType(dtype), edge.node.gradientTypeOf(edge.output)];
    if (!fits || !types.includes(gradient.dtype)) {
      throw new AutogradError(
        node.name,
        `gradient of input ${i} is ${describe(gradient)}, the input is ${describe({ shape, dtype })}`,
        "a vjp returns gradients of the inputs' dtypes and shapes, or of the shape they broadcast to",
      );
    }
    this.receive(edge.node, edge.output, sameShape(gradient.shape, shape) ? gradient : gradient.sumTo(shape));
  }

  /** The gradient a node's output has received (an unscoped handle the caller now owns), or undefined. */
  take(node: GradientNode, output = 0): Tensor | undefined {
    const slots = this.#pending.get(node);
    const g = slots?.[output];
    if (slots !== undefined) slots[output] = undefined;
    return g;
  }
}

/** The types are those recorded: where backward is called must not change them. */
function withoutAutocast<T>(engine: Engine, f: () => T): T {
  if (engine.ambient.autocast === undefined) return f();
  return engine.withAmbient(engine.ambient.fork({ autocast: undefined }), f);
}

/** Memoised: does any path from this node reach a wanted one? */
function leadsTo(wanted: ReadonlySet<GradientNode>): (node: GradientNode) => boolean {
  const known = new Map<GradientNode, boolean>();
  for (const w of wanted) known.set(w, true);
  return (start) => {
    const stack: GradientNode[] = [start];
    while (stack.length > 0) {
      const node = stack[stack.length - 1]!;
      if (known.has(node)) {
        stack.pop();
        continue;
      }
      const next = node.dependencies().flatMap((e) => (e === undefined ? [] : [e.node]));
      const unknown = next.filter((n) => !known.has(n));
      if (unknown.length > 0) stack.push(...unknown);
      else {
        known.set(
          node,
          next.some((n) => known.get(n)!),
        );
        stack.pop();
      }
    }
    return known.get(start)!;
  };
}

/** Roots of a walk: outputs and their cotangents. */
function seed(walk: Walk, outputs: readonly Tensor[], gradients: readonly (Tensor | undefined)[]): void {
  outputs.forEach((t, i) => {
    const g = gradients[i];
    if (g === undefined || t.edge === undefined) return;
    if (!sameShape(g.shape, t.shape) || g.dtype !== gradientDType(t.dtype)) {
      throw new AutogradError(
        "backward",
        `gradient ${describe(g)} does not match output ${describe(t)}`,
        `a cotangent has the shape of its output and is ${gradientDType(t.dtype)}`,
      );
    }
    walk.receive(t.edge.node, t.edge.output, g);
  });
}
