import {
  type Backend,
  type BufferView,
  type DType,
  dtypes,
  type ElementwiseOp,
  type GraphMemory,
  type HostCopies,
  type KernelTable,
  type MemoryModel,
  type TypedArray,
} from "@revnet-zero/tensor";
import { type TuneReport, tune } from "./choice/tune.ts";
import type { Block } from "./device/allocator.ts";
import { type CudaDevice, openDevice } from "./device/device.ts";
import { deviceError } from "./device/errors.ts";
import type { LibraryState } from "./device/libraries.ts";
import { ElementwiseRunner } from "./elementwise/run.ts";
import { cudaKernels } from "./kernels/index.ts";
import { DeviceMemoryModel } from "./memoryModel.ts";

export interface CudaOptions {
  /** Which of the machine's devices. Default 0. */
  readonly device?: number;
}

/** What a device holds, as its allocator and its driver see it. */
export interface DeviceMemory {
  /** Handed out to tensors and workspaces. */
  readonly usedBytes: number;
  readonly peakUsedBytes: number;
  /** Most bytes handed out to tensors at once, rounded up as they are: workspaces are left out. */
  readonly peakTensorBytes: number;
  /** Taken from the driver: what is handed out, and what is kept for reuse. */
  readonly reservedBytes: number;
  readonly peakReservedBytes: number;
  readonly liveBlocks: number;
  /** Host memory that copies of tensors lie in. */
  readonly hostBytes: number;
  /** The driver's own count, other processes included. */
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Whether there is anything to read: of a tensor without elements a view's offset may point anywhere. */
const holds = (data: Block, elements: number): boolean => elements > 0 && data.bytes > 0;

/**
 * An NVIDIA GPU. Ops enqueue their kernels on one stream and return; reading a tensor waits. Same inputs, same device, same
 * bits: no atomic adds, and every sum in an order that follows from its shape.
 */
export class CudaBackend implements Backend<Block> {
  readonly name = "cuda";
  readonly isSynchronous = true;
  /** Parts of a vocabulary's logits fill the device, and reading the head's weight for each of them is small beside their product. */
  readonly largestTemporary: number = 2 ** 27;
  readonly kernels: KernelTable<Block>;
  readonly device: CudaDevice;
  readonly #elementwise: ElementwiseRunner;
  #tensorBytes = 0;
  #peakTensorBytes = 0;

  constructor({ device = 0 }: CudaOptions = {}) {
    this.device = openDevice(device);
    this.#elementwise = new ElementwiseRunner(this.device);
    this.kernels = cudaKernels({ device: this.device, elementwise: this.#elementwise });
  }

  /** Asked of NVIDIA's libraries, so only when a checkpoint wants it. */
  get arithmetic(): string {
    const by = (name: string, state: LibraryState): string => ("missing" in state ? "own" : `${name} ${state.version}`);
    const { products, attention, tuning, target } = this.device;
    const tuned = tuning.hash === "" ? "" : `, tuned ${tuning.hash}`;
    const libraries = `matrix products: ${by("cuBLASLt", products.state)}, attention: ${by("cuDNN", attention.state)}`;
    return `CUDA ${target}, float32 sums in an order that follows from the shape, ${libraries}${tuned}`;
  }

  elementwise(
    // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
    op: ElementwiseOp<any>,
    attrs: unknown,
    inputs: readonly BufferView<Block>[],
    output: BufferView<Block>,
  ): void {
    this.#elementwise.run(op, attrs, inputs, output);
    this.device.graphs.noteWritten(output.data);
  }

  allocate(dtype: DType, elements: number): Block {
    const block = this.device.allocator.allocate(elements * dtypes[dtype].bytes);
    this.#tensorBytes += block.bytes;
    this.#peakTensorBytes = Math.max(this.#peakTensorBytes, this.#tensorBytes);
    return block;
  }
  free(data: Block): void {
    this.#tensorBytes -= data.bytes;
    this.device.allocator.free(data);
  }
  write(data: Block, values: TypedArray): void {
    if (values.length > 0) this.device.guard(() => this.device.graphs.write(data, values));
  }
  readSync(data: Block, dtype: DType, elements: number): TypedArray {
    const values = new dtypes[dtype].array(holds(data, elements) ? elements : 0);
    if (values.length > 0)
      this.device.guard(() => this.device.native.download(values, data.address, values.byteLength));
    this.device.faults.check();
    return values;
  }
  async read(data: Block, dtype: DType, elements: number): Promise<TypedArray> {
    const { array, bytes } = dtypes[dtype];
    if (!holds(data, elements)) return new array(0);
    try {
      const words = await this.device.native.read(data.address, elements * bytes);
      this.device.faults.check();
      return new (array as unknown as new (words: ArrayBuffer) => TypedArray)(words);
    } catch (error) {
      throw deviceError(error);
    }
  }
  releaseCaches(): void {
    this.device.releaseCaches();
  }

  openGraphs(onRevoked: () => void): GraphMemory<Block> {
    return this.device.graphs.open(onRevoked);
  }

  /** Waits until the device has done everything asked of it. */
  synchronize(): void {
    this.device.guard(() => this.device.native.synchronize());
    this.device.faults.check();
  }

  /**
   * Times the kernels of every problem met so far that several serve, and writes the table that processes started later read.
   * `log` is told what changes.
   */
  tune(log?: (line: string) => void): TuneReport {
    return tune(this.device, log);
  }

  memoryModel(): MemoryModel<Block> {
    return new DeviceMemoryModel(this.device, this.kernels);
  }

  get hostCopies(): HostCopies<Block> {
    return this.device.hostCopies;
  }

  get reservedBytes(): number {
    return this.device.ordinary.reservedBytes;
  }

  memory(): DeviceMemory {
    const { usedBytes, peakUsedBytes, reservedBytes, peakReservedBytes, liveBlocks } = this.device.ordinary;
    const [freeBytes, totalBytes] = this.device.guard(() => this.device.native.memoryInfo());
    const [hostBytes] = this.device.native.pinnedMemory();
    const peakTensorBytes = this.#peakTensorBytes;
    return {
      ...{ usedBytes, peakUsedBytes, peakTensorBytes, reservedBytes, peakReservedBytes, liveBlocks, hostBytes },
      ...{ freeBytes, totalBytes },
    };
  }

  /** Starts new measurements of the peaks from what is in use now. */
  resetPeaks(): void {
    this.#peakTensorBytes = this.#tensorBytes;
    this.device.ordinary.resetPeaks();
  }
}
