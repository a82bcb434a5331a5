import {
  BackendError,
  type BufferView,
  type ElementwiseOp,
  type KernelTable,
  readEnvironment,
  type TypedArray,
} from "@revnet-zero/tensor";
import { HostBackend } from "./host.ts";
import { runElementwise } from "./plain/elementwise.ts";
import { plainKernels } from "./plain/index.ts";
import { PoisonedMemory } from "./poison.ts";
import { BufferPool } from "./pool.ts";
import { type TierName, tierNames } from "./wasm/device/tier.ts";
import { type Accelerator, accelerator } from "./wasm/index.ts";

export interface CpuOptions {
  /** What kernels are generated for. Default: the best that runs here, or what REVNET_TIER names. */
  readonly tier?: TierName;
  /** Threads, this one included. Default: REVNET_THREADS, or as many as the machine runs at once. */
  readonly threads?: number;
  /** Fills memory with NaN before it is handed out and after it is freed. Default: what REVNET_POISON says. */
  readonly isPoisoned?: boolean;
}

/**
 * The CPU: WebAssembly generated at run time, on all threads, with plain TypeScript where it has no kernel. Same inputs, same
 * bits, whatever the number of threads.
 */
export class CpuBackend extends HostBackend {
  override readonly name = "cpu";
  override readonly kernels: KernelTable<TypedArray>;
  readonly arithmetic: string;
  readonly tier: TierName;
  /** Why this tier. */
  readonly tierReason: string;
  readonly threads: number;
  readonly #accelerator: Accelerator | undefined;

  constructor(options: CpuOptions = {}) {
    const tier = options.tier ?? tierFromEnvironment();
    const { choice, found } = accelerator(tier, options.threads ?? threadsFromEnvironment());
    const memory = found?.device.heap ?? new BufferPool();
    super((options.isPoisoned ?? readEnvironment("REVNET_POISON") === "1") ? new PoisonedMemory(memory) : memory);
    this.#accelerator = found;
    this.kernels = found?.kernels ?? plainKernels;
    this.tier = choice.name;
    this.tierReason = choice.why;
    this.threads = found?.device.threads ?? 1;
    this.arithmetic = found?.arithmetic ?? "float64 sums in ascending order, rounded once";
  }

  /**
   * Whether all threads are at work. In Node they are from the first job on; in a browser they join as soon as the page's event loop has
   * let them start, and until then this one computes alone: the same bits, later.
   */
  get areThreadsReady(): boolean {
    return this.#accelerator?.device.areThreadsReady ?? true;
  }

  /** Bytes of linear memory ever in use; 0 on the tier "scalar", which has none. */
  get heapBytes(): number {
    return this.#accelerator?.device.heap.highWaterBytes ?? 0;
  }

  /** Linear memory does not shrink. */
  get reservedBytes(): number {
    return this.heapBytes;
  }

  override elementwise(
    // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
    op: ElementwiseOp<any>,
    attrs: unknown,
    inputs: readonly BufferView<TypedArray>[],
    output: BufferView<TypedArray>,
  ): void {
    if (this.#accelerator?.elementwise.run(op, attrs, inputs, output) !== true)
      runElementwise(op, attrs, inputs, output);
  }
}

function tierFromEnvironment(): TierName | undefined {
  const name = readEnvironment("REVNET_TIER");
  if (name === "") return undefined;
  const found = tierNames.find((t) => t === name);
  if (found !== undefined) return found;
  throw new BackendError("cpu", `REVNET_TIER is "${name}"`, `use one of ${tierNames.join(", ")}, or leave it empty`);
}

function threadsFromEnvironment(): number {
  const text = readEnvironment("REVNET_THREADS");
  const threads = text === "" ? hardwareThreads() : Number(text);
  if (Number.isInteger(threads) && threads >= 1) return threads;
  throw new BackendError("cpu", `REVNET_THREADS is "${text}"`, "use a whole number of threads, 1 or more");
}

/** Node and browsers both say it here. */
function hardwareThreads(): number {
  const { navigator, process } = globalThis as {
    navigator?: { hardwareConcurrency?: number };
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  const os = process?.getBuiltinModule?.("node:os") as { availableParallelism(): number } | undefined;
  return os?.availableParallelism() ?? navigator?.hardwareConcurrency ?? 1;
}
