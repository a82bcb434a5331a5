import { Linear, Module } from "@revnet-zero/nn";
import { AdamW } from "@revnet-zero/optim";
import { Engine, foldKey, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import type { Arm } from "./arms.ts";
import type { Guess } from "./onlineTimes.ts";
import type { ArmTime } from "./timeModel.ts";

export interface TimeNetworkOptions {
  /** Whose backend the network is trained on, on an engine of its own: its bytes are no part of the model's. */
  readonly engine: Engine;
  /** Default 1. */
  readonly seed?: number;
}

/** What a network has learned, for another run on this machine. */
export interface TimeNetworkState {
  readonly version: 1;
  readonly features: number;
  readonly isTrained: boolean;
  readonly parameters: readonly (readonly number[])[];
}

const policies = ["store", "checkpoint", "reconstruct", "anchor", "offload", "swap", "fixed"];
const HIDDEN = 16;
/** Observations that are learned from, the last ones. */
const MEMORY = 384;
const STEPS_PER_OBSERVATION = 6;
const FIRST_STEPS = 60;

/** Logarithms of operations, bytes and number of ops, their ratios (what a shape does to a kernel), direction, and policy. */
export function featuresOf({ work: { flops, bytes, ops }, pass, policy }: Arm): number[] {
  const [f, b, o] = [Math.log1p(flops) / 20, Math.log1p(bytes) / 20, Math.log1p(ops) / 5];
  const intensity = Math.log((flops + 1) / (bytes + 1)) / 5;
  // Segments are run again, like checkpoints.
  const kind = policy.startsWith("segments") ? "checkpoint" : policy;
  const perOp = Math.log((bytes + 1) / (ops + 1)) / 15;
  return [f, b, o, intensity, perOp, pass === "forward" ? 0 : 1, ...policies.map((p) => (p === kind ? 1 : 0))];
}
const NUM_FEATURES = 6 + policies.length;

class Net extends Module {
  readonly up: Linear;
  readonly down: Linear;

  constructor(engine: Engine, seed: number) {
    super();
    const key = randomKey(seed);
    this.up = new Linear({ in: NUM_FEATURES, out: HIDDEN, key: foldKey(key, 0), engine });
    this.down = new Linear({ in: HIDDEN, out: 1, key: foldKey(key, 1), engine });
  }

  /** [arms, features] -> [arms, 1] */
  override forward(x: Tensor): Tensor {
    return this.down.call(this.up.call(x).tanh());
  }
}

/**
 * A small network, built and trained on the engine: the logarithm of an arm's time over its prior, from the arm's features. Trained after
 * every step on the last observations, with AdamW on a mean of |error| that is smooth near zero (times have outliers).
 */
export class TimeNetwork implements Guess {
  readonly #engine: Engine;
  readonly #net: Net;
  readonly #optimizer: AdamW;
  readonly #memory: { readonly features: readonly number[]; readonly target: number }[] = [];
  #arms: readonly Arm[] = [];
  #predictions = new Map<Arm, number>();
  #isTrained = false;
  /** The mean of the targets when the first were seen: the network is to learn what is left. */
  #bias = 0;

  constructor({ engine, seed = 1 }: TimeNetworkOptions) {
    this.#engine = new Engine(engine.backend);
    this.#net = new Net(this.#engine, seed);
    this.#optimizer = new AdamW(this.#net.parameters(), { learningRate: 0.01, weightDecay: 0.001 });
  }

  prepare(arms: readonly Arm[]): void {
    this.#arms = arms;
    this.#predict();
  }

  logMs(arm: Arm): number {
    return Math.log(arm.priorMs) + (this.#predictions.get(arm) ?? this.#bias);
  }

  observe(times: readonly ArmTime[]): void {
    for (const { arm, ms } of times) {
      this.#memory.push({ features: featuresOf(arm), target: Math.log(Math.max(ms, 1e-4) / arm.priorMs) });
    }
    this.#memory.splice(0, Math.max(0, this.#memory.length - Math.max(MEMORY, times.length)));
    const isFirst = !this.#isTrained;
    if (isFirst) this.#bias = this.#memory.reduce((sum, { target }) => sum + target, 0) / this.#memory.length;
    this.#isTrained = true;
    this.#train(isFirst ? FIRST_STEPS : STEPS_PER_OBSERVATION);
    this.#predict();
  }

  #train(steps: number): void {
    const engine = this.#engine;
    engine.scope(() => {
      const x = this.#matrix(this.#memory.map(({ features }) => features));
      const y = tensor(
        Float32Array.from(this.#memory, ({ target }) => target - this.#bias),
        { engine },
      ).reshape([-1, 1]);
      for (let i = 0; i < steps; i++) {
        engine.scope(() => {
          const error = this.#net.call(x).sub(y);
          error.square().add(1e-4).sqrt().mean().backward();
          this.#optimizer.step();
          this.#optimizer.zeroGrad();
        });
      }
    });
  }

  #predict(): void {
    if (!this.#isTrained || this.#arms.length === 0) return;
    const engine = this.#engine;
    const found = engine.scope(() =>
      engine.noGrad(() => this.#net.call(this.#matrix(this.#arms.map(featuresOf))).dataSync()),
    );
    this.#predictions = new Map(this.#arms.map((arm, i) => [arm, this.#bias + Number(found[i])]));
  }

  #matrix(rows: readonly (readonly number[])[]): Tensor {
    return tensor(Float32Array.from(rows.flat()), { shape: [rows.length, NUM_FEATURES], engine: this.#engine });
  }

  save(): TimeNetworkState {
    const parameters = this.#net.parameters().map((p) => Array.from(p.dataSync(), Number));
    return {
      version: 1,
      features: NUM_FEATURES,
      isTrained: this.#isTrained,
      parameters: [...parameters, [this.#bias]],
    };
  }

  /** Takes over what another network learned; what another version of this program learned is left alone, and false is returned. */
  load(state: TimeNetworkState): boolean {
    const own = this.#net.parameters();
    const fits =
      state.version === 1 &&
      state.features === NUM_FEATURES &&
      state.parameters.length === own.length + 1 &&
      own.every((p, i) => state.parameters[i]!.length === p.size) &&
      state.parameters.flat().every(Number.isFinite);
    if (!fits) return false;
    this.#engine.scope(() =>
      own.forEach((p, i) => {
        const values = Float32Array.from(state.parameters[i]!);
        this.#engine.noGrad(() => p.assign(tensor(values, { shape: p.shape, engine: this.#engine })));
      }),
    );
    this.#bias = state.parameters.at(-1)![0]!;
    this.#isTrained = state.isTrained;
    this.#predict();
    return true;
  }

  dispose(): void {
    this.#net.dispose();
    this.#optimizer.dispose();
  }
}
