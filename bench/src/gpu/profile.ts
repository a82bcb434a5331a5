import type { CudaBackend } from "@revnet-zero/backend-cuda";
import type { Backend, BufferView, Kernel } from "@revnet-zero/tensor";
import { wrapBackend } from "@revnet-zero/testkit";

interface Cost {
  calls: number;
  timeMs: number;
}

/** Time on the device by op and shape: waits before and after every op, so the sum is more than a step takes. */
type Block = ReturnType<CudaBackend["allocate"]>;

export class OpProfile {
  readonly #costs = new Map<string, Cost>();
  readonly backend: Backend;

  constructor(backend: CudaBackend) {
    const timed = (name: string, views: readonly BufferView<unknown>[], run: () => void): void => {
      const { native } = backend.device;
      const first = native.recordEvent();
      run();
      const timeMs = native.elapsed(first, native.recordEvent());
      const key = `${name} ${views.map((v) => `[${v.shape.join()}]${v.dtype}`).join(" ")}`;
      const cost = this.#costs.get(key) ?? { calls: 0, timeMs: 0 };
      this.#costs.set(key, { calls: cost.calls + 1, timeMs: cost.timeMs + timeMs });
    };
    const kernels = Object.entries(backend.kernels).map(([name, kernel]) => {
      const plain = kernel as unknown as Kernel<Block, unknown>;
      const run: Kernel<Block, unknown>["run"] = (inputs, outputs, attrs) =>
        timed(name, [...inputs.slice(0, 3), ...outputs.slice(0, 1)], () => plain.run(inputs, outputs, attrs));
      return [name, { ...plain, run }] as const;
    });
    this.backend = wrapBackend(backend as unknown as Backend, {
      kernels: Object.fromEntries(kernels) as never,
      elementwise: (op, attrs, inputs, output) =>
        timed(op.name, [...inputs, output], () =>
          backend.elementwise(op, attrs, inputs as BufferView<Block>[], output as BufferView<Block>),
        ),
    });
  }

  reset(): void {
    this.#costs.clear();
  }

  /** The dearest first. */
  lines(most: number): string[] {
    const all = [...this.#costs].sort(([, a], [, b]) => b.timeMs - a.timeMs);
    const total = all.reduce((sum, [, { timeMs }]) => sum + timeMs, 0);
    return [
      `${total.toFixed(2)} ms in all`,
      ...all.slice(0, most).map(([key, { calls, timeMs }]) => `${timeMs.toFixed(3)} ms ${calls}x ${key}`),
    ];
  }
}
