import { availableParallelism } from "node:os";
import { bigramEntropy, loadText, unigramEntropy } from "@revnet-zero/data";
import { inParallel } from "../inParallel.ts";
import { deviation, mean } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Suite } from "../suite.ts";
import { type QualityModel, qualityConfig, qualityModels } from "./configuration.ts";
import type { QualityAnswer } from "./trainee.ts";

/** Does the grid, or reversibility, cost quality? Held-out loss of three kinds of transformer on one budget. */
export const quality: Suite = {
  about: "held-out bits per byte after the same training: ordinary, float reversible and exact reversible",
  run: async ({ isQuick, backend, log }) => {
    const seeds = isQuick ? [1, 2] : [1, 2, 3];
    const cases = seeds.flatMap((seed) => qualityModels.map((model) => ({ model, seed })));
    const answers = await inParallel(cases, availableParallelism(), async ({ model, seed }) => {
      // A model a core: bits do not depend on it, and none waits for another.
      const env = { ...process.env, REVNET_THREADS: "1" };
      const subject = Subject.node(`quality ${model}`, new URL("./trainee.ts", import.meta.url), env);
      try {
        const answer = await subject.ask<QualityAnswer>({ model, seed, isQuick });
        log(`  ${model}, seed ${seed}: ${answer.heldOutBitsPerByte.toFixed(4)} bits per byte held-out`);
        return { model, seed, ...answer };
      } finally {
        subject[Symbol.dispose]();
      }
    });
    const of = (model: QualityModel): number[] =>
      answers.filter((a) => a.model === model).map((a) => a.heldOutBitsPerByte);
    const difference = (ours: QualityModel, theirs: QualityModel) => {
      const pairs = of(ours).map((bits, i) => bits - of(theirs)[i]!);
      return { mean: mean(pairs), deviation: deviation(pairs), pairs };
    };
    const { bytes, name } = await loadText("moby-dick");
    const { model, train, optimizer, schedule } = qualityConfig({ model: "transformer", seed: 1, isQuick });
    const { dModel, numLayers, numHeads } = model;
    const { steps, batchSize, sequenceLength, evalBatches } = train;
    return {
      settings: {
        text: name,
        seeds,
        ...{ numLayers, dModel, numHeads, steps, batchSize, sequenceLength, evalBatches },
        optimizer,
        schedule,
      },
      rows: answers.map(({ model: name, seed, timeMs, ...figures }) => ({ backend, model: name, seed, ...figures })),
      summary: {
        heldOutBitsPerByte: Object.fromEntries(
          qualityModels.map((name) => [name, { mean: mean(of(name)), deviation: deviation(of(name)) }]),
        ),
        exactMinusFloat: difference("reversible-exact", "reversible-float"),
        exactMinusTransformer: difference("reversible-exact", "transformer"),
        unigramBitsPerByte: unigramEntropy(bytes),
        bigramBitsPerByte: bigramEntropy(bytes),
      },
    };
  },
};
