import { join } from "node:path";
import { BackendError, OutOfMemoryError } from "@revnet-zero/tensor";
import { KernelChoices } from "../choice/kernelChoices.ts";
import { TuningTable } from "../choice/tuningTable.ts";
import { loadAddon, nativeFolder } from "./addon.ts";
import { type Block, CachingAllocator } from "./allocator.ts";
import { AttentionGraphs } from "./attentionGraphs.ts";
import type { NativeCuda } from "./binding.ts";
import { Collectives } from "./collectives.ts";
import { Compiler } from "./compiler.ts";
import { openDriver } from "./driver.ts";
import { deviceError, isOutOfMemory, SHORTER } from "./errors.ts";
import { Faults } from "./faults.ts";
import { DeviceGraphs } from "./graphs.ts";
import { DeviceHostCopies } from "./hostCopies.ts";
import { Parameters } from "./parameters.ts";
import { Products } from "./products.ts";
import { isChained, type KernelUnit, unitSource } from "./sources.ts";

export { addressOf, addressOr0, type CudaView } from "./view.ts";

/** What kernels are compiled for: the letter allows the instructions of this very architecture, such as wgmma. */
export const targetOf = (major: number, minor: number): string => `sm_${major}${minor}${major >= 9 ? "a" : ""}`;

/** Blocks along the first axis of a launch, and what to do where more are asked for. */
const MOST_BLOCKS = 2 ** 31;
const SPLIT = "split the batch or the sequence: x.split(sizes, axis)";

/** Threads of a block, wherever a kernel does not say otherwise. */
export const THREADS = 256;

/** Kernels of a graph may start early on Hopper and later, and where the driver knows such edges of a graph. */
const CHAIN_ARCHITECTURE = 90;
const CHAIN_DRIVER = 12030;

const NO_KERNEL = 0;
const nothing = (): void => {};
/** What the addon is asked for where only memory is of interest. */
const noWork: Partial<NativeCuda> = {
  ...{ launch: nothing, multiply: nothing, runAttention: nothing, fill: nothing, copy: nothing, upload: nothing },
};

/** The open device: memory, kernels and their launches, all on one stream in program order; beside it, copies to host memory. */
export class CudaDevice {
  readonly #native: NativeCuda;
  /** The same without what computes or moves. */
  readonly #idle: NativeCuda;
  #isIdle = false;
  readonly name: string;
  /** sm_90a: what kernels are compiled for. */
  readonly target: string;
  /** Whether four warps multiply together, and boxes are copied by maps: on Hopper, and on the stand-in, which is no architecture. */
  readonly hasWarpgroups: boolean;
  readonly processors: number;
  /** The largest dynamic shared memory of a block. */
  readonly sharedBytes: number;
  readonly totalBytes: number;
  readonly driverVersion: number;
  readonly tuning: TuningTable;
  readonly choices: KernelChoices;
  /** Where memory comes from: the ordinary allocator, or a graph's while one is captured. */
  allocator: CachingAllocator;
  readonly ordinary: CachingAllocator;
  readonly graphs: DeviceGraphs;
  readonly compiler: Compiler;
  readonly products: Products;
  readonly collectives: Collectives;
  readonly attention: AttentionGraphs;
  readonly hostCopies: DeviceHostCopies;
  readonly faults: Faults;
  readonly parameters: Parameters = new Parameters();
  readonly #kernels = new Map<string, number>();
  readonly #modules = new Map<string, { readonly module: number; readonly isChained: boolean }>();
  /** Kernels that wait themselves for the work before them. */
  readonly #chained = new Set<number>();
  /** Launches so far. */
  launches = 0;

  constructor(ordinal: number) {
    const native = loadAddon();
    this.#native = native;
    this.#idle = { ...native, ...noWork };
    this.driverVersion = openDriver(native);
    try {
      this.name = native.deviceName(ordinal);
      const [major, minor, processors, shared, bytes] = native.deviceFacts(ordinal);
      this.target = targetOf(major, minor);
      this.hasWarpgroups = major === 9 || major === 0;
      this.processors = processors;
      this.sharedBytes = shared;
      this.totalBytes = bytes;
      native.openDevice(ordinal);
    } catch (error) {
      throw deviceError(error);
    }
    this.tuning = new TuningTable({ device: this.name, target: this.target, driverVersion: this.driverVersion });
    this.choices = new KernelChoices(this.tuning.entries);
    this.ordinary = new CachingAllocator(native);
    this.allocator = this.ordinary;
    this.graphs = new DeviceGraphs(this);
    this.hostCopies = new DeviceHostCopies(this);
    const driverMajor = Math.floor(this.driverVersion / 1000);
    this.compiler = new Compiler(native, driverMajor, this.target, join(nativeFolder(), "out", "kernels"));
    this.products = new Products(this, driverMajor);
    this.collectives = new Collectives(this, driverMajor);
    this.attention = new AttentionGraphs(this, driverMajor);
    try {
      native.setParameters(this.parameters.bytes);
      this.faults = new Faults(native);
    } catch (error) {
      // Else whoever tries again is told that it is open.
      native.closeDevice();
      throw deviceError(error);
    }
  }

  /** The addon. */
  get native(): NativeCuda {
    return this.#isIdle ? this.#idle : this.#native;
  }

  /** Whether kernels are asked for what they take alone. */
  get isIdle(): boolean {
    return this.#isIdle;
  }

  /** Runs `f`, which asks for kernels, with none of them compiled or launched: for what they take of an allocator over no memory. */
  withoutWork(allocator: CachingAllocator, f: () => void): void {
    const { launches } = this;
    this.#isIdle = true;
    try {
      this.withAllocator(allocator, f);
    } finally {
      this.#isIdle = false;
      this.launches = launches;
    }
  }

  /** Runs `f` with memory from another allocator, to which it gives back all it takes. */
  withAllocator(allocator: CachingAllocator, f: () => void): void {
    this.allocator = allocator;
    try {
      f();
    } finally {
      this.allocator = this.ordinary;
    }
  }

  /** Gives back to the driver what nobody uses, what graphs keep between their launches and pinned host memory included. */
  releaseCaches(): void {
    this.graphs.revoke();
    this.ordinary.releaseCached();
    this.native.releasePinned();
  }

  /** Memory for the length of a kernel: freed in program order, like everything on the one stream. */
  withWorkspace<T>(bytes: number, use: (address: number) => T): T {
    const block = this.#workspace(bytes);
    try {
      return use(block.address);
    } finally {
      this.allocator.free(block);
    }
  }

  #workspace(bytes: number): Block {
    try {
      return this.#withRoom(() => this.allocator.allocate(bytes));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const problem = `a kernel's ${bytes} bytes of workspace exceed the device's memory`;
      throw new OutOfMemoryError("allocate", problem, SHORTER);
    }
  }

  /** What needs room on the device; where there is none, again when cached memory was given back. */
  #withRoom<T>(attempt: () => T): T {
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof RangeError) && !isOutOfMemory(error)) throw error;
      this.releaseCaches();
      return attempt();
    }
  }

  /** A kernel of a unit, compiled when first asked for. */
  kernel(unit: KernelUnit, name: string, sharedBytes = 0): number {
    if (this.#isIdle) return NO_KERNEL;
    const key = unitKey(unit);
    let kernel = this.#kernels.get(`${key} ${name}`);
    if (kernel === undefined) {
      kernel = this.#function(key, () => unitSource(unit), unit.files[unit.files.length - 1]!, name, sharedBytes);
      this.#kernels.set(`${key} ${name}`, kernel);
    }
    return kernel;
  }

  /** A kernel of printed source. */
  printed(name: string, source: string): number {
    if (this.#isIdle) return NO_KERNEL;
    return this.#function(source, () => source, name, name, 0);
  }

  #function(key: string, source: () => string, title: string, name: string, sharedBytes: number): number {
    let found = this.#modules.get(key);
    if (found === undefined) {
      const text = source();
      const code = this.compiler.compile(text, title);
      const module = this.guard(() => this.#withRoom(() => this.native.loadModule(code)));
      found = { module, isChained: this.driverVersion >= CHAIN_DRIVER && isChained(text) };
      this.#modules.set(key, found);
    }
    const { module } = found;
    const kernel = this.guard(() => this.native.getFunction(module, name, sharedBytes));
    if (found.isChained && this.guard(() => this.native.architectureOf(kernel)) >= CHAIN_ARCHITECTURE)
      this.#chained.add(kernel);
    return kernel;
  }

  /** Runs a kernel on the parameters packed last. */
  launch(kernel: number, blocksX: number, blocksY = 1, blocksZ = 1, threads: number = THREADS, sharedBytes = 0): void {
    this.launches++;
    if (blocksX >= MOST_BLOCKS)
      throw new BackendError("cuda", `${blocksX} blocks of threads are more than a launch may have`, SPLIT);
    try {
      // Not through guard: a closure a launch.
      const isEarly = this.#chained.has(kernel) && this.graphs.startsEarly() ? 1 : 0;
      this.native.launch(kernel, blocksX, blocksY, blocksZ, threads, sharedBytes, isEarly);
    } catch (error) {
      throw deviceError(error);
    }
  }

  /** One thread an element. */
  launchOver(kernel: number, elements: number): void {
    if (elements > 0) this.launch(kernel, Math.ceil(elements / THREADS));
  }

  /** Writes one byte over and over. */
  fill(address: number, byte: number, bytes: number): void {
    this.guard(() => this.native.fill(address, byte, bytes));
  }

  /** A call to the driver whose failure is the backend's error. */
  guard<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw deviceError(error);
    }
  }
}

function unitKey({ files, types = {}, constants = {}, printed = "" }: KernelUnit): string {
  return [files.join(), ...Object.values(types), ...Object.values(constants), printed].join(" ");
}

let opened: { readonly ordinal: number; readonly device: CudaDevice } | undefined;

/** The device of this process, which its backends share. One only: memory and kernels belong to it. */
export function openDevice(ordinal: number): CudaDevice {
  opened ??= { ordinal, device: new CudaDevice(ordinal) };
  if (opened.ordinal === ordinal) return opened.device;
  throw new BackendError(
    "cuda",
    `device ${opened.ordinal} is open in this process, not ${ordinal}`,
    "use one process for each device",
  );
}
