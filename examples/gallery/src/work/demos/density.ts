import { initialiseFromData, NormalizingFlow, realNVP, StandardNormal } from "@revnet-zero/flows";
import { AdamW, clipByGlobalNorm, schedules } from "@revnet-zero/optim";
import { foldKey, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import type { Session } from "../session.ts";
import type { Demo } from "./index.ts";
import { drawPoints, type TargetName } from "./targets.ts";

export interface DensitySettings {
  readonly target: TargetName;
  readonly couplings: number;
  readonly steps: number;
}

export type DensityEvent =
  | { readonly kind: "data"; readonly points: Float32Array }
  | { readonly kind: "step"; readonly step: number; readonly nats: number; readonly activationBytes: number }
  | {
      readonly kind: "density";
      readonly step: number;
      /** Cells of a side; the picture shows [-halfWidth, halfWidth] both ways. */
      readonly cells: number;
      readonly halfWidth: number;
      /** Probability density of every cell's middle, rows from the top. */
      readonly values: Float32Array<ArrayBuffer>;
    }
  | { readonly kind: "samples"; readonly points: Float32Array }
  | { readonly kind: "checked"; readonly mass: number; readonly drift: number };

const BATCH = 512;
const LEARNING_RATE = 3e-3;
const [CELLS, HALF_WIDTH] = [72, 2.4];
/** Milliseconds between pictures of the density. */
const PICTURE_MS = 120;

/** A normalizing flow learns the density of points; the density is drawn while it does. */
export function density(session: Session<DensityEvent>): Demo<DensitySettings> {
  const { engine } = session;
  const key = randomKey(11);

  async function run({ target, couplings, steps }: DensitySettings): Promise<void> {
    const transform = realNVP({ dim: 2, couplings, hidden: 64, key: foldKey(key, 0) });
    const flow = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [2] }) });
    const batch = (n: number, draw: number): Tensor =>
      tensor(drawPoints(target, n, foldKey(key, draw)), { shape: [n, 2] });
    session.emit({ kind: "data", points: drawPoints(target, 2500, foldKey(key, 1)) });
    engine.scope(() => {
      const first = batch(1024, 2);
      initialiseFromData(flow, () => flow.logProbability(first));
    });
    const optimizer = new AdamW(flow.parameters(), { weightDecay: 0 });
    const warm = Math.ceil(steps / 20);
    const rate = schedules.sequence(
      { schedule: schedules.warmUp({ steps: warm, to: LEARNING_RATE }), steps: warm },
      { schedule: schedules.cosine({ from: LEARNING_RATE, to: 2e-5, steps: steps - warm }) },
    );
    const grid = gridOf(CELLS, HALF_WIDTH);
    let drawn = Number.NEGATIVE_INFINITY;
    for (let step = 0; step < steps; step++) {
      await session.turn();
      engine.ledger.resetPeak();
      const scope = engine.openScope("step");
      const loss = flow.loss(batch(BATCH, 10 + step));
      loss.backward();
      const { factor } = clipByGlobalNorm(flow.parameters(), 2);
      optimizer.step({ learningRate: rate(step), gradientFactor: factor });
      flow.zeroGrad();
      const nats = await loss.item();
      scope.close();
      const { activationBytes } = engine.memory();
      session.emit({ kind: "step", step: step + 1, nats, activationBytes });
      if (session.now() - drawn < PICTURE_MS && step + 1 < steps) continue;
      const values = await densityAt(flow, grid, CELLS);
      session.emit({ kind: "density", step: step + 1, cells: CELLS, halfWidth: HALF_WIDTH, values }, [values.buffer]);
      drawn = session.now();
    }
    optimizer.dispose();
    const samples = flow.sample(2500, foldKey(key, 3));
    session.emit({ kind: "samples", points: (await samples.data()) as Float32Array });
    samples.dispose();
    await session.turn();
    // Far enough out that nothing is left outside, and finely enough that sums are integrals.
    const [fine, far] = [320, 6];
    const wide = await densityAt(flow, gridOf(fine, far), fine);
    const mass = wide.reduce((sum, p) => sum + p, 0) * ((2 * far) / fine) ** 2;
    session.emit({ kind: "checked", mass, drift: await transform.drift() });
  }

  /** p at every point of a grid, a few rows at a time. */
  async function densityAt(
    flow: NormalizingFlow,
    grid: Float32Array,
    cells: number,
  ): Promise<Float32Array<ArrayBuffer>> {
    const values = new Float32Array(cells * cells);
    const rows = 8192;
    for (let from = 0; from < values.length; from += rows) {
      const to = Math.min(values.length, from + rows);
      const scope = engine.openScope("density");
      const points = tensor(grid.slice(2 * from, 2 * to), { shape: [to - from, 2] });
      values.set(await engine.noGrad(() => flow.logProbability(points).exp()).data(), from);
      scope.close();
      await session.turn();
    }
    return values;
  }

  return { run };
}

/** The middles of all cells, [cells², 2], rows from the top. */
function gridOf(cells: number, halfWidth: number): Float32Array {
  const middle = (i: number): number => ((2 * i + 1) / cells - 1) * halfWidth;
  return Float32Array.from({ length: 2 * cells * cells }, (_, i) => {
    const cell = i >> 1;
    return i % 2 === 0 ? middle(cell % cells) : -middle(Math.floor(cell / cells));
  });
}
