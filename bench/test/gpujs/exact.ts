import type { GpuJsMode } from "@revnet-zero/backend-gpujs";
import { createGpuJsBackend } from "@revnet-zero/backend-gpujs";
import { ReversibleTransformer } from "@revnet-zero/models";
import { checkReversible, type ReversibilityReport, ReversibleSequence } from "@revnet-zero/reversible";
import { Engine, foldKey, randomKey, randomNormal } from "@revnet-zero/tensor";
import { couplings } from "../../src/exactness/couplings.ts";

const size = { dModel: 16, numHeads: 2, maxSeqLen: 8 };

/** A reversible stack of transformer blocks with dropout against stored backpropagation, on one mode of gpu.js. */
export async function surveyOf(mode: GpuJsMode, blocks: number, coupling: string): Promise<ReversibilityReport> {
  const engine = new Engine(await createGpuJsBackend({ mode }));
  const key = randomKey(blocks);
  const model = new ReversibleTransformer({ ...size, numLayers: blocks, dropout: 0.1, key, engine });
  engine.noGrad(() =>
    engine.scope(() => {
      // Branches as large as their streams, as training makes them.
      for (const p of model.sequence.parameters()) if (p.rank === 2) p.assign(p.mul(6));
    }),
  );
  const sequence = new ReversibleSequence({
    blocks: model.sequence.blocks.map(({ F, G }, index) =>
      couplings[coupling]!({ F, G }, { index, dModel: size.dModel, key: foldKey(key, index), engine }),
    ),
    mode: "exact",
    channels: size.dModel,
    engine,
  });
  const draw = (seed: number) =>
    Array.from({ length: sequence.numStreams }, (_, i) =>
      randomNormal([2, 8, size.dModel], { key: randomKey(sequence.numStreams * seed + i), engine }),
    );
  return checkReversible(sequence, draw(1), draw(2), { key: randomKey(9) });
}
