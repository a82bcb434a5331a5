import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { Decoder, ReversibleTransformer, Transformer } from "@revnet-zero/models";
import { Engine, randomKey } from "@revnet-zero/tensor";

export interface SamplingCase {
  readonly mode: "ordinary" | "exact";
  readonly layers: number;
  readonly width: number;
  readonly vocabulary: number;
  readonly dtype: "f32" | "bf16";
  readonly batch: number;
  /** Places that are kept: the model's longest sequence. */
  readonly length: number;
  /** Tokens added to each sequence in a timed run. */
  readonly tokens: number;
  /** Whether a token is one launch. */
  readonly run: "eager" | "graph";
}

export interface SamplingFigures {
  readonly tokensPerSecond: number;
  readonly millisecondsPerToken: number;
  readonly launches: number;
  readonly peakGiB: number;
  /** Why it was no graph, where it was meant to be. */
  readonly not?: string;
  /** The first sequence's tokens: those of every other run of this case. */
  readonly found: readonly number[];
}

const PROMPT = 8;

/** Greedy decoding from a short prompt, tokens chosen on the device: the median of some runs. */
export async function timeSampling(backend: CudaBackend, one: SamplingCase, repeats = 5): Promise<SamplingFigures> {
  const { mode, layers, width, vocabulary, dtype, batch, length, tokens, run } = one;
  const engine = new Engine(backend);
  const shape = { vocabSize: vocabulary, numLayers: layers, dModel: width, numHeads: width / 64, maxSeqLen: length };
  const options = { ...shape, key: randomKey(1), engine };
  const model = mode === "ordinary" ? new Transformer(options) : new ReversibleTransformer(options);
  const decoder = new Decoder(model, { batch, precision: dtype, graph: run === "graph" });
  const prompts = Array.from({ length: batch }, (_, i) =>
    Array.from({ length: PROMPT }, (_, k) => (977 * i + 331 * k) % vocabulary),
  );
  const [first = []] = await decoder.continue(prompts, { length: tokens });
  const times: number[] = [];
  let launches = 0;
  for (let n = 0; n < repeats; n++) {
    const before = backend.device.launches;
    const start = performance.now();
    await decoder.continue(prompts, { length: tokens });
    times.push((performance.now() - start) / (PROMPT + tokens - 1));
    launches = (backend.device.launches - before) / (PROMPT + tokens - 1);
  }
  const millisecondsPerToken = times.sort((a, b) => a - b)[repeats >> 1]!;
  const { whyNoGraph } = decoder;
  const { peakBytes } = engine.memory();
  decoder.dispose();
  model.dispose();
  backend.releaseCaches();
  return {
    tokensPerSecond: (1000 * batch) / millisecondsPerToken,
    ...{ millisecondsPerToken, launches, peakGiB: peakBytes / 2 ** 30 },
    ...(run === "eager" || whyNoGraph === undefined ? {} : { not: whyNoGraph }),
    found: first,
  };
}
