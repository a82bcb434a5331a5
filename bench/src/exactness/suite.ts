import { ReversibleTransformer } from "@revnet-zero/models";
import { BdiaSequence, checkReversible, type ReversibleMode, ReversibleSequence } from "@revnet-zero/reversible";
import { type Backend, type DType, Engine, foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { backends } from "../backends.ts";
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

/** Types that a case needs besides f32 and i32: factors and BDIA's bits are computed in float64. */
function typesOf({ coupling, mode, fDtype }: Case): readonly DType[] {
  const isWide = Object.hasOwn(scalingCouplings, coupling) || coupling === "bdia";
  return [fDtype, ...(mode === "exact16" ? (["i16"] as const) : []), ...(isWide ? (["f64"] as const) : [])];
}

const runsOn = ({ dtypes }: Backend, one: Case): boolean =>
  dtypes === undefined || typesOf(one).every((d) => dtypes.includes(d));

/** What a slow device runs beyond its first depth: the additive coupling, exact. */
const isInShort = ({ blocks, coupling, mode }: Case): boolean =>
  blocks <= 12 || (coupling === "additive" && mode === "exact");

/** Whether backward sees the very bits that forward saw, and what it costs where it does not. */
export const exactness: Suite = {
  about: "reconstruction and gradients against stored backpropagation of the same network, bit by bit",
  backends: ["cpu", "cuda", "gpujs"],
  run: async ({ isQuick, backend, log }) => {
    const isGpuJs = backend === "gpujs";
    const depths = isQuick ? [2, 4] : isGpuJs ? [12, 24, 48] : [12, 24, 48, 96];
    const steps = isQuick ? 5 : isGpuJs ? 20 : 200;
    const devices = await backends[backend]();
    const rows: Row[] = [];
    for (const device of devices) {
      for (const one of depths.flatMap(casesOf).filter((c) => runsOn(device, c) && (!isGpuJs || isInShort(c)))) {
        const row = await check(device, one);
        rows.push({ backend: device.name, ...row });
        const { coupling, mode, blocks, fDtype, dropout } = one;
        log(
          `  ${device.name}: ${coupling}, ${mode}, ${blocks} blocks, ${fDtype}, dropout ${dropout}: gradients equal ${row.gradientsBitEqual}`,
        );
      }
    }
    const training = await compareTraining(devices[0]!, steps);
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

/** Everything that a case makes is freed, parameters too: a device runs many, and nothing collects its memory. */
async function check(device: Backend, one: Case) {
  const engine = new Engine(device);
  const scope = engine.openScope("case");
  try {
    return await measured(engine, one);
  } finally {
    scope.close();
    for (const s of [...engine.storages]) while (engine.storages.has(s)) s.release();
  }
}

async function measured(engine: Engine, { coupling, mode, blocks, fDtype, dropout, weightScale }: Case) {
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
