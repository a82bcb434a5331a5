import { ByteDataset, loadText } from "@revnet-zero/data";
import { groupDigits } from "@revnet-zero/plot";
import { randomKey } from "@revnet-zero/tensor";
import { buildModel, proveExactness } from "@revnet-zero/train";
import type { CommandOptions } from "../commands.ts";
import { configFor } from "../config/configFor.ts";
import type { ConfigOverride } from "../config/loadConfig.ts";
import { type Output, printLine } from "../output.ts";
import { openEngine } from "./session.ts";

export const yesNo = (isTrue: boolean): string => (isTrue ? "yes" : "NO");

export async function check(
  options: CommandOptions["check"],
  overrides: readonly ConfigOverride[],
  output: Output,
): Promise<number> {
  const config = await configFor(options, overrides, output);
  if (config === undefined) return 0;
  const seed = options.seed ?? config.train.seed;
  const { batchSize, sequenceLength } = config.train;
  const text = await loadText(config.data.source);
  const batch = new ByteDataset(text.bytes, { batchSize, sequenceLength, seed }).batchAt(0);
  let isExact = true;
  for (const dropout of [...new Set([config.model.dropout, 0.1])]) {
    const model = buildModel({ ...config.model, dropout }, seed, openEngine(options.device));
    const proof = await proveExactness(model, batch, randomKey(seed));
    model.dispose();
    printLine(output, `${config.model.reversibility}, ${config.model.numLayers} layers, dropout ${dropout}:`);
    printLine(output, `  reconstruction bit-equal: ${yesNo(proof.isReconstructionBitEqual)}`);
    printLine(output, `  gradients bit-equal:      ${yesNo(proof.isGradientBitEqual)}`);
    printLine(output, `  numbers compared:         ${groupDigits(proof.elementsCompared)}`);
    if (proof.firstDifference !== undefined) printLine(output, `  first difference:         ${proof.firstDifference}`);
    isExact &&= proof.isReconstructionBitEqual && proof.isGradientBitEqual;
  }
  return isExact ? 0 : 1;
}
