import type { TrainingBackend } from "../backends.ts";
import { avx2Environment, startPytorch } from "../pytorch.ts";
import { Subject } from "../subject.ts";
import type { GptSize, MlpSize, StepMode } from "./configuration.ts";

export type Size = GptSize | MlpSize;

/** Starts a peer; or says why there is none. */
export type Start = (size: Size, threads: number) => Promise<Subject | string>;

export interface Peer {
  readonly start: Start;
  /** Which of our modes it is compared with. */
  readonly against: StepMode;
}

const inPytorch =
  (mode: string, device: TrainingBackend, env?: NodeJS.ProcessEnv): Start =>
  (size, threads) =>
    startPytorch("pytorch_step.py", { build: { vocabSize: 256, ...size, mode, device, threads } }, env);

const inNode =
  (name: string, file: string): Start =>
  async (build) => {
    const subject = Subject.node(name, new URL(file, import.meta.url));
    try {
      await subject.ask({ build });
      // What it cannot do shows in a step.
      await subject.ask({ step: 0 });
      return subject;
    } catch (error) {
      return (error as Error).message;
    }
  };

const ordinary = (start: Start): Peer => ({ start, against: "ordinary" });
const reversible = (start: Start): Peer => ({ start, against: "reversible-exact" });

/** By library, then by mode. Those on WebAssembly have no threads in Node. */
export const stepPeers: {
  readonly [B in TrainingBackend]: { readonly [impl: string]: { readonly [mode: string]: Peer } };
} = {
  cpu: {
    pytorch: {
      eager: ordinary(inPytorch("eager", "cpu")),
      compiled: ordinary(inPytorch("compiled", "cpu")),
      // Not compiled: PyTorch 2.13 then answers NaN.
      "eager, AVX2 alone": ordinary(inPytorch("eager", "cpu", avx2Environment)),
    },
    "jax-js": { jit: ordinary(inNode("jax-js", "./jax.ts")) },
    "tfjs-wasm": { eager: ordinary(inNode("tfjs-wasm", "./tfjs.ts")) },
  },
  cuda: {
    pytorch: {
      eager: ordinary(inPytorch("eager", "cuda")),
      "reversible (float), eager": reversible(inPytorch("reversible", "cuda")),
      compiled: ordinary(inPytorch("compiled", "cuda")),
    },
  },
};
