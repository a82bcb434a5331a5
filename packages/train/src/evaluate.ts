import type { ByteDataset } from "@revnet-zero/data";
import type { LanguageModel } from "@revnet-zero/models";
import type { Precision } from "./config.ts";
import { inPrecision, toTensors } from "./step.ts";
import { Turns } from "./turns.ts";

export interface EvaluateOptions {
  readonly signal?: AbortSignal | undefined;
  /** What matrix products and attention read. Default f32. */
  readonly precision?: Precision;
}

/**
 * Mean cross-entropy in nats per byte over the first batches of the held-out text; eval mode, nothing recorded.
 * An aborted signal ends it between two batches: it throws the signal's reason.
 */
export async function evaluate(
  model: LanguageModel,
  data: ByteDataset,
  maxBatches: number,
  { signal, precision = "f32" }: EvaluateOptions = {},
): Promise<number> {
  const { engine } = model.embedding.tokens.weight;
  let nats = 0;
  let bytes = 0;
  const turns = new Turns();
  for (const batch of data.heldOutBatches(maxBatches)) {
    await turns.take();
    signal?.throwIfAborted();
    const loss = engine.scope(() =>
      engine.noGrad(() => {
        const [tokens, targets] = toTensors(batch, engine);
        return model.inEval(() => inPrecision(engine, precision, () => model.loss(tokens, targets)));
      }),
    );
    nats += (await loss.item()) * batch.inputs.length;
    bytes += batch.inputs.length;
    loss.dispose();
  }
  return nats / bytes;
}
