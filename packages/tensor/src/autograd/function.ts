import type { Ambient } from "../ambient.ts";
import type { Engine, Watcher } from "../engine.ts";
import { AutogradError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Edge, GradientNode } from "./node.ts";
import { ReplayLog } from "./replay.ts";
import { SavedTensor } from "./saved.ts";
import { Walk } from "./walk.ts";

export interface ForwardContext {
  readonly engine: Engine;
  /** Keeps tensors for backward, in this order. Call at most once. */
  save(...tensors: Tensor[]): void;
  /**
   * Keeps alive what backward will read besides (a mask that the closure holds), and refuses it then if it was modified.
   * Tracked tensors that `forward` used are held anyway.
   */
  hold(...tensors: Tensor[]): void;
  /** Called once when backward can no longer ask for anything: after it, when the graph is dropped, or when there is none. */
  onRelease(release: () => void): void;
}

export interface BackwardContext {
  readonly engine: Engine;
  /** The saved tensors. The graph keeps them until the pass is over. */
  saved(): Tensor[];
  /** The saved tensors, ownership moved to the caller's scope: dispose one and its memory is free. */
  takeSaved(): Tensor[];
  /** Saved tensor `i` as input `input` of the function: gradients that reach it in `backward` flow to that input. */
  asInput(saved: Tensor, input: number): Tensor;
  /**
   * Runs `f` recorded, as a replay: with the autocast and generator state the forward pass had, and what that remembered
   * (`engine.remember`), each time from the beginning.
   */
  recompute<T>(f: () => T): T;
  /**
   * Pulls gradients back through outputs of `recompute`. Contributions to inputs (`asInput`) and to captured tensors
   * join the enclosing pass one by one, in the order ordinary backpropagation would add them. Returns the gradients
   * of `leaves` (tensors made by `requireGrad()` inside this call), undefined where none arrived.
   */
  backward(
    outputs: readonly Tensor[],
    gradients: readonly (Tensor | undefined)[],
    leaves?: readonly Tensor[],
  ): (Tensor | undefined)[];
  readonly needs: readonly boolean[];
}

export interface FunctionDef {
  readonly name: string;
  /** Runs unrecorded. Tensors it uses without having been given them (captured parameters) get gradients too. */
  forward(context: ForwardContext, ...inputs: Tensor[]): Tensor | readonly Tensor[];
  /** One gradient per input, or undefined for those that `context.backward` has served already. */
  backward(context: BackwardContext, ...gradients: (Tensor | undefined)[]): readonly (Tensor | undefined)[];
  /** Whether `backward` may itself be recorded. Default false: a clear error instead of a wrong second derivative. */
  readonly isTwiceDifferentiable?: boolean;
}

/** A tensor that backward reads although nobody gave it to the function. */
interface Captured {
  readonly tensor: Tensor;
  /** Undefined for tensors without a gradient. */
  readonly edge: Edge | undefined;
  readonly version: number;
}

/** Everything that a forward pass left for backward. */
class Kept {
  readonly saved: SavedTensor[] = [];
  readonly held = new Set<Tensor>();
  readonly log: ReplayLog;
  readonly #releases: (() => void)[] = [];

  constructor(name: string) {
    this.log = new ReplayLog(name);
  }

  onRelease(release: () => void): void {
    this.#releases.push(release);
  }

  releaseSaved(): void {
    for (const s of this.saved) s.release();
    this.saved.length = 0;
  }

  release(): void {
    this.releaseSaved();
    this.log.release();
    for (const f of this.#releases.splice(0)) f();
  }
}

class FunctionNode extends GradientNode {
  readonly #engine: Engine;
  readonly #def: FunctionDef;
  readonly #ambient: Ambient;
  readonly #captured: readonly Captured[];
  readonly #kept: Kept;

  constructor(
    engine: Engine,
    def: FunctionDef,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    kept: Kept,
    captured: readonly Captured[],
    ambient: Ambient,
  ) {
    super(
      engine.nextNodeId(),
      def.name,
      inputs.map((t) => t.edge),
      outputs.map(({ shape, dtype }) => ({ shape, dtype })),
    );
    this.#engine = engine;
    this.#def = def;
    this.#kept = kept;
    this.#captured = captured;
    this.#ambient = ambient;
    // Closures are run again in backward: what they captured must live until then, whatever scope it was made in.
    for (const c of captured) {
      c.tensor.pin();
      c.edge?.node.retain();
    }
    this.#isHolding = true;
  }
  #isHolding: boolean;

  override dependencies(): readonly (Edge | undefined)[] {
    return [...this.edges, ...this.#captured.map((c) => c.edge)];
  }

  override pull(
    gradients: readonly (Tensor | undefined)[],
    needs: readonly boolean[],
    createGraph: boolean,
  ): readonly (Tensor | undefined)[] {
    const engine = this.#engine;
    if (createGraph && this.#def.isTwiceDifferentiable !== true) {
      throw new AutogradError(
        this.name,
        "has no second derivative: its backward pass rebuilds activations and cannot be recorded",
        `use the stored form (reversible modules: mode "store") where second derivatives are needed`,
      );
    }
    if (!this.#isHolding) {
      throw new AutogradError(
        "backward",
        `the values that ${this.name} saved were freed by an earlier backward pass`,
        "pass { retainGraph: true } to the first backward, or compute the loss again",
      );
    }
    for (const c of this.#captured) {
      if (c.tensor.storage.version !== c.version) {
        throw new AutogradError(
          this.name,
          `captured tensor ${c.tensor.name ?? ""} was modified in place between forward and backward`,
          "step the optimizer only after backward",
        );
      }
    }
    const enclosing = { walk: engine.currentWalk!, floor: engine.nextNodeId() };
    const context: BackwardContext = {
      engine,
      needs,
      saved: () => this.#kept.saved.map((s) => s.open()),
      takeSaved: () => {
        const taken = this.#kept.saved.map((s) => s.open());
        if (enclosing.walk.options.freeSaved) this.#kept.releaseSaved();
        return taken;
      },
      asInput: (saved, input) => {
        const edge = this.edges[input];
        return edge === undefined ? saved : engine.attach(saved, edge);
      },
      recompute: (f) => {
        const ambient = this.#ambient.fork({ isReplay: true, recall: this.#kept.log.player() });
        return engine.withGradients(true, () => engine.withAmbient(ambient, f));
      },
      backward: (outputs, cotangents, leaves = []) => {
        const walk = new Walk({ createGraph, freeSaved: !createGraph, enclosing });
        return walk.run(outputs, cotangents, () =>
          leaves.map((leaf) => {
            const g = walk.take(leaf.edge!.node);
            if (g !== undefined) engine.adopt(g);
            return g;
          }),
        );
      },
    };
    return this.#def.backward(context, ...gradients);
  }

  override releaseSaved(): void {
    this.#kept.release();
    if (!this.#isHolding) return;
    this.#isHolding = false;
    for (const c of this.#captured) {
      c.tensor.unpin();
      c.edge?.node.release();
    }
  }
}

/**
 * An op with a gradient of your own: several inputs and outputs, parameters captured by the closure, and a backward
 * that may itself record and differentiate (re-entrant). One node in the graph, whatever happens inside.
 */
export function defineFunction(def: FunctionDef): (...inputs: Tensor[]) => Tensor[] {
  return (...inputs) => callFunction(def, inputs);
}

function callFunction(def: FunctionDef, inputs: readonly Tensor[]): Tensor[] {
  const engine = inputs[0]?.engine;
  if (engine === undefined) throw new AutogradError(def.name, "needs at least one input tensor");
  // The function inside runs on detached handles: one around it must learn of the tensors here.
  engine.noteUse(inputs);
  const ambient = engine.ambient.fork();
  const kept = new Kept(def.name);
  const run = (): { readonly watcher: Watcher; readonly outputs: Tensor[] } => {
    const context: ForwardContext = {
      engine,
      save: (...tensors) => {
        for (const t of tensors) kept.saved.push(new SavedTensor(t, def.name));
      },
      hold: (...tensors) => {
        for (const t of tensors) if (t.edge === undefined) kept.held.add(t);
      },
      onRelease: (release) => kept.onRelease(release),
    };
    const plain = inputs.map((t) => t.detach());
    const recorder = kept.log.recorder(engine.ambient.recall);
    return engine.watch((watcher) => {
      const forward = (): Tensor | readonly Tensor[] => def.forward(context, ...plain);
      const result = engine.withGradients(false, () => engine.withRecall(recorder, forward));
      return { watcher, outputs: Array.isArray(result) ? [...result] : [result as Tensor] };
    });
  };
  const { watcher, outputs } = releasingOnError(kept, () => engine.scope(run, def.name));
  const captured = [...watcher.captured, ...kept.held].map((tensor) => ({
    tensor,
    edge: tensor.edge,
    version: tensor.storage.version,
  }));
  const isRecorded = engine.recordsGradients && [...inputs, ...watcher.captured].some((t) => t.edge !== undefined);
  if (!isRecorded) {
    kept.release();
    // `forward` may have kept its outputs; here they become the caller's, as recorded ones do.
    return outputs.map((t) => engine.adopt(t));
  }
  const node = new FunctionNode(engine, def, inputs, outputs, kept, captured, ambient);
  node.modulePath = engine.tracedPath();
  return outputs.map((t, output) => {
    const tracked = engine.attach(t, { node, output });
    t.dispose();
    return tracked;
  });
}

/** What a forward pass saved before it failed belongs to no node that would free it. */
function releasingOnError<T>(kept: Kept, f: () => T): T {
  try {
    return f();
  } catch (error) {
    kept.release();
    throw error;
  }
}

export interface CheckpointOptions {
  /** Tensors that `f` reads without being given them, to be kept alive for its second run. */
  readonly holds?: readonly Tensor[];
}

/**
 * `f(...inputs)` with only the inputs stored: backward runs `f` again. Same values, same gradients, bit for bit, since
 * contributions are added in the order ordinary backpropagation adds them. `f` must not depend on anything that may
 * change until then; for a module, whose train flag may, use nn's `checkpointModule`.
 * Source: Chen et al. 2016 (arXiv:1604.06174).
 */
export function checkpointAll(
  f: (...inputs: Tensor[]) => readonly Tensor[],
  inputs: readonly Tensor[],
  { holds = [] }: CheckpointOptions = {},
): Tensor[] {
  return callFunction(
    {
      name: "checkpoint",
      isTwiceDifferentiable: true,
      forward(context, ...xs) {
        context.save(...xs);
        context.hold(...holds);
        return f(...xs);
      },
      backward(context, ...gradients) {
        const xs = context.takeSaved().map((x, i) => context.asInput(x, i));
        const ys = context.recompute(() => f(...xs));
        context.backward(ys, gradients);
        return [];
      },
    },
    inputs,
  );
}

/** `checkpointAll` for one output. */
export function checkpoint(f: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor {
  return checkpointAll((...xs) => [f(...xs)], inputs)[0]!;
}
