import { ReversibleTransformer } from "@revnet-zero/models";
import { BdiaSequence, checkReversible, type ReversibleMode, ReversibleSequence } from "@revnet-zero/reversible";
import { type Backend, Engine, foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { openBackend } from "../backends.ts";
import type { Row, Suite } from "../suite.ts";
import { differenceOfInference, differenceOfModes, sideOf } from "./cost.ts";
import { couplings, scalingCouplings } from "./couplings.ts";
import { type BranchDType, inPrecision } from "./precision.ts";
import { compareTraining } from "./training.ts";

interface Case {
  readonly coupling: string;
  readonly mode: ReversibleMode;
  readonly blocks: number;
  readonly fDtype: BranchDType;
  readonly dropout: number;
  /** Initial matrices times this. */
  readonly weightScale: number;
}

const size = { dModel: 32, numHeads: 4, batchSize: 2, sequenceLength: 32 };
/** Branches as large as their streams, as training makes them; and as small as they start. */
const weightScales = { large: 6, small: 1 };

const rebuilding = ["exact", "exact16", "grid-f32", "lossless", "float"] as const;

/** The additive coupling in every mode, with and without dropout; the others exact, with small and large branches. */
function casesOf(blocks: number): Case[] {
  const dtypes = ["f32", "bf16"] as const;
  const additive = rebuilding.flatMap((mode) =>
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
  const others = [...Object.keys(couplings), ...Object.keys(scalingCouplings), "bdia"].filter((c) => c !== "additive");
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
  backends: ["cpu", "cuda"],
  run: async ({ isQuick, backend, log }) => {
    const device = openBackend(backend).backend;
    const depths = isQuick ? [2, 4] : [12, 24, 48, 96];
    const rows: Row[] = [];
    for (const one of depths.flatMap(casesOf)) {
      const row = await check(one, device);
      rows.push({ backend, ...row });
      const { coupling, mode, blocks, fDtype, dropout } = one;
      log(
        `  ${coupling}, ${mode}, ${blocks} blocks, ${fDtype}, dropout ${dropout}: gradients equal ${row.gradientsBitEqual}`,
      );
    }
    const steps = isQuick ? 5 : 200;
    const training = await compareTraining(steps, device);
    const exact = rows.filter((r) => r.mode === "exact");
    return {
      settings: { depths, ...size, weightScales, steps, trainingDropout: 0.1 },
      rows,
      summary: {
        exactRows: exact.length,
        exactRowsBitEqual: exact.filter(isBitEqual).length,
        modes: summariseModes(rows),
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

const isBitEqual = (r: Row): boolean => r.reconstructionBitEqual === true && r.gradientsBitEqual === true;

/** What each way of keeping streams cost, and what it kept exact: the additive coupling by mode, the others by name. */
function summariseModes(rows: readonly Row[]): Row[] {
  const names = [...rebuilding, ...Object.keys(scalingCouplings), "bdia"];
  return names.map((name) => {
    const own = rows.filter((r) => (r.coupling === "additive" ? r.mode : r.coupling) === name);
    const depths = own.map((r) => r.blocks as number);
    const [least, most] = [Math.min(...depths), Math.max(...depths)];
    const largest = (name: string, blocks: number, some = own): number =>
      Math.max(...some.filter((r) => r.blocks === blocks).map((r) => r[name] as number));
    const inF32 = own.filter((r) => r.fDtype === "f32");
    return {
      name,
      streamBytes: largest("streamBytes", most),
      sideBits: largest("sideBits", most),
      outputDifferenceShallow: largest("outputDifference", least, inF32),
      outputDifferenceDeep: largest("outputDifference", most, inF32),
      rows: own.length,
      rowsBitEqual: own.filter(isBitEqual).length,
    };
  });
}

async function check(one: Case, device: Backend): Promise<Row> {
  const engine = new Engine(device);
  // On a device nothing is collected.
  const scope = engine.openScope("case");
  try {
    return await checkIn(one, engine);
  } finally {
    scope.close();
  }
}

async function checkIn({ coupling, mode, blocks, fDtype, dropout, weightScale }: Case, engine: Engine): Promise<Row> {
  const { dModel, numHeads, batchSize, sequenceLength } = size;
  const key = randomKey(blocks);
  const options = { dModel, numHeads, maxSeqLen: sequenceLength, dropout, key, engine };
  const model = new ReversibleTransformer({ ...options, numLayers: blocks });
  engine.noGrad(() =>
    engine.scope(() => {
      for (const p of model.sequence.parameters()) if (p.rank === 2) p.assign(p.mul(weightScale));
    }),
  );
  const branches = model.sequence.blocks.map(({ F, G }) => ({ F: inPrecision(F, fDtype), G: inPrecision(G, fDtype) }));
  // One stream has a block for each branch.
  const bdia =
    coupling === "bdia"
      ? new BdiaSequence({ blocks: branches.flatMap(({ F, G }) => [F, G]).slice(0, blocks), engine })
      : undefined;
  const sequence =
    bdia?.sequence ??
    new ReversibleSequence({
      blocks: branches.map((pair, index) =>
        ({ ...couplings, ...scalingCouplings })[coupling]!(pair, { index, dModel, key: foldKey(key, index), engine }),
      ),
      mode,
      channels: dModel,
      engine,
    });
  const shape = [batchSize, sequenceLength, dModel];
  const draw = (seed: number): Tensor[] =>
    Array.from({ length: sequence.numStreams }, (_, i) =>
      randomNormal(shape, { key: randomKey(sequence.numStreams * seed + i), engine }),
    );
  const inputs = draw(1);
  const dropoutKey = randomKey(9);
  const { firstDifference, ...figures } = await checkReversible(sequence, inputs, draw(2), { key: dropoutKey });
  const side = sideOf(sequence, inputs, dropoutKey);
  const outputDifference =
    bdia === undefined ? differenceOfModes(sequence, inputs, dropoutKey) : differenceOfInference(bdia, inputs[0]!);
  for (const module of [model, sequence]) module.dispose();
  const row = { coupling, mode, blocks, fDtype, dropout, weightScale, ...figures };
  return { ...row, firstDifference: firstDifference ?? null, ...side, outputDifference };
}
