import {
  type Backend,
  type DType,
  type ElementwiseOp,
  Engine,
  type KernelTable,
  RevNetError,
  type TypedArray,
} from "@revnet-zero/tensor";
import { type Device, type DeviceCounts, openDevice } from "./device/device.ts";
import { type GpuJsMode, modeError } from "./device/gpu.ts";
import { wordsFromHost, wordsToHost } from "./host.ts";
import { Context } from "./kernels/context.ts";
import { gpuKernels } from "./kernels/index.ts";
import { elementwise } from "./kernels/map.ts";
import { type SelfTest, testDevice } from "./selfTest.ts";
import type { Slot, View } from "./slot.ts";
import { wordsOf } from "./text/source.ts";

export interface GpuJsOptions {
  /** Where kernels run. Default: the first of webgl2, webgpu, webasm that works here. */
  readonly mode?: GpuJsMode;
}

/**
 * Kernels of gpu.js in one mode. Tensors are f32, i32 and bool; buffers are rows of float32 numbers, an i32 in two of them. Same
 * inputs on one device in one mode: same bits; between modes results differ in the last places.
 */
export class GpuJsBackend implements Backend<Slot> {
  readonly name: string;
  readonly mode: GpuJsMode;
  readonly isSynchronous: boolean;
  readonly dtypes: readonly DType[] = ["f32", "i32", "bool"];
  readonly kernels: KernelTable<Slot>;
  readonly arithmetic: string;
  readonly readSync?: (data: Slot, dtype: DType, elements: number) => TypedArray;
  readonly #context: Context;
  readonly #device: Device;

  /** @internal Use `createGpuJsBackend`. */
  constructor(device: Device) {
    this.mode = device.mode;
    this.name = `gpujs ${device.mode}`;
    this.arithmetic = `gpu.js ${device.mode}, float32 sums in an order that follows from the shape`;
    this.#device = device;
    this.#context = new Context(device);
    this.kernels = gpuKernels(this.#context);
    this.isSynchronous = device.lane.isImmediate;
    if (this.isSynchronous) {
      this.readSync = (data, dtype, elements) =>
        elements === 0 || data.elements === 0
          ? wordsToHost(new Float32Array(0), dtype, 0, 0)
          : wordsToHost(device.readSync(this.#context.operand({ data }).words), dtype, data.elements, elements);
    }
  }

  elementwise(
    // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
    op: ElementwiseOp<any>,
    attrs: unknown,
    inputs: readonly View[],
    output: View,
  ): void {
    elementwise(this.#context, op, attrs, inputs, output);
  }

  allocate(dtype: DType, elements: number): Slot {
    this.#device.checkCount(wordsOf(dtype, elements), `a tensor of ${elements} ${dtype} elements`);
    return { dtype, elements, words: undefined };
  }
  free(data: Slot): void {
    if (data.words !== undefined) this.#device.release(data.words);
    data.words = undefined;
  }
  bytesOf(dtype: DType, elements: number): number {
    return this.#device.bytesOf(wordsOf(dtype, elements));
  }
  write(data: Slot, values: TypedArray): void {
    if (values.length === 0) return;
    const { dtype, elements } = data;
    const words = this.#device.upload(wordsFromHost(values, dtype, elements));
    this.#context.store(data, { words, dtype, elements });
  }
  async read(data: Slot, dtype: DType, elements: number): Promise<TypedArray> {
    if (elements === 0 || data.elements === 0) return wordsToHost(new Float32Array(0), dtype, 0, 0);
    return wordsToHost(await this.#device.read(this.#context.operand({ data }).words), dtype, data.elements, elements);
  }

  /** Gives up kernels that are compiled and idle, with the buffers that gpu.js keeps for them. */
  releaseCaches(): void {
    this.#device.kernels.forget();
  }

  /** What the start-up test found on this device. */
  get selfTest(): SelfTest {
    return tested.get(this.#device)!;
  }

  /** What the device holds, and what was compiled. */
  memory(): DeviceCounts {
    return this.#device.counts();
  }
}

/**
 * A backend on gpu.js, which is imported now and not before: `npm install gpu.js@2.24.1` first. Tests the device (exact integers,
 * repeatability, the executed mode) and throws a BackendError that says what is missing.
 */
export async function createGpuJsBackend(options: GpuJsOptions = {}): Promise<GpuJsBackend> {
  const { mode } = options;
  if (mode !== undefined) return start(mode);
  const failures: unknown[] = [];
  for (const candidate of ["webgl2", "webgpu", "webasm"] as const) {
    try {
      return await start(candidate);
    } catch (error) {
      failures.push(error);
    }
  }
  throw failures[failures.length - 1];
}

const tested = new WeakMap<Device, SelfTest>();

async function start(mode: GpuJsMode): Promise<GpuJsBackend> {
  const device = await openDevice(mode);
  const backend = new GpuJsBackend(device);
  try {
    if (!tested.has(device)) tested.set(device, await testDevice(new Engine(backend)));
  } catch (error) {
    // What a device lacks may show only in its first kernel: WebGPU without an adapter.
    throw error instanceof RevNetError ? error : modeError(mode, (error as Error).message);
  }
  return backend;
}
