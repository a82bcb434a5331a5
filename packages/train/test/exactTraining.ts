import { CpuBackend } from "@revnet-zero/backend-cpu";
import { ReversibleTransformer } from "@revnet-zero/models";
import { AdamW } from "@revnet-zero/optim";
import type { ReversibleMode } from "@revnet-zero/reversible";
import { Engine, expectNoLeak, foldKey, type HostData, randomKey, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, Random } from "@revnet-zero/testkit";

export interface Training {
  readonly losses: readonly number[];
  /** Every weight and every moment of the optimizer, by name. */
  readonly state: ReadonlyMap<string, HostData>;
}

export interface Setting {
  readonly backend?: CpuBackend;
  readonly dModel?: number;
  readonly batch?: number;
  readonly time?: number;
}

/** Trains a transformer of two layers with dropout 0.1 and tied embeddings on a sequence that counts, with AdamW. */
export function train(mode: ReversibleMode, steps: number, seed = 1, setting: Setting = {}): Training {
  const { backend = new CpuBackend(), dModel = 16, batch = 2, time = 8 } = setting;
  const engine = new Engine(backend);
  const vocabSize = 16;
  const model = new ReversibleTransformer({
    vocabSize,
    numLayers: 2,
    dModel,
    numHeads: 2,
    maxSeqLen: time,
    dropout: 0.1,
    reversibility: mode,
    key: randomKey(seed),
    engine,
  });
  const optimizer = new AdamW(model.parameters(), { learningRate: 3e-3 });
  const random = new Random(seed);
  const losses: number[] = [];
  const step = (number: number): void => {
    const starts = Array.from({ length: batch }, () => random.integer(0, vocabSize - 1));
    const tokens = (offset: number): Int32Array =>
      Int32Array.from(
        { length: batch * time },
        (_, i) => (starts[Math.floor(i / time)]! + (i % time) + offset) % vocabSize,
      );
    engine.scope(() => {
      const [input, target] = [0, 1].map((offset) => tensor(tokens(offset), { shape: [batch, time], engine }));
      const loss = engine.withKey(foldKey(randomKey(seed), number), () => model.loss(input!, target!));
      loss.backward();
      losses.push(loss.dataSync()[0]!);
      optimizer.step();
      optimizer.zeroGrad();
    });
  };
  step(0);
  // The first step makes the optimizer's state; the others leave nothing behind.
  for (let i = 1; i < steps; i++) expectNoLeak(engine, () => step(i));
  const tensors = [...model.stateDict(), ...optimizer.stateDict().tensors];
  return { losses, state: new Map(tensors.map(([name, t]) => [name, t.dataSync().slice() as HostData])) };
}

/** Trains in the modes of the exact function; fails where a bit differs. Returns what `store` gave. */
export function expectSameTraining(steps: number): Training {
  const stored = train("store", steps);
  for (const mode of ["exact", "checkpoint"] as const) {
    const { losses, state } = train(mode, steps);
    expectBitEqual(Float64Array.from(losses), Float64Array.from(stored.losses), `losses of ${mode}`);
    for (const [name, values] of stored.state) expectBitEqual(state.get(name)!, values, `${mode}: ${name}`);
  }
  return stored;
}
