import { Engine, ops, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import type { CudaBackend } from "../backend.ts";
import { timeOnDevice } from "../choice/tune.ts";
import type { Block } from "../device/allocator.ts";
import type { CudaView } from "../device/device.ts";
import { ElementwiseRunner } from "../elementwise/run.ts";
import { kernelsFor, runBy } from "../kernels/linearActivationBackward.ts";

export interface KernelOfProblem {
  readonly kernel: string;
  /** Whether a second run gave the same bits. */
  readonly isSame: boolean;
  /** Largest differences from the parts in float32, over the largest element: of the gradient, and of its sums. */
  readonly apart: readonly number[];
  /** Milliseconds, where they were asked for. */
  readonly timeMs: number | undefined;
}

const viewOf = ({ storage, layout, dtype }: Tensor): CudaView => ({ ...layout, dtype, data: storage.data as Block });

/** Every kernel for linearActivationBackward of GELU in bfloat16, of g [rows, out] and W [out, inner]: what it gives, twice. */
export function tryEveryKernel(
  backend: CudaBackend,
  [rows, out, inner]: readonly [number, number, number],
  isTimed = false,
): KernelOfProblem[] {
  const engine = new Engine(backend);
  const context = { device: backend.device, elementwise: new ElementwiseRunner(backend.device) };
  return engine.scope(() =>
    engine.noGrad(() => {
      const draw = (shape: readonly number[], seed: number): Tensor =>
        randomNormal(shape, { key: randomKey(seed), engine }).cast("bf16");
      const operands = [draw([rows, out], 1), draw([out, inner], 2), draw([rows, inner], 3)] as const;
      const attrs = { activation: "gelu", sums: "f32" } as const;
      const wide = operands.map((t) => t.cast("f32"));
      const exact = engine.scope(() => [...ops.linearActivationBackward.decompose(wide, attrs)]);
      const [g, w, before] = operands.map(viewOf) as [CudaView, CudaView, CudaView];
      const problem = { g, w, before, activation: "gelu" as const };
      const into = (kernel: string, results: readonly Tensor[]): boolean => {
        const [by, sums] = results.map(viewOf) as [CudaView, CudaView];
        return runBy(context, kernel, { ...problem, by, sums });
      };
      const largest = (t: Tensor): number => t.abs().max().itemSync();
      return kernelsFor(context, { ...problem, by: before, sums: before }).flatMap((kernel) =>
        engine.scope(() => {
          const [first, second] = [0, 1].map(() => [operands[2].zerosLike(), operands[2].fullOf([inner], 0, "f32")]);
          if (!into(kernel, first!) || !into(kernel, second!)) return [];
          const isSame = first!.every((t, i) => t.equal(second![i]!).cast("i32").min().itemSync() === 1);
          const apart = first!.map((t, i) => largest(t.cast("f32").sub(exact[i]!)) / largest(exact[i]!));
          const timeMs = isTimed ? timeOnDevice(backend.device, () => void into(kernel, first!)) : undefined;
          return [{ kernel, isSame, apart, timeMs }];
        }),
      );
    }),
  );
}
