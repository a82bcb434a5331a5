import { BackendError, ValueError } from "@revnet-zero/tensor";
import { functionSources, signature } from "../text/functions.ts";
import { forgetGpu, type Gpu, type GpuJsMode, openGpu, type Texture } from "./gpu.ts";
import { KernelCache, type Maker } from "./kernels.ts";
import { immediate, type Lane, Queue } from "./lane.ts";
import { bytesOf, keepsTextures, textureSize } from "./textures.ts";

/** Positions are float32 numbers in kernels, exact below this. */
const MOST_WORDS = 2 ** 24;
const MAX_TEXTURE_SIZE = 0x0d33;

/** Numbers on the device that never change. Owned by who asked for them, until `release`. */
export interface Words {
  readonly count: number;
  readonly bytes: number;
  texture: Texture | undefined;
  readonly maker: Maker;
}

/** What a kernel is asked for. */
export interface Launch {
  /** Names the text; sizes of output and inputs, which gpu.js builds in, are added. */
  readonly key: string;
  readonly text: () => string;
  readonly count: number;
  readonly inputs: readonly Words[];
  readonly numbers: readonly number[];
}

export interface DeviceCounts {
  /** Held by tensors and by kernels at work. */
  readonly usedBytes: number;
  /** The same, and the last output of every kernel, which gpu.js keeps for its next run. */
  readonly reservedBytes: number;
  readonly buffers: number;
  readonly kernels: number;
  /** Time in which kernels were translated and compiled. */
  readonly compileMs: number;
  readonly launches: number;
}

/** gpu.js in one mode: its kernels, what they made, and the order in which they run. */
export class Device {
  readonly mode: GpuJsMode;
  readonly lane: Lane;
  readonly kernels: KernelCache;
  /** Functions are JavaScript's own. */
  readonly hasGoodFunctions: boolean;
  /** Functions have to stand before their users. */
  readonly needsOrder: boolean;
  /** JavaScript's numbers are float64. */
  readonly needsRounding: boolean;
  readonly #gpu: Gpu;
  readonly #maxTextureSize: number;
  #live = 0;
  #liveBytes = 0;
  #launches = 0;
  #lost: BackendError | undefined;

  constructor(mode: GpuJsMode, gpu: Gpu) {
    this.mode = mode;
    this.#gpu = gpu;
    this.lane = mode === "webgpu" ? new Queue() : immediate;
    this.kernels = new KernelCache(mode, gpu, this.lane);
    this.hasGoodFunctions = mode === "cpu" || mode === "webasm";
    this.needsOrder = keepsTextures(mode);
    this.needsRounding = mode === "cpu";
    this.#maxTextureSize = keepsTextures(mode)
      ? Number(gpu.context?.getParameter?.(MAX_TEXTURE_SIZE) ?? 4096)
      : Number.POSITIVE_INFINITY;
    for (const source of functionSources) {
      const types = new Array<string>(signature(source).arity).fill("Number");
      gpu.addFunction(source, { argumentTypes: types, returnType: "Number" });
    }
  }

  bytesOf(count: number): number {
    return bytesOf(this.mode, count);
  }

  /** Refuses what has no exact positions, or no texture. */
  checkCount(count: number, what: string): void {
    if (count >= MOST_WORDS) {
      throw new ValueError(
        "gpujs",
        `${what} takes ${count} numbers; a buffer holds fewer than ${MOST_WORDS}, as positions are float32 numbers (an i32 takes two)`,
        "use a smaller batch, a shorter sequence, or the CPU backend",
      );
    }
    const [width, height] = textureSize(Math.max(1, count));
    if (Math.max(width, height) > this.#maxTextureSize) {
      throw new RangeError(`${what} needs a texture of ${width} x ${height}, this device has ${this.#maxTextureSize}`);
    }
  }

  /** Enqueues a kernel and gives what it will make. */
  run({ key, text, count, inputs, numbers }: Launch): Words {
    const whole = `${key} ${count} of ${inputs.map((w) => w.count).join()} and ${numbers.length}`;
    const maker = this.kernels.get(whole, count, text);
    return this.#launch(maker, count, () => [...inputs.map((w) => w.texture), ...numbers]);
  }

  /** Enqueues an upload. The numbers are copied where that is later, as the caller may write over them. */
  upload(values: Float32Array): Words {
    const count = values.length;
    // A kernel of its own: one that was first called with an array fails when it is called with a texture.
    const maker = this.kernels.get(`upload ${count}`, count, () => "function(u) { return u[this.thread.x]; }");
    const given = this.lane.isImmediate ? values : values.slice();
    return this.#launch(maker, count, () => [given]);
  }

  #launch(maker: Maker, count: number, args: () => unknown[]): Words {
    this.#refuseLost();
    const made: Words = { count, bytes: this.bytesOf(count), texture: undefined, maker };
    this.#account(made, 1);
    this.#launches++;
    this.lane.run(() => {
      const result = this.#call(maker, args());
      const take = (texture: Texture): void => {
        made.texture = texture;
      };
      return result instanceof Promise ? result.then(take) : take(result);
    });
    return made;
  }

  /** A context that was just lost compiles no shader and has nothing to say about it, also before it says that it is lost. */
  #call(maker: Maker, args: unknown[]): Texture | Promise<Texture> {
    try {
      return this.kernels.run(maker, args);
    } catch (error) {
      if (/compiling \w+ shader:\s*$/.test(String(error))) this.#lose();
      this.#refuseLost();
      throw error;
    }
  }

  release(words: Words): void {
    this.#account(words, -1);
    this.lane.run(() => {
      words.texture?.delete?.();
      words.texture = undefined;
    });
  }

  #account({ maker, bytes }: Words, change: 1 | -1): void {
    this.#live += change;
    this.#liveBytes += change * bytes;
    maker.live += change;
    // Arrays are anybody's: only textures and buffers stay with their kernel.
    maker.keptBytes = change === 1 || this.hasGoodFunctions ? 0 : bytes;
  }

  /** The numbers, after everything asked for before. */
  async read(words: Words): Promise<Float32Array> {
    try {
      const values = await this.lane.result(() => this.#array(words));
      this.#refuseLost();
      return values;
    } catch (error) {
      // WebGPU says so itself.
      if (/device was lost/.test(String(error))) this.#lose();
      throw this.#lost ?? error;
    }
  }

  readSync(words: Words): Float32Array {
    const values = this.#array(words) as Float32Array;
    this.#refuseLost();
    return values;
  }

  #array({ texture }: Words): Float32Array | Promise<Float32Array> {
    this.#refuseLost();
    return texture?.toArray?.() ?? (texture as unknown as Float32Array);
  }

  get isLost(): boolean {
    if (this.#lost === undefined && this.#gpu.context?.isContextLost?.() === true) this.#lose();
    return this.#lost !== undefined;
  }

  #lose(): void {
    this.#lost ??= new BackendError(
      "gpujs",
      `the ${this.mode} context was lost with everything on it: too many contexts, a kernel that ran too long, or a driver's restart`,
      "make a new backend and load the last checkpoint: await createGpuJsBackend(...)",
    );
    forgetGpu(this.mode, this.#gpu);
  }

  /** A lost context computes zeros, and says nothing. */
  #refuseLost(): void {
    if (this.isLost) throw this.#lost;
  }

  counts(): DeviceCounts {
    return {
      usedBytes: this.#liveBytes,
      reservedBytes: this.#liveBytes + this.kernels.keptBytes,
      buffers: this.#live,
      kernels: this.kernels.size,
      compileMs: this.kernels.compileMs,
      launches: this.#launches,
    };
  }
}

const devices = new WeakMap<Gpu, Device>();

/** The page's device for a mode; one, as each takes a context of the few a page has. */
export async function openDevice(mode: GpuJsMode): Promise<Device> {
  const gpu = await openGpu(mode);
  let device = devices.get(gpu);
  if (device?.isLost === true) return openDevice(mode);
  if (device === undefined) {
    device = new Device(mode, gpu);
    devices.set(gpu, device);
  }
  return device;
}
