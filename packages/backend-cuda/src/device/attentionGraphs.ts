import { readEnvironment } from "@revnet-zero/tensor";
import type { CudaDevice } from "./device.ts";
import { builtinsBeside, type LibraryState, openLibrary, stateOf } from "./libraries.ts";

/** Strides in elements of an operand [batch, heads, rows, dim] whose last axis lies together. */
export interface Steps {
  readonly batch: number;
  readonly head: number;
  readonly row: number;
}

/** What a plan of attention follows from, beside the library's version. */
export interface AttentionPlan {
  readonly isBackward: boolean;
  readonly dtype: "bf16" | "f16";
  readonly batch: number;
  readonly heads: number;
  /** Queries and keys. */
  readonly t: number;
  readonly s: number;
  readonly d: number;
  readonly isCausal: boolean;
  readonly scale: number;
  /** Of q, k, v, o and, in backward, the gradients of o, q, k and v. */
  readonly steps: readonly Steps[];
}

interface Planned {
  /** -1 where cuDNN has none. */
  readonly plan: number;
  readonly workspaceBytes: number;
}

/** NVIDIA's numbers for the types. */
const types = { bf16: 9, f16: 2 } as const;

/** Attention by cuDNN, where it is present. Which of its engines runs follows from the plan's numbers and the tuning table alone. */
export class AttentionGraphs {
  readonly #device: CudaDevice;
  readonly #driverMajor: number;
  readonly #plans = new Map<string, Planned>();
  #state: LibraryState | undefined;

  constructor(device: CudaDevice, driverMajor: number) {
    this.#device = device;
    this.#driverMajor = driverMajor;
  }

  /** What serves: cuDNN's version, or why it does not. */
  get state(): LibraryState {
    this.#state ??= this.#open();
    return this.#state;
  }

  #open(): LibraryState {
    const { native } = this.#device;
    if (readEnvironment("REVNET_CUDA_ATTENTION") === "own") return { missing: "REVNET_CUDA_ATTENTION is own" };
    return stateOf(() => {
      // cuDNN writes kernels for a plan and compiles them by NVRTC, which it looks for by name: open, it is found.
      openLibrary("nvrtc", this.#driverMajor, (path) => native.openCompiler(path, builtinsBeside(path)));
      return openLibrary("cudnn", this.#driverMajor, (file) => native.openAttention(file));
    });
  }

  /** The plan for these numbers, the first of its choices from the `which`th on, made when first asked for; undefined where cuDNN is absent or has none. */
  plan(one: AttentionPlan, which: number): Planned | undefined {
    if ("missing" in this.state) return undefined;
    const { isBackward, dtype, batch, heads, t, s, d, isCausal, scale, steps } = one;
    const numbers = [Number(isBackward), types[dtype], batch, heads, t, s, d, Number(isCausal)];
    for (const { batch: byBatch, head, row } of steps) numbers.push(byBatch, head, row);
    const key = `${numbers.join()} ${scale} ${which}`;
    let planned = this.#plans.get(key);
    if (planned === undefined) {
      const [plan, workspaceBytes] = this.#device.guard(() =>
        this.#device.native.planAttention(Float64Array.from(numbers), scale, which),
      );
      planned = { plan, workspaceBytes };
      this.#plans.set(key, planned);
    }
    return planned.plan < 0 ? undefined : planned;
  }

  /** Runs a plan on the addresses of its operands, then of the log-sum-exp and, in backward, delta. */
  run({ plan, workspaceBytes }: Planned, addresses: readonly number[]): void {
    this.#device.launches++;
    this.#device.withWorkspace(workspaceBytes, (workspace) =>
      this.#device.guard(() => this.#device.native.runAttention(plan, workspace, Float64Array.from(addresses))),
    );
  }
}
