import {
  DTypeError,
  describe,
  type Engine,
  hostValues,
  LifetimeError,
  ShapeError,
  sameShape,
  type Tensor,
  ValueError,
} from "@revnet-zero/tensor";

/** Options every optimizer has. */
export interface OptimizerOptions {
  /** Size of a step. `step({ learningRate })` replaces it. */
  readonly learningRate: number;
  /** Factor on the learning rate: how groups differ under one schedule. Default 1. */
  readonly learningRateScale: number;
}

/** Parameters with options of their own; options left out are the optimizer's. */
export type GroupInput<O> = Partial<O> & { readonly parameters: Iterable<Tensor> };

export interface ParameterGroup<O> {
  readonly parameters: readonly Tensor[];
  readonly options: O;
}

export interface StepOptions {
  /**
   * Learning rate of this step, usually a schedule's. Default: the optimizer's own. In a recorded step (`compile`) a function, which
   * is asked at every call: `() => schedule(optimizer.stepCount)`.
   */
  readonly learningRate?: number | (() => number);
  /**
   * Scalar f32 factor on all gradients, which stays on the device: what `clipByGlobalNorm` gives. One that is not finite leaves
   * parameters and state as they are; whoever sees that (by the norm) says so with `takeBack`.
   */
  readonly gradientFactor?: Tensor;
}

type Given = { readonly [K in keyof StepOptions]-?: StepOptions[K] | undefined };

/** Everything an optimizer must be given back to continue bit for bit. */
export interface OptimizerState {
  readonly algorithm: string;
  /** Steps taken. */
  readonly step: number;
  /** Updates each parameter has had: fewer than `step` where it had no gradient. */
  readonly updates: Readonly<Record<string, number>>;
  /** `slot/parameter` to tensor: the tensors themselves, not copies. */
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** The tensors an algorithm keeps for one parameter, by name. */
export type Slots = Readonly<Record<string, Tensor>>;

/** One parameter in one step. */
export interface Update {
  readonly parameter: Tensor;
  readonly gradient: Tensor;
  readonly slots: Slots;
}

/** What an update's numbers follow from. */
export interface UpdateCount {
  /** 1 for a parameter's first update. */
  readonly count: number;
  /** With the group's scale. */
  readonly learningRate: number;
  /** Whether the learning rate was given to `step` (a schedule's), rather than being the optimizer's own. */
  readonly isScheduled: boolean;
}

export interface StepContext {
  readonly engine: Engine;
  /** The numbers of `schedule`, in a tensor: what changes from step to step, so that a recorded step is like every other. */
  readonly schedule: Tensor;
  readonly gradientFactor: Tensor | undefined;
}

/** Parameters of one group that have had as many updates: the same numbers serve all. */
interface Batch<O> {
  readonly options: O;
  readonly updates: readonly Update[];
}

interface Held {
  readonly slots: Slots;
  count: number;
}

/**
 * Updates parameters in place from their gradients. Runs unrecorded in a scope of its own; what lives on between steps
 * is the state, counted as `optimizer`, made for a parameter at its first gradient.
 *
 * ```ts
 * import { AdamW, clipByGlobalNorm, defaultEngine, schedules, tensor } from "revnet-zero";
 *
 * const w = tensor([4, -3]).requireGrad();
 * const optimizer = new AdamW([w], { weightDecay: 0 });
 * const schedule = schedules.cosine({ from: 0.2, to: 0, steps: 100 });
 * for (let step = 0; step < 100; step++) {
 *   defaultEngine().scope(() => {
 *     w.square().sum().backward();
 *     const { factor } = clipByGlobalNorm([w], 1);
 *     optimizer.step({ learningRate: schedule(step), gradientFactor: factor });
 *     optimizer.zeroGrad();
 *   });
 * }
 * const length = await w.square().sum().item();
 * length < 0.001; // => true
 * ```
 */
export abstract class Optimizer<O extends OptimizerOptions> {
  readonly groups: readonly ParameterGroup<O>[];
  readonly #held = new Map<Tensor, Held>();
  readonly #options: O;
  #step = 0;
  /** Whose updates the last step counted; undefined where there is none to take back. */
  #counted: readonly Held[] | undefined;
  #isStepBegun = false;
  #isDisposed = false;

  /** Plain parameters, or groups of them with options of their own. */
  constructor(parameters: Iterable<Tensor> | readonly GroupInput<O>[], options: O) {
    this.#options = options;
    this.groups = groupsOf(this.constructor.name, parameters, options);
    for (const group of this.groups) this.checkOptions(group.options);
  }

  /** Throws when an option is out of range. */
  protected abstract checkOptions(options: O): void;
  /** Zeros (or whatever the state starts as) for one parameter. */
  protected abstract makeSlots(parameter: Tensor, options: O): Slots;
  /** How many numbers `schedule` gives. */
  protected abstract readonly scheduleSize: number;
  /** The numbers that change from step to step, for parameters at the same count. */
  protected abstract schedule(at: UpdateCount, options: O): readonly number[];
  /** Applies the algorithm to parameters of one group that have gradients and the same count. */
  protected abstract update(updates: readonly Update[], options: O, context: StepContext): void;

  /** Steps taken so far. */
  get stepCount(): number {
    return this.#step;
  }

  /** The learning rate of steps that are not given one, before the groups' scales. */
  get learningRate(): number {
    return this.#options.learningRate;
  }

  get parameters(): Tensor[] {
    return this.groups.flatMap((g) => g.parameters);
  }

  /** Updates every parameter that has a gradient. Gradients stay; `zeroGrad` frees them. */
  step({ learningRate, gradientFactor }: StepOptions = {}): void {
    if (gradientFactor !== undefined && this.#isStepBegun) {
      throw new ValueError(
        `${this.constructor.name}.step`,
        "a factor for all gradients came after some parameters had been updated in backward",
        "clip nothing, or update all parameters here",
      );
    }
    this.#apply(this.parameters, { learningRate, gradientFactor, isWhole: true });
    this.#isStepBegun = false;
  }

  /** Does not count the last step: its factor was not finite, so it changed nothing. */
  takeBack(): void {
    if (this.#counted === undefined)
      throw new ValueError(`${this.constructor.name}.takeBack`, "there is no step to take back", "once, after step()");
    for (const held of this.#counted) held.count--;
    this.#step--;
    this.#counted = undefined;
  }

  /**
   * Updates these parameters ahead of the others of the step that `step` will end (an update inside of backward). Its
   * caller frees their gradients, so that they are not used twice.
   */
  updateNow(parameters: readonly Tensor[], { learningRate }: Pick<StepOptions, "learningRate"> = {}): void {
    this.#apply(parameters, { learningRate, gradientFactor: undefined, isWhole: false });
    this.#isStepBegun = true;
  }

  #apply(
    parameters: readonly Tensor[],
    { learningRate, gradientFactor, isWhole }: Given & { readonly isWhole: boolean },
  ): void {
    this.#assertAlive();
    const { engine } = this.parameters[0]!;
    if (typeof learningRate === "number")
      engine.noteHostEffect(
        `${this.constructor.name} is given a learning rate that is a number: let it be a function, learningRate: () => …`,
      );
    engine.scope(() => {
      engine.noGrad(() => {
        const batches = this.#batchesOf(new Set(parameters));
        const isWide = batches.some(({ updates }) => updates.some((u) => u.parameter.dtype === "f64"));
        const schedules = hostValues(() => this.#count(batches, learningRate, isWhole), {
          shape: [batches.length, this.scheduleSize],
          dtype: isWide ? "f64" : "f32",
          engine,
        });
        batches.forEach(({ updates, options }, i) => {
          const schedule = schedules.narrow(0, i, 1).reshape([this.scheduleSize]);
          this.update(updates, options, { engine, schedule, gradientFactor });
        });
      });
    }, `${this.constructor.name}.step`);
  }

  /** The updates of parameters that have a gradient. */
  #batchesOf(wanted: ReadonlySet<Tensor>): Batch<O>[] {
    return this.groups.flatMap(({ parameters, options }) => {
      const byCount = new Map<number, Update[]>();
      for (const p of parameters) {
        const { grad } = p;
        if (grad === undefined || !wanted.has(p)) continue;
        const { slots, count } = this.#heldOf(p, grad, options);
        if (!byCount.has(count)) byCount.set(count, []);
        byCount.get(count)!.push({ parameter: p, gradient: grad, slots });
      }
      return [...byCount.values()].map((updates) => ({ options, updates }));
    });
  }

  /** Counts an update of every parameter, and a step; the numbers of that for each batch, one after the other. */
  #count(batches: readonly Batch<O>[], given: StepOptions["learningRate"], isWhole: boolean): number[] {
    const learningRate = typeof given === "function" ? given() : given;
    if (learningRate !== undefined) checkNonNegative(this.constructor.name, { learningRate });
    const held = batches.map(({ updates }) => updates.map((u) => this.#held.get(u.parameter)!));
    const numbers = batches.flatMap(({ options }, i) => {
      const [first, ...others] = held[i]!;
      const count = first!.count + 1;
      if (others.some((h) => h.count + 1 !== count))
        throw new ValueError(
          `${this.constructor.name}.step`,
          "parameters that had as many updates when the step was recorded have not any more",
          "dispose() the recording after other steps of some of its parameters",
        );
      const rate = (learningRate ?? options.learningRate) * options.learningRateScale;
      return this.schedule({ count, learningRate: rate, isScheduled: learningRate !== undefined }, options);
    });
    const counted = held.flat();
    for (const h of counted) h.count++;
    if (isWhole) this.#step++;
    this.#counted = isWhole ? counted : undefined;
    return numbers;
  }

  #heldOf(parameter: Tensor, gradient: Tensor, options: O): Held {
    if (!sameShape(gradient.shape, parameter.shape)) {
      throw new ShapeError(
        `${this.constructor.name}.step`,
        `gradient ${describe(gradient)} does not fit parameter ${parameter.name ?? ""} ${describe(parameter)}`,
        "let backward fill .grad",
      );
    }
    return this.#held.get(parameter) ?? this.#hold(parameter, this.makeSlots(parameter, options), 0);
  }

  #hold(parameter: Tensor, slots: Slots, count: number): Held {
    for (const t of Object.values(slots)) {
      t.storage.category = "optimizer";
      t.engine.keep(t);
    }
    const held = { slots, count };
    this.#held.set(parameter, held);
    return held;
  }

  /** Disposes the gradients of all parameters. */
  zeroGrad(): void {
    for (const p of this.parameters) {
      p.grad?.dispose();
      p.grad = undefined;
    }
  }

  /** Counters and state tensors, under the parameters' names (their places where they have none). */
  stateDict(): OptimizerState {
    const updates: Record<string, number> = {};
    const tensors = new Map<string, Tensor>();
    for (const [key, parameter] of this.#keys()) {
      const held = this.#held.get(parameter);
      if (held === undefined) continue;
      updates[key] = held.count;
      for (const [slot, t] of Object.entries(held.slots)) tensors.set(`${slot}/${key}`, t);
    }
    return { algorithm: this.constructor.name, step: this.#step, updates, tensors };
  }

  /** Takes over a state (its values are copied): the next step is bit for bit the one the saved optimizer would do. */
  loadStateDict(state: OptimizerState): void {
    this.#assertAlive();
    const keys = this.#keys();
    const fresh = this.#slotsFor(keys, state);
    for (const { slots } of this.#held.values()) for (const t of Object.values(slots)) t.dispose();
    this.#held.clear();
    for (const [key, slots] of fresh) this.#hold(keys.get(key)!, slots, state.updates[key]!);
    this.#step = state.step;
    this.#counted = undefined;
  }

  /** Copies of the state's tensors for each parameter; throws, with everything that is wrong, when it does not fit. */
  #slotsFor(keys: ReadonlyMap<string, Tensor>, state: OptimizerState): Map<string, Slots> {
    const name = this.constructor.name;
    const problems = Object.keys(state.updates).flatMap((key) => (keys.has(key) ? [] : [`unexpected: ${key}`]));
    if (state.algorithm !== name) problems.unshift(`it was saved by ${state.algorithm}`);
    const found = new Map<string, Slots>();
    for (const { parameters, options } of this.groups) {
      for (const parameter of parameters) {
        const key = keyOf(keys, parameter);
        if (state.updates[key] === undefined) continue;
        found.set(key, this.#slotsOf(parameter, key, options, state, problems));
      }
    }
    if (problems.length === 0) return found;
    for (const slots of found.values()) for (const t of Object.values(slots)) t.dispose();
    throw new ValueError(
      "loadStateDict",
      `the state does not fit ${name}:\n    ${problems.join("\n    ")}`,
      "build optimizer and model with the configuration the state was saved with",
    );
  }

  #slotsOf(parameter: Tensor, key: string, options: O, state: OptimizerState, problems: string[]): Slots {
    const { engine } = parameter;
    return engine.scope(() =>
      engine.noGrad(() => {
        const slots = this.makeSlots(parameter, options);
        for (const [slot, t] of Object.entries(slots)) {
          const name = `${slot}/${key}`;
          const value = state.tensors.get(name);
          if (value === undefined) problems.push(`missing: ${name} ${describe(t)}`);
          else if (!sameShape(value.shape, t.shape) || value.dtype !== t.dtype)
            problems.push(`mismatched: ${name} is ${describe(t)} here and ${describe(value)} in the state`);
          else t.assign(value).dispose();
          engine.keep(t);
        }
        return slots;
      }),
    );
  }

  /** Parameters by name; all by place when names are missing or not distinct. */
  #keys(): Map<string, Tensor> {
    const { parameters } = this;
    const names = new Set(parameters.flatMap((p) => (p.name === undefined ? [] : [p.name])));
    const isNamed = names.size === parameters.length;
    return new Map(parameters.map((p, i) => [isNamed ? p.name! : String(i), p]));
  }

  /** Frees the state. Parameters and gradients are left alone. */
  dispose(): void {
    this.#isDisposed = true;
    for (const { slots } of this.#held.values()) for (const t of Object.values(slots)) t.dispose();
    this.#held.clear();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  #assertAlive(): void {
    if (this.#isDisposed)
      throw new LifetimeError(this.constructor.name, "used after dispose()", "make a new optimizer");
  }
}

function keyOf(keys: ReadonlyMap<string, Tensor>, parameter: Tensor): string {
  for (const [key, p] of keys) if (p === parameter) return key;
  throw new Error("a parameter without a key");
}

function groupsOf<O>(
  name: string,
  parameters: Iterable<Tensor> | readonly GroupInput<O>[],
  options: O,
): ParameterGroup<O>[] {
  const list = [...parameters];
  const isGrouped = list.length > 0 && list.every((p) => "parameters" in p);
  const inputs: readonly { readonly parameters: Iterable<Tensor> }[] = isGrouped
    ? (list as GroupInput<O>[])
    : [{ parameters: list as Tensor[] }];
  const seen = new Set<Tensor>();
  const groups = inputs.map(({ parameters: own, ...changes }) => {
    const distinct = [...own];
    for (const p of distinct) {
      if (seen.has(p))
        throw new ValueError(
          name,
          `parameter ${p.name ?? ""} ${describe(p)} is given twice`,
          "give each parameter once",
        );
      seen.add(p);
      if (p.dtype !== "f32" && p.dtype !== "f64") {
        throw new DTypeError(
          name,
          `parameter ${p.name ?? ""} ${describe(p)} is too coarse to be trained: most steps would round to nothing`,
          'keep parameters in f32; engine.autocast("bf16", () => …) computes with their 16-bit values',
        );
      }
    }
    return { parameters: distinct, options: { ...options, ...changes } };
  });
  if (seen.size === 0) throw new ValueError(name, "no parameters were given", "pass model.parameters()");
  return groups;
}

/** Throws unless every named option is a finite number of at least 0. */
export function checkNonNegative(name: string, values: Readonly<Record<string, number>>): void {
  for (const [option, value] of Object.entries(values)) {
    if (Number.isFinite(value) && value >= 0) continue;
    throw new ValueError(name, `${option} is ${value}`, `${option} is a finite number of at least 0`);
  }
}

/** Throws unless every named option is in [0, 1): a decay of a running mean. */
export function checkDecay(name: string, values: Readonly<Record<string, number>>): void {
  for (const [option, value] of Object.entries(values)) {
    if (value >= 0 && value < 1) continue;
    throw new ValueError(name, `${option} is ${value}`, `${option} is in [0, 1)`);
  }
}
