import { Ambient, type AmbientState, type Recall } from "./ambient.ts";
import type { Edge } from "./autograd/node.ts";
import { decision } from "./autograd/replay.ts";
import type { SavedKeeper } from "./autograd/saved.ts";
import type { Walk } from "./autograd/walk.ts";
import type { Backend } from "./backend.ts";
import { type DType, dtypes, type TypedArray } from "./dtype.ts";
import { readEnvironment } from "./env.ts";
import { LifetimeError, OutOfMemoryError, ValueError } from "./errors.ts";
import { allocateStorage } from "./memory/allocate.ts";
import { CastCopy } from "./memory/castCopy.ts";
import { Ledger, type MemoryCategory, type MemoryReport } from "./memory/ledger.ts";
import { type Scope, ScopeStack, tensorsIn } from "./memory/scope.ts";
import type { Storage } from "./memory/storage.ts";
import type { Meta } from "./op.ts";
import { checkKey, foldKey, type Key } from "./rng.ts";
import { makeTensor } from "./tensor/link.ts";
import type { Tensor } from "./tensor/tensor.ts";
import { Tracer } from "./trace.ts";

export interface EngineOptions {
  /** Bytes the ledger may hold before OutOfMemoryError. Default: REVNET_MEMORY_LIMIT, or none. */
  readonly memoryLimitBytes?: number;
  /**
   * Whether a parameter that autocast reads in fewer bits keeps those values beside it, until it is written or memory runs short, instead of being cast at every
   * use: two bytes a parameter in the ledger, counted as parameters. The same bits. Default true.
   */
  readonly keepsCastCopies?: boolean;
}

/** Is told what code does besides asking the backend. */
export interface HostObserver {
  readonly effect: (what: string) => void;
  readonly values: (data: unknown, make: () => TypedArray) => void;
  /** Whether this buffer will be the same one when the code is run again. */
  readonly isLasting: (storage: Storage) => boolean;
}

/** Notes tensors used by a computation that were not made by it. */
export interface Watcher {
  readonly floor: number;
  readonly captured: Set<Tensor>;
}

/**
 * A backend with everything that is true of a run: the memory ledger, the scopes, the graph's counters, the ambient
 * state, the trace. Engines share nothing; a program has one default engine and may make more.
 */
export class Engine {
  readonly ledger: Ledger = new Ledger();
  readonly scopes: ScopeStack = new ScopeStack();
  readonly storages: Set<Storage> = new Set();
  readonly trace: Tracer = new Tracer();
  /** Names of the modules being run, outermost first; errors and reports quote it. */
  readonly modulePath: string[] = [];
  /** Reads every op's output and throws NonFiniteError at the first NaN or infinity. Slow: for finding where one began. */
  checksFinite: boolean = readEnvironment("REVNET_CHECK_NAN") !== "0";
  readonly keepsCastCopies: boolean;
  #isRehearsing = false;
  #memoryLimitBytes: number;
  /** @internal Whether buffers remember what made them. */
  readonly recordsSites: boolean = readEnvironment("REVNET_LEAKS") !== "0";
  readonly #watchers: Watcher[] = [];
  #backend: Backend;
  #host: HostObserver | undefined;
  #ambient = new Ambient({ autocast: undefined, key: undefined, calls: 0, isReplay: false, recall: undefined });
  #recordsGradients = true;
  #savedKeeper: SavedKeeper | undefined;
  #nodes = 0;
  #walk: Walk | undefined;
  readonly #pullListeners = new Set<(nodeId: number) => void>();
  #handles = 0;

  constructor(backend: Backend, options: EngineOptions = {}) {
    this.#backend = backend;
    this.keepsCastCopies = options.keepsCastCopies ?? true;
    const limit = readEnvironment("REVNET_MEMORY_LIMIT");
    this.#memoryLimitBytes = options.memoryLimitBytes ?? (limit === "" ? Number.POSITIVE_INFINITY : Number(limit));
  }

  /** What computes. */
  get backend(): Backend {
    return this.#backend;
  }

  /** @internal Runs `f` with the backend seen through another, whose buffers are the same: to note what it is asked for. */
  withBackend<T>(backend: Backend, host: HostObserver, f: () => T): T {
    const before = [this.#backend, this.#host] as const;
    [this.#backend, this.#host] = [backend, host];
    try {
      return f();
    } finally {
      [this.#backend, this.#host] = before;
    }
  }

  /** Says that the code running now does more than compute with tensors (it counts its calls, say): it must not be left out. */
  noteHostEffect(what: string): void {
    this.#host?.effect(what);
  }

  /** @internal The words in a buffer were made by `make`, which is to be asked again whenever this code is run (`hostValues`). */
  noteHostValues(data: unknown, make: () => TypedArray): void {
    this.#host?.values(data, make);
  }

  /** @internal Whether copies of this buffer may stand for it: not where this code is recorded, and will be given another buffer in its place. */
  readsCopiesOf(storage: Storage): boolean {
    return this.keepsCastCopies && this.#host?.isLasting(storage) !== false;
  }

  /** Whether somebody listens to what the host does: the ops of this code are being recorded. */
  get notesHostEffects(): boolean {
    return this.#host !== undefined;
  }

  // -- memory -------------------------------------------------------------------------------------------------------

  /** A new buffer for one tensor. */
  allocate(meta: Meta, category: MemoryCategory = "workspace"): Storage {
    return allocateStorage(this, meta, category);
  }

  /** What a buffer of so many elements is in the ledger. */
  bytesOf(dtype: DType, elements: number): number {
    return this.backend.bytesOf?.(dtype, elements) ?? elements * dtypes[dtype].bytes;
  }

  /** Bytes the ledger may reach. */
  get memoryLimitBytes(): number {
    return this.#memoryLimitBytes;
  }

  /** Runs `f` with at most `bytes` in the ledger, or the limit there is where that is lower. */
  withMemoryLimit<T>(bytes: number, f: () => T): T {
    const before = this.#memoryLimitBytes;
    this.#memoryLimitBytes = Math.min(before, bytes);
    try {
      return f();
    } finally {
      this.#memoryLimitBytes = before;
    }
  }

  /**
   * Runs `f` on the tensors there are, with the kernels of a backend that computes nothing: what `f` would do to the ledger
   * is seen (by observers of it), and no value and no recorded peak changes. No limit holds. A LifetimeError where tensors
   * that `f` made are left: they have no values.
   *
   * Copies of parameters that `f` would keep for autocast are made, where there is room, and `f` is rehearsed again: as it runs once they are there.
   */
  rehearse(shapesOnly: Backend, f: () => void): void {
    const wanted = this.#rehearseOnce(shapesOnly, f);
    if (wanted.length === 0) return;
    try {
      for (const [source, dtype] of wanted) CastCopy.make(source, dtype);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return;
      throw error;
    }
    this.#rehearseOnce(shapesOnly, f);
  }

  /** The copies of parameters that it would have kept. */
  #rehearseOnce(shapesOnly: Backend, f: () => void): (readonly [Storage, DType])[] {
    const [backend, limit, ambient] = [this.#backend, this.#memoryLimitBytes, this.#ambient];
    const before = new Set(this.storages);
    const copies: (readonly [Storage, DType])[] = [];
    this.#backend = shapesOnly;
    this.#isRehearsing = true;
    this.#memoryLimitBytes = Number.POSITIVE_INFINITY;
    try {
      // The keys that the computation itself will draw.
      this.ledger.apart(() => this.withAmbient(ambient.fork(), () => this.scope(f, "rehearsal")));
    } finally {
      for (const s of [...this.storages]) {
        if (s.copyOf === undefined || before.has(s)) continue;
        copies.push([s.copyOf.source, s.dtype]);
        s.copyOf.drop();
      }
      this.#backend = backend;
      this.#isRehearsing = false;
      this.#memoryLimitBytes = limit;
    }
    const left = [...this.storages].filter((s) => !before.has(s));
    if (left.length === 0) return copies;
    throw new LifetimeError(
      "rehearse",
      `${left.length} buffers without values are left, the first of ${left[0]!.bytes} bytes (${left[0]!.category})`,
      "rehearse forward and backward passes alone: optimizer steps and tensors that are kept stay outside",
    );
  }

  /** @internal Whether nothing has values: what is written to is not changed. */
  get isRehearsing(): boolean {
    return this.#isRehearsing;
  }

  /** Live and peak bytes by category. */
  memory(): MemoryReport {
    return this.ledger.report();
  }

  /** Tensor handles that have not been disposed. */
  get liveTensors(): number {
    return this.#handles;
  }

  /** @internal */
  countHandle(change: 1 | -1): void {
    this.#handles += change;
  }

  /**
   * Runs `f` and disposes every tensor made inside, except those in its result (searched through arrays, maps and
   * plain objects) and those passed to `keep`. A promise is refused: use `openScope` in asynchronous code.
   */
  scope<T>(f: () => T, label = "scope"): T {
    const scope = this.scopes.open(label);
    let escaping: Tensor[] = [];
    try {
      const result = f();
      if (result instanceof Promise) {
        throw new ValueError(
          "scope",
          "the function is asynchronous",
          "const s = engine.openScope(); try { await … } finally { s.close() }",
        );
      }
      escaping = tensorsIn(result, isTensor);
      return result;
    } finally {
      this.scopes.close(scope, escaping);
    }
  }

  /** The explicit form of `scope` for asynchronous code. Closing it while another scope is innermost throws. */
  openScope(label = "scope"): { close(...escaping: Tensor[]): void; [Symbol.dispose](): void } {
    const scope: Scope = this.scopes.open(label);
    const close = (...escaping: Tensor[]): void => this.scopes.close(scope, escaping);
    return { close, [Symbol.dispose]: close };
  }

  /** Takes a tensor out of all scopes: it lives until `dispose`. */
  keep<T extends Tensor>(t: T): T {
    for (let s = this.scopes.top; s !== undefined; s = s.parent) s.owned.delete(t);
    return t;
  }

  /** Hands a kept tensor to the innermost scope, which disposes it like one it saw made. */
  adopt<T extends Tensor>(t: T): T {
    this.scopes.top?.owned.add(t);
    return t;
  }

  // -- gradients ----------------------------------------------------------------------------------------------------

  /** Whether ops on tracked tensors are recorded now. */
  get recordsGradients(): boolean {
    return this.#recordsGradients;
  }

  withGradients<T>(isOn: boolean, f: () => T): T {
    const before = this.#recordsGradients;
    this.#recordsGradients = isOn;
    try {
      return f();
    } finally {
      this.#recordsGradients = before;
    }
  }

  /** Runs `f` without recording. */
  noGrad<T>(f: () => T): T {
    return this.withGradients(false, f);
  }

  /** Nodes of the graph made so far; the next one has this number. */
  get nodeCount(): number {
    return this.#nodes;
  }

  /** Calls `listener` before each node of a backward pass (not of those inside one), until the returned function is called. */
  listenToBackward(listener: (nodeId: number) => void): () => void {
    this.#pullListeners.add(listener);
    return () => void this.#pullListeners.delete(listener);
  }
  /** @internal */
  notePull(nodeId: number): void {
    for (const listener of this.#pullListeners) listener(nodeId);
  }

  /** Where tensors that are saved now go; undefined: the graph keeps them. */
  get savedKeeper(): SavedKeeper | undefined {
    return this.#savedKeeper;
  }

  /** Runs `f` with the tensors that its ops save for backward put elsewhere. */
  withSavedKeeper<T>(keeper: SavedKeeper | undefined, f: () => T): T {
    const before = this.#savedKeeper;
    this.#savedKeeper = keeper;
    try {
      return f();
    } finally {
      this.#savedKeeper = before;
    }
  }

  nextNodeId(): number {
    return this.#nodes++;
  }

  /** The backward pass that is running, innermost. */
  get currentWalk(): Walk | undefined {
    return this.#walk;
  }

  withWalk<T>(walk: Walk, f: () => T): T {
    const before = this.#walk;
    this.#walk = walk;
    try {
      return f();
    } finally {
      this.#walk = before;
    }
  }

  /** A handle on the same value that continues the graph at `edge`. */
  attach(t: Tensor, edge: Edge): Tensor {
    const { layout, dtype } = t;
    return makeTensor({ engine: this, storage: t.storage.retain(), layout, dtype, edge });
  }

  /** Collects the tracked tensors that `f` uses and did not make. */
  watch<T>(f: (watcher: Watcher) => T): T {
    const watcher: Watcher = { floor: this.#nodes, captured: new Set() };
    this.#watchers.push(watcher);
    try {
      return f(watcher);
    } finally {
      this.#watchers.pop();
    }
  }

  /** @internal Told of every op's inputs by the dispatch point. */
  noteUse(inputs: readonly Tensor[]): void {
    for (const w of this.#watchers) {
      for (const t of inputs) if (t.edge !== undefined && t.edge.node.id < w.floor) w.captured.add(t);
    }
  }

  // -- ambient state ------------------------------------------------------------------------------------------------

  get ambient(): Ambient {
    return this.#ambient;
  }

  withAmbient<T>(ambient: Ambient, f: () => T): T {
    const before = this.#ambient;
    this.#ambient = ambient;
    try {
      return f();
    } finally {
      this.#ambient = before;
    }
  }

  /** Matrix products inside `f` compute on operands rounded to `dtype`; norms, softmax and losses stay in f32. */
  autocast<T>(dtype: AmbientState["autocast"], f: () => T): T {
    return this.withAmbient(this.#ambient.fork({ autocast: dtype }), f);
  }

  /** Random layers inside `f` draw their keys from `key`, one per call, counting from zero. */
  withKey<T>(key: Key, f: () => T): T {
    checkKey("withKey", key);
    return this.withAmbient(this.#ambient.fork({ key, calls: 0 }), f);
  }

  /** Like `withKey`, for a part of the computation named by `index` (a layer): folds the present key. */
  withFoldedKey<T>(index: number, f: () => T): T {
    const { key } = this.#ambient;
    return key === undefined ? f() : this.withKey(foldKey(key, index), f);
  }

  /** The key for one random call. */
  nextKey(op: string): Key {
    const key = this.#ambient.nextKey();
    if (key !== undefined) return key;
    throw new ValueError(op, "no generator key is set", "wrap the step in engine.withKey(randomKey(seed), () => …)");
  }

  /**
   * A decision that a second run must not take anew (the experts a router chose, a sort's order, where a hash put
   * something): the first run makes it and keeps it with the graph; checkpoints and reversible sequences give it back to
   * the second. Not differentiated. Where nothing runs twice it is just `make()`.
   */
  remember(make: () => Tensor): Tensor {
    const { recall } = this.#ambient;
    const value = (): Tensor => decision(make());
    return recall === undefined ? value() : recall.next(value);
  }

  /** True in code that runs a second time, to rebuild what its first run had: effects are to be left out. */
  get isReplay(): boolean {
    return this.#ambient.isReplay;
  }

  /** Runs `f` as code that has run before. */
  asReplay<T>(f: () => T, recall?: Recall): T {
    return this.withAmbient(this.#ambient.fork({ isReplay: true, recall }), f);
  }

  /** Runs `f` with its decisions kept in `recall`. */
  withRecall<T>(recall: Recall | undefined, f: () => T): T {
    const ambient = this.#ambient;
    const before = ambient.recall;
    ambient.recall = recall;
    try {
      return f();
    } finally {
      ambient.recall = before;
    }
  }

  inModule<T>(name: string, f: () => T): T {
    this.modulePath.push(name);
    try {
      return f();
    } finally {
      this.modulePath.pop();
    }
  }

  /** @internal Runs `f`, part of a backward pass, in the place of what it is the gradient of. */
  atModulePath<T>(path: readonly string[], f: () => T): T {
    const before = this.modulePath.splice(0, this.modulePath.length, ...path);
    try {
      return f();
    } finally {
      this.modulePath.splice(0, this.modulePath.length, ...before);
    }
  }

  /** @internal The module path for a node of the graph to keep: while nobody listens, none. */
  tracedPath(): readonly string[] | undefined {
    return this.trace.isOn ? [...this.modulePath] : undefined;
  }
}

let isTensor: (v: unknown) => v is Tensor = (_): _ is Tensor => false;
/** @internal Filled by tensor.ts, as `linkTensor`. */
export function linkIsTensor(test: (v: unknown) => v is Tensor): void {
  isTensor = test;
}
