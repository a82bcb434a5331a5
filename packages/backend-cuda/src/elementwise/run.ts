import { collapse, dtypes, type ElementwiseOp, type Loop, numel } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import { castBody, copyBody, kernelName, type MapBody, mapSource, opBody, type Walk } from "./source.ts";

/** Elements a thread reads at once: 16 bytes of the widest operand, where all of them allow it. */
function packOf(operands: readonly CudaView[], loops: readonly Loop[]): number {
  const inner = loops[loops.length - 1]!;
  const widest = Math.max(...operands.map((v) => dtypes[v.dtype].bytes));
  for (let pack = 16 / widest; pack > 1; pack /= 2) {
    const fits = operands.every((v, k) => {
      const step = inner.strides[k]!;
      if (step === 0 && k > 0) return true;
      const { bytes } = dtypes[v.dtype];
      return (
        step === 1 &&
        addressOf(v) % (pack * bytes) === 0 &&
        loops.slice(0, -1).every((loop) => loop.strides[k]! % pack === 0)
      );
    });
    if (fits && inner.size % pack === 0) return pack;
  }
  return 1;
}

/** Runs a body once an element of the output, which may be a view. Kernels are printed and compiled once a structure. */
export class ElementwiseRunner {
  readonly #device: CudaDevice;
  // biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
  readonly #ofOps = new WeakMap<ElementwiseOp<any>, Map<string, number>>();
  readonly #moves = new Map<string, number>();

  constructor(device: CudaDevice) {
    this.#device = device;
  }

  run(
    // biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
    op: ElementwiseOp<any>,
    attrs: unknown,
    inputs: readonly CudaView[],
    output: CudaView,
  ): void {
    let kernels = this.#ofOps.get(op);
    if (kernels === undefined) {
      kernels = new Map();
      this.#ofOps.set(op, kernels);
    }
    const types = inputs.map((v) => v.dtype);
    const key = `${types.join()} ${output.dtype} ${attrs === undefined ? "" : JSON.stringify(attrs)}`;
    this.#map(kernels, key, () => opBody(op, attrs, output.dtype, types), [output, ...inputs]);
  }

  cast(input: CudaView, output: CudaView): void {
    const body = (): MapBody => castBody(output.dtype, input.dtype);
    this.#map(this.#moves, `cast ${input.dtype} ${output.dtype}`, body, [output, input]);
  }

  /** Copies the words of one view over another of its shape. */
  copy(input: CudaView, output: CudaView): void {
    const { bytes } = dtypes[input.dtype];
    this.#map(this.#moves, `copy ${bytes}`, () => copyBody(input.dtype), [output, input]);
  }

  #map(kernels: Map<string, number>, key: string, body: () => MapBody, operands: readonly CudaView[]): void {
    const [output] = operands as [CudaView];
    const elements = numel(output.shape);
    // It takes no memory besides.
    if (elements === 0 || this.#device.isIdle) return;
    const loops = collapse(
      output.shape,
      operands.map((v) => v.strides),
    );
    const inner = loops[loops.length - 1]!;
    const pack = packOf(operands, loops);
    const walk: Walk = {
      rank: loops.length,
      pack,
      repeats: inner.strides.map((s) => s === 0),
      isLong: elements >= 2 ** 31,
    };
    const pattern = pack === 1 ? "" : walk.repeats.map(Number).join("");
    const variant = `${key} ${walk.rank} ${pack} ${pattern} ${walk.isLong}`;
    let kernel = kernels.get(variant);
    if (kernel === undefined) {
      const printed = body();
      kernel = this.#device.printed(kernelName(printed.name), mapSource(printed, walk));
      kernels.set(variant, kernel);
    }
    const p = this.#device.parameters.start();
    for (const v of operands) p.pointer(addressOf(v));
    for (let k = 0; k < operands.length; k++)
      for (const loop of loops) p.long(loop.strides[k]! * (loop === inner ? pack : 1));
    p.long(elements / pack);
    // The outermost loop takes what the others leave: its size, which may be beyond 32 bits, is not asked for.
    for (const [d, loop] of loops.entries()) p.int(d === 0 ? 0 : loop === inner ? loop.size / pack : loop.size);
    this.#device.launch(kernel, Math.ceil(elements / pack / THREADS));
  }
}
