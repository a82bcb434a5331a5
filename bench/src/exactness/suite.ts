import { CpuBackend } from "@revnet-zero/backend-cpu";
import { ReversibleTransformer } from "@revnet-zero/models";
import { checkReversible, type ReversibleMode, ReversibleSequence } from "@revnet-zero/reversible";
import { Engine, foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import type { Row, Suite } from "../suite.ts";
import { couplings } from "./couplings.ts";
import { type BranchDType, inPrecision } from "./precision.ts";
import { compareTraining } from "./training.ts";

interface Case {
  readonly coupling: string;
  readonly mode: Extract<ReversibleMode, "exact" | "float">;
  readonly blocks: number;
  readonly fDtype: BranchDType;
  readonly dropout: number;
  /** Initial matrices times this. */
  readonly weightScale: number;
}

const size = { dModel: 32, numHeads: 4, batchSize: 2, sequenceLength: 32 };
/** Branches as large as their streams, as training makes them; and as small as they start. */
const weightScales = { large: 6, small: 1 };

/** The additive coupling in both modes, with and without dropout; the others exact, with small and large branches. */
function casesOf(blocks: number): Case[] {
  const dtypes = ["f32", "bf16"] as const;
  const additive = (["exact", "float"] as const).flatMap((mode) =>
    dtypes.flatMap((fDtype) =>
      [0, 0.1].map((dropout) => ({
        coupling: "additive",
        mode,
        blocks,
        fDtype,
        dropout,
        weightScale: weightScales.large,
      })),
    ),
  );
  const others = Object.keys(couplings).filter((coupling) => coupling !== "additive");
  return [
    ...additive,
    ...others.flatMap((coupling) =>
      dtypes.flatMap((fDtype) =>
        Object.values(weightScales).map((weightScale) => ({
          coupling,
          mode: "exact" as const,
          blocks,
          fDtype,
          dropout: 0,
          weightScale,
        })),
      ),
    ),
  ];
}

/** Whether backward sees the very bits that forward saw, and what it costs where it does not. */
export const exactness: Suite = {
  about: "reconstruction and gradients against stored backpropagation of the same network, bit by bit",
  run: async ({ isQuick, backend, log }) => {
    const depths = isQuick ? [2, 4] : [12, 24, 48, 96];
    const rows: Row[] = [];
    for (const one of depths.flatMap(casesOf)) {
      const row = await check(one);
      rows.push({ backend, ...row });
      const { coupling, mode, blocks, fDtype, dropout } = one;
      log(
        `  ${coupling}, ${mode}, ${blocks} blocks, ${fDtype}, dropout ${dropout}: gradients equal ${row.gradientsBitEqual}`,
      );
    }
    const steps = isQuick ? 5 : 200;
    const training = await compareTraining(steps);
    const exact = rows.filter((r) => r.mode === "exact");
    return {
      settings: { depths, ...size, weightScales, steps, trainingDropout: 0.1 },
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

async function check({ coupling, mode, blocks, fDtype, dropout, weightScale }: Case) {
  const engine = new Engine(new CpuBackend());
  const { dModel, numHeads, batchSize, sequenceLength } = size;
  const key = randomKey(blocks);
  const model = new ReversibleTransformer({
    numLayers: blocks,
    dModel,
    numHeads,
    maxSeqLen: sequenceLength,
    dropout,
    key,
    engine,
  });
  engine.noGrad(() =>
    engine.scope(() => {
      for (const p of model.sequence.parameters()) if (p.rank === 2) p.assign(p.mul(weightScale));
    }),
  );
  const sequence = new ReversibleSequence({
    blocks: model.sequence.blocks.map(({ F, G }, index) =>
      couplings[coupling]!(
        { F: inPrecision(F, fDtype), G: inPrecision(G, fDtype) },
        { index, dModel, key: foldKey(key, index), engine },
      ),
    ),
    mode,
    engine,
  });
  const shape = [batchSize, sequenceLength, dModel];
  const draw = (seed: number): Tensor[] =>
    Array.from({ length: sequence.numStreams }, (_, i) =>
      randomNormal(shape, { key: randomKey(sequence.numStreams * seed + i), engine }),
    );
  const { firstDifference, ...figures } = await checkReversible(sequence, draw(1), draw(2), { key: randomKey(9) });
  const row = { coupling, mode, blocks, fDtype, dropout, weightScale, ...figures };
  return { ...row, firstDifference: firstDifference ?? null };
}
