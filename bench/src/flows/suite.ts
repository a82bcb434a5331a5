import { CpuBackend } from "@revnet-zero/backend-cpu";
import { type FlowMode, initialiseFromData, NormalizingFlow, realNVP, StandardNormal } from "@revnet-zero/flows";
import { AdamW, clipByGlobalNorm } from "@revnet-zero/optim";
import { BitComparison, compareGradients, takeGradients } from "@revnet-zero/reversible";
import { Engine, foldKey, type Key, randomKey, randomNormal, randomUniform, type Tensor } from "@revnet-zero/tensor";
import { median, timeColumns } from "../statistics.ts";
import type { Row, Suite } from "../suite.ts";

const modes: readonly FlowMode[] = ["rebuild", "store"];
const size = { hidden: 64, batchSize: 512 };

/** What it costs to rebuild a float flow's activations: memory, time, and how far they and the gradients are off. */
export const flows: Suite = {
  about:
    "a trained float flow: activation memory, step time, and the error of rebuilt activations and gradients, against depth",
  run: async ({ isQuick, backend, log }) => {
    const depths = isQuick ? [2, 4] : [4, 8, 16, 32, 64];
    const [steps, repeats] = isQuick ? [5, 2] : [300, 15];
    const rows: Row[] = [];
    for (const couplings of depths) {
      const row = await measure(couplings, steps, repeats);
      rows.push({ backend, dtype: "f32", ...row });
      log(
        `  ${couplings} couplings: drift ${row.drift.toExponential(1)}, gradients ${row.gradientRelativeError.toExponential(1)}`,
      );
    }
    const bytes = (mode: FlowMode) => rows.map((row) => row[`${mode}ActivationBytes`] as number);
    const growth = (all: number[]): number => all.at(-1)! / all[0]! - 1;
    return {
      settings: { depths, ...size, dim: 2, data: "two moons", trainingSteps: steps },
      rows,
      summary: {
        rebuiltActivationGrowth: growth(bytes("rebuild")),
        storedActivationGrowth: growth(bytes("store")),
        largestDrift: Math.max(...rows.map((row) => row.drift as number)),
        largestGradientError: Math.max(...rows.map((row) => row.gradientRelativeError as number)),
      },
    };
  },
};

/** Points on two interlaced half circles with normal noise. */
function moons(engine: Engine, key: Key): Tensor {
  return engine.scope(() => {
    const shape = [size.batchSize, 1];
    const angle = randomUniform(shape, { engine, key: foldKey(key, 0), high: Math.PI });
    const side = randomUniform(shape, { engine, key: foldKey(key, 1), low: -1, high: 1 }).sign();
    const points = angle
      .cos()
      .sub(0.5)
      .concat([angle.sin().sub(0.25)], 1)
      .mul(side);
    return points.add(randomNormal(points.shape, { engine, key: foldKey(key, 2), std: 0.1 }));
  });
}

async function measure(couplings: number, steps: number, repeats: number) {
  const engine = new Engine(new CpuBackend());
  const key = randomKey(couplings);
  const transform = realNVP({ dim: 2, hidden: size.hidden, couplings, key, engine, mode: "store" });
  const flow = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [2], engine }) });
  const x = moons(engine, foldKey(key, 1));
  initialiseFromData(flow, () => flow.logProbability(x));
  // Deep ones are less patient.
  const learningRate = 1e-3 * Math.min(1, 16 / couplings);
  const optimizer = new AdamW(flow.parameters(), { learningRate, weightDecay: 0 });
  for (let i = 0; i < steps; i++) {
    engine.scope(() => {
      flow.loss(moons(engine, foldKey(key, 10 + i))).backward();
      optimizer.step({ gradientFactor: clipByGlobalNorm(flow.parameters(), 1).factor });
    });
    flow.zeroGrad();
  }
  const loss = engine.scope(() => engine.noGrad(() => flow.loss(x).itemSync()));

  if (!Number.isFinite(loss)) throw new Error(`training a flow of ${couplings} couplings gave a loss of ${loss}`);

  const times = { rebuild: [] as number[], store: [] as number[] };
  const activationBytes = { rebuild: 0, store: 0 };
  const gradients = { rebuild: new Map(), store: new Map() };
  // In turn, so that a slow moment hits both; the first round compiles.
  for (let round = 0; round <= repeats; round++) {
    for (const mode of modes) {
      transform.mode = mode;
      engine.ledger.resetPeak();
      const start = performance.now();
      engine.scope(() => flow.loss(x).backward());
      const timeMs = performance.now() - start;
      if (round > 0) times[mode].push(timeMs);
      activationBytes[mode] = engine.memory().activationBytes;
      gradients[mode] = await takeGradients(flow);
    }
  }
  const comparison = new BitComparison();
  compareGradients(comparison, gradients.rebuild, gradients.store);
  const timeOverStore = median(times.rebuild.map((timeMs, i) => timeMs / times.store[i]!));
  return {
    couplings,
    loss,
    drift: await transform.drift(),
    gradientRelativeError: comparison.relativeError,
    rebuildActivationBytes: activationBytes.rebuild,
    storeActivationBytes: activationBytes.store,
    ...timeColumns(times.rebuild),
    timeOverStore,
  };
}
