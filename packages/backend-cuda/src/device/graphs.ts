import {
  BackendError,
  dtypes,
  type Graph,
  type GraphMemory,
  type Key,
  numel,
  type TypedArray,
} from "@revnet-zero/tensor";
import { type Block, CachingAllocator } from "./allocator.ts";
import type { CudaDevice } from "./device.ts";
import { addressOf, type CudaView } from "./view.ts";

/** Work being taken down. */
interface Capture {
  /** Where the keys lie that change from launch to launch. */
  readonly places: ReadonlyMap<Key, number>;
  readonly placed: Set<Key>;
  /** Numbers of the host that the work copies from device memory. */
  readonly constants: (readonly [Block, TypedArray])[];
  /** Where the work writes: from each first address to the one behind the last. */
  readonly written: (readonly [from: number, to: number])[];
  /** Whether another stream was waited for since a kernel was last launched. */
  hasJoined: boolean;
}

const KEY_BYTES = 8;

/** CUDA graphs: what is being captured now, and the memory that graphs work in. */
export class DeviceGraphs {
  readonly #device: CudaDevice;
  readonly #open = new Map<PrivateMemory, () => void>();
  #capture: Capture | undefined;

  constructor(device: CudaDevice) {
    this.#device = device;
  }

  /** Memory for graphs. `onRevoked` is told when it is taken back, and has to let go of every graph in it. */
  open(onRevoked: () => void): GraphMemory<Block> {
    const memory = new PrivateMemory(
      this.#device,
      (capture) => this.#during(capture),
      () => this.#open.delete(memory),
    );
    this.#open.set(memory, onRevoked);
    return memory;
  }

  /** Takes back all that graphs hold, but not while one is made. */
  revoke(): void {
    if (this.#capture !== undefined) return;
    for (const onRevoked of [...this.#open.values()]) onRevoked();
  }

  get isCapturing(): boolean {
    return this.#capture !== undefined;
  }

  /** Where a kernel finds a key that changes from launch to launch, or 0 where the key is a number like others. */
  placeOf(key: Key): number {
    const place = this.#capture?.places.get(key);
    if (place !== undefined) this.#capture!.placed.add(key);
    return place ?? 0;
  }

  /** The work has been ordered behind another stream's. */
  noteJoined(): void {
    if (this.#capture !== undefined) this.#capture.hasJoined = true;
  }

  /** Whether a kernel that waits itself for the one in front of it may be launched before that ends: not where it has more than that to wait for. */
  startsEarly(): boolean {
    const capture = this.#capture;
    if (capture === undefined) return false;
    const { hasJoined } = capture;
    capture.hasJoined = false;
    return !hasJoined;
  }

  /** Notes what an op writes. Everything that is asked for while a graph is made has to. */
  noteWritten({ address, bytes }: Block): void {
    this.#capture?.written.push([address, address + bytes]);
  }

  /**
   * Whether no work of the graph being made writes to these operands up to here: a kernel may read them before the kernels in front
   * of it have ended (chain.cu).
   */
  isUntouched(...operands: readonly (CudaView | undefined)[]): boolean {
    const written = this.#capture?.written;
    if (written === undefined) return false;
    return operands.every((view) => {
      if (view === undefined) return true;
      const from = addressOf(view);
      const to = from + numel(view.shape) * dtypes[view.dtype].bytes;
      return written.every((w) => to <= w[0] || w[1] <= from);
    });
  }

  /** Writes numbers of the host: into the graph's own copy of them while one is made, which the work copies from. */
  write(to: Block, values: TypedArray): void {
    const { native, ordinary } = this.#device;
    if (this.#capture === undefined) {
      native.upload(to.address, values, values.byteLength);
      return;
    }
    const from = ordinary.allocate(values.byteLength);
    this.#capture.constants.push([from, values]);
    this.noteWritten(to);
    native.copy(to.address, from.address, values.byteLength);
  }

  #during(capture: Capture | undefined): void {
    this.#capture = capture;
  }
}

/**
 * Memory that graphs alone use, so that their addresses stay theirs: parts of the ordinary allocator's. All launches are on one stream: so
 * all graphs may work in the same places, and the workspaces of their kernels come from one allocator.
 */
class PrivateMemory implements GraphMemory<Block> {
  readonly #device: CudaDevice;
  readonly #during: (capture: Capture | undefined) => void;
  readonly #onDisposed: () => void;
  readonly #pieces: Block[] = [];
  readonly #segments = new Map<number, Block>();
  readonly #allocator: CachingAllocator;

  constructor(device: CudaDevice, during: (capture: Capture | undefined) => void, onDisposed: () => void) {
    this.#device = device;
    this.#during = during;
    this.#onDisposed = onDisposed;
    this.#allocator = new CachingAllocator({
      allocate: (bytes) => this.#take(bytes),
      release: (address) => {
        device.ordinary.free(this.#segments.get(address)!);
        this.#segments.delete(address);
      },
    });
  }

  #take(bytes: number): number {
    try {
      const block = this.#device.ordinary.allocate(bytes);
      this.#segments.set(block.address, block);
      return block.address;
    } catch (error) {
      if (error instanceof RangeError) return 0;
      throw error;
    }
  }

  allocate(bytes: number): Block {
    // What call by call needed and kept for reuse is in the way now.
    this.#device.ordinary.releaseCached();
    const piece = this.#device.ordinary.allocate(bytes);
    this.#pieces.push(piece);
    return piece;
  }

  part({ address }: Block, offset: number, bytes: number): Block {
    return { address: address + offset, bytes };
  }

  capture(keys: readonly Key[], work: () => void): Graph<Block> {
    const device = this.#device;
    const keysAt = device.ordinary.allocate(KEY_BYTES * keys.length);
    const places = new Map(keys.map((key, i) => [key, keysAt.address + KEY_BYTES * i]));
    const capture: Capture = { places, placed: new Set(), constants: [], written: [], hasJoined: false };
    const owned = (): Block[] => [keysAt, ...capture.constants.map(([block]) => block)];
    try {
      const graph = this.#takeDown(capture, work);
      return new LaunchableGraph(device, graph, keysAt, owned());
    } catch (error) {
      for (const block of owned()) device.ordinary.free(block);
      throw error;
    }
  }

  #takeDown(capture: Capture, work: () => void): number {
    const { native } = this.#device;
    this.#device.guard(() => native.beginCapture());
    this.#during(capture);
    try {
      this.#device.withAllocator(this.#allocator, work);
      const forgotten = capture.places.size - capture.placed.size;
      if (forgotten > 0)
        throw new BackendError(
          "cuda",
          `${forgotten} keys became constants of a kernel`,
          "report this: placeOf is missing",
        );
    } catch (error) {
      native.abandonCapture();
      throw error;
    } finally {
      this.#during(undefined);
    }
    const graph = this.#device.guard(() => native.endCapture());
    try {
      for (const [{ address }, values] of capture.constants)
        this.#device.guard(() => native.upload(address, values, values.byteLength));
      return graph;
    } catch (error) {
      native.destroyGraph(graph);
      throw error;
    }
  }

  dispose(): void {
    this.#allocator.releaseCached();
    for (const piece of this.#pieces) this.#device.ordinary.free(piece);
    this.#onDisposed();
  }
}

class LaunchableGraph implements Graph<Block> {
  readonly #device: CudaDevice;
  readonly #graph: number;
  readonly #keysAt: Block;
  /** Blocks that live as long as it does. */
  readonly #owned: readonly Block[];

  constructor(device: CudaDevice, graph: number, keysAt: Block, owned: readonly Block[]) {
    this.#device = device;
    this.#graph = graph;
    this.#keysAt = keysAt;
    this.#owned = owned;
  }

  launch(inputs: readonly (readonly [from: Block, to: Block])[], keys: readonly Key[]): void {
    const device = this.#device;
    device.launches++;
    device.guard(() => {
      const { native } = device;
      for (const [from, to] of inputs) native.copy(to.address, from.address, Math.min(from.bytes, to.bytes));
      const words = Uint32Array.from(keys.flat());
      if (words.length > 0) native.upload(this.#keysAt.address, words, words.byteLength);
      native.launchGraph(this.#graph);
    });
  }

  dispose(): void {
    this.#device.native.destroyGraph(this.#graph);
    for (const block of this.#owned) this.#device.ordinary.free(block);
  }
}
