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
  readonly prompt: number;
  /** Tokens added to each sequence in a timed run. */
  readonly tokens: number;
  /** Whether a token is one launch. */
  readonly run: "eager" | "graph";
}

export interface SamplingFigures {
  /** Of the tokens after the first of each sequence. */
  readonly tokensPerSecond: number;
  readonly millisecondsPerToken: number;
  /** From the prompt to the first token, read on the host. */
  readonly firstTokenMs: number;
  readonly launches: number;
  readonly peakGiB: number;
  /** Why it was no graph, where it was meant to be. */
  readonly not?: string;
  /** The first sequence's tokens: those of every other run of this case. */
  readonly found: readonly number[];
}

/** A prompt is run, recorded, done from its recording and taken down before it is one launch. */
const USES_BEFORE_A_GRAPH = 4;

/** Greedy decoding, tokens chosen on the device: the medians of some runs, of one token and of many by turns. */
export async function timeSampling(backend: CudaBackend, one: SamplingCase, repeats = 5): Promise<SamplingFigures> {
  const { mode, layers, width, vocabulary, dtype, batch, length, prompt, tokens, run } = one;
  const engine = new Engine(backend);
  const shape = { vocabSize: vocabulary, numLayers: layers, dModel: width, numHeads: width / 64, maxSeqLen: length };
  const options = { ...shape, key: randomKey(1), engine };
  const model = mode === "ordinary" ? new Transformer(options) : new ReversibleTransformer(options);
  const decoder = new Decoder(model, { batch, precision: dtype, graph: run === "graph" });
  const prompts = Array.from({ length: batch }, (_, i) =>
    Array.from({ length: prompt }, (_, k) => (977 * i + 331 * k) % vocabulary),
  );
  const timed = async (length: number): Promise<number> => {
    const start = performance.now();
    await decoder.continue(prompts, { length });
    return performance.now() - start;
  };
  const [first = []] = await decoder.continue(prompts, { length: tokens });
  for (let n = 1; n < USES_BEFORE_A_GRAPH; n++) await timed(1);
  const [firsts, steps]: [number[], number[]] = [[], []];
  let launches = 0;
  for (let n = 0; n < repeats; n++) {
    firsts.push(await timed(1));
    const before = backend.device.launches;
    steps.push(((await timed(tokens)) - firsts[n]!) / (tokens - 1));
    launches = (backend.device.launches - before) / tokens;
  }
  const median = (times: number[]): number => times.sort((a, b) => a - b)[repeats >> 1]!;
  const [firstTokenMs, millisecondsPerToken] = [median(firsts), median(steps)];
  const { whyNoGraph } = decoder;
  const { peakBytes } = engine.memory();
  decoder.dispose();
  model.dispose();
  backend.releaseCaches();
  return {
    tokensPerSecond: (1000 * batch) / millisecondsPerToken,
    ...{ millisecondsPerToken, firstTokenMs, launches, peakGiB: peakBytes / 2 ** 30 },
    ...(run === "eager" || whyNoGraph === undefined ? {} : { not: whyNoGraph }),
    found: first,
  };
}
