import { CpuBackend } from "@revnet-zero/backend-cpu";
import { ReversibleTransformer } from "@revnet-zero/models";
import { checkReversible, type ReversibleMode, ReversibleSequence, type Streams } from "@revnet-zero/reversible";
import { Engine, randomKey, randomNormal } from "@revnet-zero/tensor";
import type { Row, Suite } from "../suite.ts";
import { type BranchDType, inPrecision } from "./precision.ts";
import { compareTraining } from "./training.ts";

interface Case {
  readonly mode: Extract<ReversibleMode, "exact" | "float">;
  readonly blocks: number;
  readonly fDtype: BranchDType;
  readonly dropout: number;
}

const size = { dModel: 32, numHeads: 4, batchSize: 2, sequenceLength: 32 };
/** Initial matrices times this: branches as large as their streams, as training makes them. */
const weightScale = 6;

/** Whether backward sees the very bits that forward saw, and what it costs where it does not. */
export const exactness: Suite = {
  about: "reconstruction and gradients against stored backpropagation of the same network, bit by bit",
  run: async ({ isQuick, backend, log }) => {
    const depths = isQuick ? [2, 4] : [12, 24, 48, 96];
    const rows: Row[] = [];
    for (const blocks of depths) {
      for (const mode of ["exact", "float"] as const) {
        for (const fDtype of ["f32", "bf16"] as const) {
          for (const dropout of [0, 0.1]) {
            const row = await check({ mode, blocks, fDtype, dropout });
            rows.push({ backend, ...row });
            log(`  ${mode}, ${blocks} blocks, ${fDtype}, dropout ${dropout}: gradients equal ${row.gradientsBitEqual}`);
          }
        }
      }
    }
    const steps = isQuick ? 5 : 200;
    const training = await compareTraining(steps);
    const exact = rows.filter((r) => r.mode === "exact");
    return {
      settings: { depths, ...size, weightScale, steps, trainingDropout: 0.1 },
      rows,
      summary: {
        exactRows: exact.length,
        exactRowsBitEqual: exact.filter((r) => r.reconstructionBitEqual && r.gradientsBitEqual).length,
        ...training,
      },
    };
  },
  chart: (rows) => ({
    title: "Relative error of the gradients with float streams",
    xLabel: "blocks",
    yLabel: "‖gradient - stored gradient‖ / ‖stored gradient‖; exact streams have none",
    xLog: true,
    yLog: true,
    series: ["f32", "bf16"].map((fDtype) => ({
      name: `branches in ${fDtype}`,
      points: rows
        .filter((r) => r.mode === "float" && r.fDtype === fDtype && r.dropout === 0)
        .map((r) => ({ x: r.blocks as number, y: r.gradientRelativeError as number })),
    })),
  }),
};

async function check({ mode, blocks, fDtype, dropout }: Case) {
  const engine = new Engine(new CpuBackend());
  const { dModel, numHeads, batchSize, sequenceLength } = size;
  const model = new ReversibleTransformer({
    numLayers: blocks,
    dModel,
    numHeads,
    maxSeqLen: sequenceLength,
    dropout,
    key: randomKey(blocks),
    engine,
  });
  engine.noGrad(() =>
    engine.scope(() => {
      for (const p of model.sequence.parameters()) if (p.rank === 2) p.assign(p.mul(weightScale));
    }),
  );
  const sequence = new ReversibleSequence({
    blocks: model.sequence.blocks.map(({ F, G }) => ({ F: inPrecision(F, fDtype), G: inPrecision(G, fDtype) })),
    mode,
    engine,
  });
  const shape = [batchSize, sequenceLength, dModel];
  const pair = (seed: number): Streams => [
    randomNormal(shape, { key: randomKey(2 * seed), engine }),
    randomNormal(shape, { key: randomKey(2 * seed + 1), engine }),
  ];
  const { firstDifference, ...figures } = await checkReversible(sequence, pair(1), pair(2), { key: randomKey(9) });
  return { coupling: "additive", mode, blocks, fDtype, dropout, ...figures, firstDifference: firstDifference ?? null };
}
