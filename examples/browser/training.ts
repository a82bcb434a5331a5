import { ReversibleTransformer } from "@revnet-zero/models";
import { AdamW } from "@revnet-zero/optim";
import { type Engine, foldKey, randomKey, tensor } from "@revnet-zero/tensor";

export interface Trained {
  readonly losses: readonly number[];
  /** All bits of all weights, in one number (FNV-1a). */
  readonly digest: string;
  /** How the backend rounds: equal words promise equal bits. */
  readonly arithmetic: string;
  readonly threads: number;
  readonly seconds: number;
}

const [STEPS, BATCH, TIME] = [30, 8, 64];

/** Trains a reversible transformer with dropout on a sentence. Nothing here knows whether it runs in Node or in a browser. */
export async function train(engine: Engine, onStep: (step: number, loss: number) => void): Promise<Trained> {
  const start = performance.now();
  const key = randomKey(17);
  const model = new ReversibleTransformer({
    numLayers: 6,
    dModel: 64,
    numHeads: 4,
    maxSeqLen: TIME,
    dropout: 0.1,
    key,
    engine,
  });
  const optimizer = new AdamW(model.parameters(), { learningRate: 3e-3 });
  const text = new TextEncoder().encode("Call me Ishmael. Some years ago, never mind how long precisely. ".repeat(4));
  const at = (ahead: number) =>
    tensor(
      Int32Array.from({ length: BATCH * TIME }, (_, i) => text[(Math.floor(i / TIME) * 7 + (i % TIME) + ahead) % 256]!),
      {
        shape: [BATCH, TIME],
        engine,
      },
    );
  const losses: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const scope = engine.openScope("step");
    const loss = engine.withKey(foldKey(key, step), () => {
      const loss = model.loss(at(0), at(1));
      loss.backward();
      return loss;
    });
    optimizer.step();
    optimizer.zeroGrad();
    losses.push(await loss.item());
    scope.close();
    onStep(step + 1, losses.at(-1)!);
    await new Promise((resolve) => setTimeout(resolve)); // lets a page draw
  }
  let hash = 0x811c9dc5;
  for (const p of model.parameters())
    for (const word of new Int32Array((await p.data()).slice().buffer)) hash = Math.imul(hash ^ word, 0x01000193);
  const { arithmetic = "", name } = engine.backend;
  const { threads = 1 } = engine.backend as { threads?: number };
  const seconds = (performance.now() - start) / 1000;
  return {
    losses,
    digest: (hash >>> 0).toString(16).padStart(8, "0"),
    arithmetic: arithmetic || name,
    threads,
    seconds,
  };
}
