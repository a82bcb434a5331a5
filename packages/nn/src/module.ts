import {
  AutogradError,
  defaultEngine,
  describe,
  type Engine,
  isContiguous,
  LifetimeError,
  Tensor,
  ValueError,
} from "@revnet-zero/tensor";
import { loadTensors } from "./loadTensors.ts";

type Role = "parameter" | "buffer" | "temporary buffer";

/** What tensors in module fields are for. Kept beside the tensors, so that a tied parameter is one in every module. */
const roles = new WeakMap<Tensor, Role>();

/** Runs a function with the `training` flags that were captured, then puts the present ones back. */
export type WithModes = <T>(f: () => T) => T;

export interface LoadOptions {
  /** Refuse missing and unexpected names. Default true; shapes and dtypes must always match. */
  readonly strict?: boolean;
}

/**
 * A part of a model: parameters, buffers and other modules in plain fields (also inside arrays and plain objects;
 * `#private` fields are not searched), and a `forward` that computes with them. Run it with `call`.
 *
 * ```ts
 * import { Linear, Module, randomKey, type Tensor, zeros } from "revnet-zero";
 *
 * class Net extends Module {
 *   readonly first = new Linear({ in: 3, out: 8, activation: "gelu", key: randomKey(1) });
 *   readonly second = new Linear({ in: 8, out: 2, bias: false, key: randomKey(2) });
 *
 *   override forward(x: Tensor): Tensor {
 *     return this.second.call(this.first.call(x));
 *   }
 * }
 * const net = new Net();
 * [...net.namedParameters().keys()]; // => [ 'first.weight', 'first.bias', 'second.weight' ]
 * net.call(zeros([4, 3])).shape; // => [ 4, 2 ]
 * ```
 */
export abstract class Module {
  /** Whether layers that differ in training (dropout) behave as in training. Set by `train` and `eval`. */
  training = true;
  /** Path in the outermost module; undefined until that has named its parts. */
  #path: string | undefined;
  /** The last part of the path: the field of the module around this one. */
  #field: string | undefined;
  #isDisposed = false;

  /** The computation. Subclasses write it; callers use `call`, which frees its temporaries. */
  // biome-ignore lint/suspicious/noExplicitAny: every subclass has its own signature, which `call` takes over.
  abstract forward(...inputs: any[]): any;

  /** Runs `forward` in a scope of its own: of what it makes, only tensors in its result (arrays, maps, objects) live. */
  call(...inputs: Parameters<this["forward"]>): ReturnType<this["forward"]> {
    return this.within(engineOf(inputs), () => this.forward(...inputs));
  }

  /** Runs a part of the computation as `call` runs the whole: in a scope of its own, under this module's name. */
  protected within<T>(engine: Engine | undefined, f: () => T): T {
    if (this.#isDisposed) {
      throw new LifetimeError(this.#label, "called after dispose()", "make a new module, or dispose it later");
    }
    const on = engine ?? this.engine;
    // The outermost module names the tree, so that errors and reports can say paths.
    if (this.#path === undefined && on.modulePath.length === 0) this.finalizeNames();
    // Inside another module the field will do; code that runs again in backward is outside of all.
    const name = on.modulePath.length === 0 ? this.#label : (this.#field ?? this.#label);
    return on.inModule(name, () => on.scope(f, this.#label));
  }

  /** The engine of this module's tensors; the default engine when it has none. */
  get engine(): Engine {
    return this.#walk().tensors[0]?.[1].engine ?? defaultEngine();
  }

  get #label(): string {
    return this.#path ?? this.constructor.name;
  }

  // -- registration -------------------------------------------------------------------------------------------------

  /**
   * Makes a tensor a parameter: a leaf that gradients reach, outside of all scopes, counted as `parameters`.
   * `this.weight = this.parameter(t)`. A tensor that is one already is tied: listed once, under its first path.
   */
  protected parameter(tensor: Tensor): Tensor {
    if (roles.get(tensor) === "parameter") return tensor;
    if (tensor.edge !== undefined && tensor.edge.node.name !== "leaf") {
      throw new AutogradError(
        this.constructor.name,
        `parameter ${describe(tensor)} is the result of a recorded computation`,
        "make it inside engine.noGrad(() => …), or detach().clone() it",
      );
    }
    return this.#own(tensor, "parameter").requireGrad();
  }

  /**
   * Makes a tensor a buffer: state without gradient that is saved with the parameters (not saved when
   * `isPersistent` is false).
   */
  protected buffer(tensor: Tensor, { isPersistent = true }: { readonly isPersistent?: boolean } = {}): Tensor {
    return this.#own(tensor, isPersistent ? "buffer" : "temporary buffer");
  }

  #own(tensor: Tensor, role: Role): Tensor {
    const { layout, storage } = tensor;
    if (!isContiguous(layout) || layout.offset !== 0 || storage.references > 1) {
      throw new ValueError(
        this.constructor.name,
        `${role} ${describe(tensor)} shares its memory with another tensor`,
        "clone() it first: parameters and buffers are written in place",
      );
    }
    roles.set(tensor, role);
    storage.category = "parameters";
    return tensor.engine.keep(tensor);
  }

  // -- the tree -----------------------------------------------------------------------------------------------------

  /** This module and those inside it, by dotted path (`""` is this one), depth first in field order, each once. */
  namedModules(): Map<string, Module> {
    return new Map(this.#walk().modules.map(([path, { module }]) => [path, module]));
  }

  /** Parameters by dotted path; a tied one once, under its first path. */
  namedParameters(): Map<string, Tensor> {
    return this.#named("parameter");
  }
  parameters(): Tensor[] {
    return [...this.namedParameters().values()];
  }
  /** Buffers by dotted path. */
  namedBuffers(): Map<string, Tensor> {
    return this.#named("buffer", "temporary buffer");
  }

  /** Elements of all parameters, tied ones counted once. */
  parameterCount(): number {
    return this.parameters().reduce((n, p) => n + p.size, 0);
  }

  /**
   * Gives every part its path as seen from this module, as the `name` of tensors and for error messages. Called by
   * itself the first time a root is run or listed; call it again after adding modules.
   */
  finalizeNames(): void {
    const { modules, tensors } = this.#walk();
    this.#path ??= this.constructor.name;
    for (const [path, { module, field }] of modules) {
      if (path === "") continue;
      module.#path = path;
      module.#field = field;
    }
    for (const [path, tensor] of tensors) tensor.name = path;
  }

  #named(...wanted: Role[]): Map<string, Tensor> {
    if (this.#path === undefined) this.finalizeNames();
    return new Map([...this.#walk().tensors].filter(([, t]) => wanted.includes(roles.get(t)!)));
  }

  #walk(): Tree {
    const modules: [string, { readonly module: Module; readonly field: string }][] = [];
    const tensors = new Map<Tensor, string>();
    const visited = new Set<Module>();
    const visit = (module: Module, path: string, field: string): void => {
      if (visited.has(module)) return;
      visited.add(module);
      modules.push([path, { module, field }]);
      const parts = partsOf(module);
      const inside = (key: string): string => (path === "" ? key : `${path}.${key}`);
      for (const { key, tensor } of parts.tensors) {
        if (!roles.has(tensor)) throw unregistered(module, inside(key), tensor);
        if (!tensors.has(tensor)) tensors.set(tensor, inside(key));
      }
      for (const part of parts.modules) visit(part.module, inside(part.key), part.key);
    };
    visit(this, "", "");
    return { modules, tensors: [...tensors].map(([tensor, path]) => [path, tensor]) };
  }

  // -- modes --------------------------------------------------------------------------------------------------------

  /** Sets the `training` flag here and in every module inside. */
  train(isTraining = true): this {
    for (const module of this.namedModules().values()) module.training = isTraining;
    return this;
  }
  eval(): this {
    return this.train(false);
  }

  /** Runs a function in eval mode; then every module has the flag it had before, whichever that was. */
  inEval<T>(f: () => T): T {
    const before = [...this.namedModules().values()].map((module) => ({ module, training: module.training }));
    this.eval();
    try {
      return f();
    } finally {
      for (const { module, training } of before) module.training = training;
    }
  }

  /**
   * The `training` flags of the whole tree as they are now: code that runs again in backward passes itself to the
   * result, and finds the flags of the first run.
   */
  captureModes(): WithModes {
    const captured = [...this.namedModules().values()].map((module) => ({ module, training: module.training }));
    return (f) => {
      const before = captured.map(({ module }) => module.training);
      for (const { module, training } of captured) module.training = training;
      try {
        return f();
      } finally {
        captured.forEach(({ module }, i) => {
          module.training = before[i]!;
        });
      }
    };
  }

  /** Whether gradients reach the parameters: false freezes them, and nothing is recorded on their account. */
  requireGrad(isOn = true): this {
    for (const p of this.parameters()) p.requireGrad(isOn);
    return this;
  }

  /** Disposes the gradients of all parameters. */
  zeroGrad(): void {
    for (const p of this.parameters()) {
      p.grad?.dispose();
      p.grad = undefined;
    }
  }

  // -- state --------------------------------------------------------------------------------------------------------

  /** Parameters and persistent buffers by dotted path: the tensors themselves, not copies. */
  stateDict(): Map<string, Tensor> {
    return this.#named("parameter", "buffer");
  }

  /** Overwrites parameters and persistent buffers with values of the same names; all are checked before one is written. */
  loadStateDict(state: ReadonlyMap<string, Tensor>, { strict = true }: LoadOptions = {}): void {
    loadTensors(this.constructor.name, this.stateDict(), state, strict);
  }

  /**
   * Frees parameters, their gradients, and buffers, tied ones included, here and in every module inside. Calling one
   * of them afterwards is an error. A subclass that owns more frees it in its own `dispose` and calls this one.
   */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    const { tensors, modules } = partsOf(this);
    for (const { tensor } of tensors) tensor.dispose();
    for (const { module } of modules) module.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** By path from the module the walk began at. */
interface Tree {
  readonly modules: readonly (readonly [string, { readonly module: Module; readonly field: string }])[];
  readonly tensors: readonly (readonly [string, Tensor])[];
}

interface Parts {
  readonly tensors: { readonly key: string; readonly tensor: Tensor }[];
  readonly modules: { readonly key: string; readonly module: Module }[];
}

/** Tensors and modules in the fields of a module, through arrays and plain objects. */
function partsOf(module: Module): Parts {
  const parts: Parts = { tensors: [], modules: [] };
  const search = (value: unknown, key: string): void => {
    if (value instanceof Tensor) parts.tensors.push({ key, tensor: value });
    else if (value instanceof Module) parts.modules.push({ key, module: value });
    else if (isContainer(value)) for (const [k, v] of Object.entries(value)) search(v, `${key}.${k}`);
  };
  for (const [key, value] of Object.entries(module)) search(value, key);
  return parts;
}

function isContainer(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return true;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function engineOf(inputs: readonly unknown[]): Engine | undefined {
  for (const x of inputs) if (x instanceof Tensor) return x.engine;
  return undefined;
}

function unregistered(module: Module, path: string, tensor: Tensor): ValueError {
  return new ValueError(
    module.constructor.name,
    `field ${path} holds ${describe(tensor)}, which is neither parameter nor buffer`,
    "this.x = this.parameter(t) or this.buffer(t); a #private field is left alone",
  );
}
