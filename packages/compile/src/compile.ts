import {
  AutogradError,
  type Engine,
  type HostObserver,
  type Key,
  type KeyDerivation,
  Tensor,
  tensorsIn,
  traceKeys,
  ValueError,
} from "@revnet-zero/tensor";
import { Constants } from "./constants.ts";
import { fuse } from "./fuse.ts";
import { pathFrom } from "./keys.ts";
import { Recorder } from "./recorder.ts";
import { Replay } from "./replay.ts";
import { Runner } from "./runner.ts";

/** Tensors, alone or in arrays and plain objects. */
export type Tensors = Tensor | readonly Tensors[] | { readonly [name: string]: Tensors };

export interface CompileOptions {
  /**
   * What the function depends on besides its arguments and the tensors it uses: whether a module trains, a number. Asked before
   * every call; another answer, another recording.
   */
  readonly guard?: () => string;
  /**
   * Has a device that can (CUDA) take a recording down at its second use, as one call from then on: host time no longer counts.
   * What it works in and returns then stays allocated, and is given back when memory runs short. `whyNoGraph` of a recording says
   * where it is run call by call instead. Default false.
   */
  readonly graph?: boolean;
  /**
   * Whether what follows from tensors made outside alone (two weights joined) is computed once and kept, until one of them is written to.
   * The same bits; for inference. Default false.
   */
  readonly keepsConstants?: boolean;
}

/** A recorded function. */
export interface Compiled<A extends readonly Tensor[], R extends Tensors> {
  (...args: A): R;
  /** Why the last call ran the function itself; undefined when it ran a recording. */
  readonly reason: string | undefined;
  /** Recordings, one for every kind of arguments. */
  readonly recordings: readonly RecordingInfo[];
  /** Forgets all recordings, and lets go of the tensors they hold. */
  dispose(): void;
}

export interface RecordingInfo {
  /** The arguments it is for. */
  readonly signature: string;
  /** What the backend was asked for, and is asked for now. */
  readonly recorded: number;
  readonly instructions: number;
  /** Why its last call was no graph of the device; undefined when it was one. */
  readonly whyNoGraph: string | undefined;
}

interface Recording extends RecordingInfo {
  readonly runner: Runner;
  readonly constants: Constants | undefined;
  readonly keysDrawn: number;
  readonly rebuild: (tensors: readonly Tensor[]) => unknown;
}

/** Recordings a function keeps; the one not used for longest goes first. */
const MOST_RECORDINGS = 8;

/**
 * Records what a function computes and, for arguments of the same shapes and types, computes that again without running the
 * function: no graph is built, no shape is checked, elementwise ops that follow each other are one pass. The same bits as the
 * function's own, random numbers included: keys are drawn anew from the ambient key.
 *
 * What the function does besides computing with tensors happens only when it is recorded: read no values on the host in it, and
 * let everything that changes come in through arguments, `guard`, or tensors written in place. A function that reads values, keeps
 * tensors it does not return or frees those of others is run as it is, and `reason` says why. The first call runs the function
 * unrecorded, so that what is made once (an optimizer's state) is there before.
 *
 * Gradients are computed inside (`grad`, `valueAndGrad`, or `compileGradients` for a module's); results are not tracked.
 *
 * ```ts
 * import { compile, tensor } from "revnet-zero";
 *
 * const f = compile((x) => x.mul(2).add(1).exp().sum());
 * const x = tensor([0, 1]);
 * const results = [0, 1, 2].map(() => f(x).itemSync());
 * [new Set(results).size, f.reason, f.recordings[0]?.instructions]; // => [ 1, undefined, 2 ]
 * ```
 */
export function compile<A extends readonly Tensor[], R extends Tensors>(
  f: (...args: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  const function_ = new CompiledFunction(f as unknown as (...args: readonly Tensor[]) => Tensors, options);
  return sharing((...args: A): R => function_.call(args) as R, function_);
}

/** A function that answers for the recordings of `of`. */
export function sharing<A extends readonly Tensor[], R extends Tensors>(
  call: (...args: A) => R,
  of: Pick<Compiled<readonly Tensor[], Tensors>, "reason" | "recordings" | "dispose">,
): Compiled<A, R> {
  return Object.defineProperties(call, {
    reason: { get: () => of.reason },
    recordings: { get: () => of.recordings },
    dispose: { value: () => of.dispose() },
  }) as Compiled<A, R>;
}

class CompiledFunction {
  readonly #f: (...args: readonly Tensor[]) => Tensors;
  readonly #guard: () => string;
  readonly #graph: boolean;
  readonly #keepsConstants: boolean;
  /** By signature: undefined where the function was run once and not recorded yet, a reason where it cannot be. */
  readonly #known = new Map<string, Recording | string | undefined>();
  reason: string | undefined = "it was not called yet";

  constructor(f: (...args: readonly Tensor[]) => Tensors, options: CompileOptions) {
    const { guard = () => "", graph = false, keepsConstants = false } = options;
    this.#f = f;
    this.#guard = guard;
    this.#graph = graph;
    this.#keepsConstants = keepsConstants;
  }

  get recordings(): readonly RecordingInfo[] {
    return [...this.#known.values()].filter((r) => typeof r === "object");
  }

  call(args: readonly Tensor[]): unknown {
    const { engine } = checkArguments(args);
    const watcher = watcherOf(engine);
    if (watcher !== undefined) {
      this.reason = watcher;
      return engine.scope(() => this.#f(...args), "compile");
    }
    const signature = `${signatureOf(args, engine)} ${this.#guard()}`;
    const known = this.#known.get(signature);
    if (typeof known === "object" && isCurrent(known)) return this.#replay(known, args, engine);
    if (typeof known === "object") {
      disposeOf(known);
      this.#known.set(signature, undefined);
    }
    this.reason = this.#reasonFor(signature, known);
    if (typeof known === "string" || !this.#known.has(signature)) {
      if (!this.#known.has(signature)) this.#remember(signature, undefined);
      return engine.scope(() => this.#f(...args), "compile");
    }
    return this.#record(signature, args, engine);
  }

  #reasonFor(signature: string, known: Recording | string | undefined): string {
    if (typeof known === "string") return known;
    if (known?.constants?.isCurrent === false)
      return "a tensor that it keeps results of was written to: it is recorded anew";
    if (known !== undefined) return "a tensor that it used is nobody's any more: it is recorded anew";
    return this.#known.has(signature) ? "it is being recorded" : "the first call with such arguments runs the function";
  }

  #replay(recording: Recording, args: readonly Tensor[], engine: Engine): unknown {
    this.reason = undefined;
    const { ambient } = engine;
    const tensors = recording.runner.run(args, ambient.key);
    ambient.calls += recording.keysDrawn;
    return recording.rebuild(tensors);
  }

  #record(signature: string, args: readonly Tensor[], engine: Engine): unknown {
    const recorder = new Recorder(engine, args);
    const derivations = new Map<Key, KeyDerivation>();
    const { ambient } = engine;
    const { key: root, calls } = ambient;
    const host: HostObserver = {
      effect: (reason) => recorder.refuse(reason),
      values: (data, make) => recorder.noteValues(data, make),
      isLasting: (storage) => recorder.isOutside(storage),
    };
    const ignore = (): void => {};
    const stop = engine.ledger.watch({ allocated: ignore, moved: ignore, freed: (s) => recorder.noteFreed(s) });
    let result: Tensors;
    try {
      result = engine.withBackend(recorder.backend, host, () =>
        traceKeys(derivations, () => engine.scope(() => this.#f(...args), "compile")),
      );
    } finally {
      stop();
    }
    const tensors = tensorsIn(result, (v): v is Tensor => v instanceof Tensor);
    const { results, captured, copies } = recorder.finish(tensors);
    if (recorder.reason !== undefined) {
      this.reason = recorder.reason;
      this.#remember(signature, recorder.reason);
      return result;
    }
    const instructions = fuse(
      recorder.instructions,
      results.map((r) => r.slot),
    );
    const keyOf = (key: Key) => (root === undefined ? undefined : pathFrom(root, key, derivations));
    const keysDrawn = ambient.calls - calls;
    const program = { instructions, results, captured, copies, keyOf };
    const constants = this.#keepsConstants ? new Constants(engine, program) : undefined;
    const runner = new Runner(new Replay(engine, constants?.program ?? program), this.#graph);
    const rebuild = rebuilder(result);
    this.#remember(signature, {
      signature,
      recorded: recorder.instructions.length,
      instructions: (constants?.program ?? program).instructions.length,
      ...{ runner, constants },
      get whyNoGraph() {
        return runner.whyNoGraph;
      },
      keysDrawn,
      rebuild,
    });
    return result;
  }

  #remember(signature: string, entry: Recording | string | undefined): void {
    this.#known.delete(signature);
    this.#known.set(signature, entry);
    if (this.#known.size <= MOST_RECORDINGS) return;
    const [oldest] = this.#known.keys();
    this.#forget(oldest!);
  }

  #forget(signature: string): void {
    const entry = this.#known.get(signature);
    if (typeof entry === "object") disposeOf(entry);
    this.#known.delete(signature);
  }

  dispose(): void {
    for (const signature of [...this.#known.keys()]) this.#forget(signature);
  }
}

const isCurrent = ({ runner, constants }: Recording): boolean =>
  runner.replay.isCurrent && runner.replay.bringUpToDate() && constants?.isCurrent !== false;

function disposeOf({ runner, constants }: Recording): void {
  runner.dispose();
  constants?.dispose();
}

function checkArguments(args: readonly Tensor[]): Tensor {
  const [first] = args;
  if (first === undefined || !args.every((t) => t instanceof Tensor)) {
    throw new ValueError(
      "compile",
      `a recorded function takes one tensor or more, got ${args.length === 0 ? "nothing" : args.map((t) => typeof t).join(", ")}`,
      "pass what changes as tensors, and close over the rest",
    );
  }
  for (const t of args) t.assertAlive("compile");
  if (first.engine.recordsGradients && args.some((t) => t.requiresGrad)) {
    throw new AutogradError(
      "compile",
      "an argument is tracked, and the results of a recorded function are not",
      "compute gradients inside the function (grad, valueAndGrad), or pass x.detach()",
    );
  }
  return first;
}

/** Who must see every op, so that none may come from a recording. */
function watcherOf(engine: Engine): string | undefined {
  if (engine.trace.isOn || engine.checksFinite) return "ops are being watched one by one";
  return engine.notesHostEffects ? "it is part of another recording" : undefined;
}

const numbers = new WeakMap<object, number>();
let numbered = 0;

/** A number of its own for every object. */
function numberOf(object: object): number {
  if (!numbers.has(object)) numbers.set(object, numbered++);
  return numbers.get(object)!;
}

/** All that decides which ops are run, as far as the engine knows, and where: a recording is of one engine and one backend. */
function signatureOf(args: readonly Tensor[], engine: Engine): string {
  const { autocast, key, calls, isReplay } = engine.ambient;
  const buffers = new Map<unknown, number>();
  const operands = args.map(({ dtype, layout, storage }, i) => {
    const same = buffers.get(storage) ?? i;
    buffers.set(storage, same);
    return `${dtype}[${layout.shape}](${layout.strides})+${layout.offset}@${same}`;
  });
  const place = `on ${numberOf(engine)}.${numberOf(engine.backend)}`;
  const state = [place, autocast ?? "", key === undefined ? "" : `key ${calls}`, isReplay ? "again" : ""];
  return [...operands, ...state].filter((s) => s !== "").join(" ");
}

/** Puts tensors in the places that a result's tensors had. */
function rebuilder(result: unknown): (tensors: readonly Tensor[]) => unknown {
  let count = 0;
  const plan = (value: unknown): ((tensors: readonly Tensor[]) => unknown) => {
    if (value instanceof Tensor) {
      const at = count++;
      return (tensors) => tensors[at];
    }
    if (Array.isArray(value)) {
      const parts = value.map(plan);
      return (tensors) => parts.map((part) => part(tensors));
    }
    if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
      const parts = Object.entries(value).map(([name, part]) => [name, plan(part)] as const);
      return (tensors) => Object.fromEntries(parts.map(([name, part]) => [name, part(tensors)]));
    }
    throw new ValueError(
      "compile",
      `the function returns ${value === null ? "null" : typeof value}, which would stay what it was at the first call`,
      "return tensors, alone or in arrays and plain objects",
    );
  };
  return plan(result);
}
