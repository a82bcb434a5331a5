import type { ByteDataset } from "@revnet-zero/data";
import type { LanguageModel } from "@revnet-zero/models";
import { toTensors } from "./step.ts";

/** Mean cross-entropy in nats per byte over the first batches of the held-out text; eval mode, nothing recorded. */
export async function evaluate(model: LanguageModel, data: ByteDataset, maxBatches: number): Promise<number> {
  const { engine } = model.embedding.tokens.weight;
  let nats = 0;
  let bytes = 0;
  for (const batch of data.heldOutBatches(maxBatches)) {
    const loss = engine.scope(() =>
      engine.noGrad(() => {
        const [tokens, targets] = toTensors(batch, engine);
        return model.inEval(() => model.loss(tokens, targets));
      }),
    );
    nats += (await loss.item()) * batch.inputs.length;
    bytes += batch.inputs.length;
    loss.dispose();
  }
  return nats / bytes;
}
