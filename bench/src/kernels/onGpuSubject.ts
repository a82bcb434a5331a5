import { CudaBackend } from "@revnet-zero/backend-cuda";
import { keyOf, timeBehindQueue } from "@revnet-zero/backend-cuda/testing";
import { dispatch, Engine, type Tensor } from "@revnet-zero/tensor";
import { answerRequests } from "../subject.ts";
import { bytesMoved } from "./bytesMoved.ts";
import { gpt2Sizes, makeGpuCase, makeProduct, productsOf, quickSizes } from "./gpuCases.ts";

// One kernel of a training step on the device: how long it takes, and what it replaces.

export type GpuKernelRequest =
  | { readonly copy: number; readonly isQuick: boolean }
  | { readonly kernel: string; readonly isQuick: boolean }
  | { readonly product: string; readonly isQuick: boolean };

export interface CopyAnswer {
  readonly gbPerSecond: number;
}
export interface KernelAnswer {
  readonly fusedMs: number;
  /** Of the ops that it replaces; undefined where it is no fused one. */
  readonly partsMs?: number;
  readonly bytes?: number;
  readonly flops?: number;
  /** Bytes that the parts read and write, over those of the kernel. */
  readonly expectedOfBytes?: number;
}
export interface ProductAnswer {
  readonly timeMs: number;
  /** Of the library's kernels, all timed in the same way; undefined where the library is absent. */
  readonly library?: {
    /** Its own first proposal, what serves a machine that nobody tuned, and what served. */
    readonly firstMs: number;
    readonly shippedMs: number;
    readonly servedMs: number;
    readonly bestMs: number;
  };
  readonly flops: number;
}

const backend = new CudaBackend();
const engine = new Engine(backend);
const { device } = backend;

const time = (run: () => void, isQuick: boolean): number => timeBehindQueue(device, run, isQuick ? 1 : 20);

function copy(bytes: number, isQuick: boolean): CopyAnswer {
  return device.withWorkspace(bytes, (from) =>
    device.withWorkspace(bytes, (to) => ({
      gbPerSecond: (2 * bytes) / time(() => device.native.copy(to, from, bytes), isQuick) / 1e6,
    })),
  );
}

function kernel(name: string, isQuick: boolean): KernelAnswer {
  const made = makeGpuCase(name, engine, isQuick ? quickSizes : gpt2Sizes);
  const { op, inputs, attrs, bytes, flops, donates = false } = made;
  const within = (f: () => readonly Tensor[]) => (): void => engine.scope(() => void f());
  const fused = within(() => dispatch(engine, op, inputs, attrs, { donates }));
  const ownParts = op.kind === "fused" ? () => op.decompose(inputs, attrs) : undefined;
  const parts = made.parts ?? ownParts;
  const fusedMs = time(fused, isQuick);
  const facts = { ...(bytes === undefined ? {} : { bytes }), ...(flops === undefined ? {} : { flops }) };
  if (parts === undefined) return { fusedMs, ...facts };
  const apart = within(parts);
  const partsMs = time(apart, isQuick);
  const expectedOfBytes = bytes === undefined ? {} : { expectedOfBytes: bytesMoved(engine, apart) / bytes };
  return { fusedMs, partsMs, ...facts, ...expectedOfBytes };
}

function product(name: string, isQuick: boolean): ProductAnswer {
  const found = productsOf(isQuick ? quickSizes : gpt2Sizes).find((one) => one.name === name)!;
  const run = makeProduct(found, engine);
  const once = (): void => void engine.scope(() => void run());
  const timeMs = time(once, isQuick);
  const flops = 2 * found.m * found.k * found.n;
  const [choice] = device.choices.askedBy(once);
  if (choice === undefined) return { timeMs, flops }; // no library, or a kernel for few rows
  const { kernels, chosen, problem } = choice;
  const times = new Map(kernels.map((kernel) => [kernel, choice.measure(kernel) ?? Number.POSITIVE_INFINITY]));
  const shipped = device.tuning.shipped[keyOf("matmul", problem)]?.kernel ?? kernels[0]!;
  const [firstMs, shippedMs, servedMs] = [kernels[0]!, shipped, chosen].map((kernel) => times.get(kernel)!) as [
    ...[number, number, number],
  ];
  return { timeMs, flops, library: { firstMs, shippedMs, servedMs, bestMs: Math.min(...times.values()) } };
}

await answerRequests((request: GpuKernelRequest) =>
  engine.noGrad(() =>
    engine.scope(() => {
      const { isQuick } = request;
      const answer =
        "copy" in request
          ? copy(request.copy, isQuick)
          : "kernel" in request
            ? kernel(request.kernel, isQuick)
            : product(request.product, isQuick);
      return answer;
    }),
  ),
);
