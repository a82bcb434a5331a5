import { BackendError, ValueError } from "@revnet-zero/tensor";
import { functionSources, signature } from "../text/functions.ts";
import { forgetGpu, type Gpu, type GpuJsMode, type GpuKernel, modeError, openGpu, type Texture } from "./gpu.ts";
import { immediate, type Lane, Queue } from "./lane.ts";
import { bytesOf, keepsTextures, textureSize } from "./textures.ts";

/** Positions are float32 numbers in kernels, exact below this. */
export const MOST_WORDS: number = 2 ** 24;
const MAX_TEXTURE_SIZE = 0x0d33;

/** Numbers on the device that never change. Owned by who asked for them, until `release`. */
export interface Words {
  readonly count: number;
  readonly bytes: number;
  texture: Texture | undefined;
  /** Which kernel made it: gpu.js lets that kernel keep its last output. */
  readonly maker: Maker;
}

/** What a kernel is asked for. */
export interface Launch {
  /** Names the text; sizes of output and inputs, which gpu.js builds in, are added. */
  readonly key: string;
  readonly text: () => string;
  readonly count: number;
  readonly inputs: readonly Words[];
  readonly numbers?: readonly number[];
}

interface Maker {
  readonly call: GpuKernel;
  isChecked: boolean;
  /** Bytes of the last output, which stays with the kernel after it was released. */
  keeps: Words | undefined;
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

const settings = { precision: "single", tactic: "precision", pipeline: true, immutable: true } as const;

/** What gpu.js calls the kind of kernels of a mode; all of WebGL is one kind. */
const kinds: { readonly [K in GpuJsMode]: string } = {
  webgl2: "gpu",
  webgl: "gpu",
  headlessgl: "gpu",
  webgpu: "webgpu",
  webasm: "webasm",
  cpu: "cpu",
};

/** gpu.js in one mode: its kernels, what they made, and the order in which they run. */
export class Device {
  readonly mode: GpuJsMode;
  readonly lane: Lane;
  readonly #gpu: Gpu;
  readonly #kernels = new Map<string, Maker>();
  readonly #maxTextureSize: number;
  #live = 0;
  #liveBytes = 0;
  #launches = 0;
  #compileMs = 0;
  #lost: BackendError | undefined;

  constructor(mode: GpuJsMode, gpu: Gpu) {
    this.mode = mode;
    this.#gpu = gpu;
    this.lane = mode === "webgpu" ? new Queue() : immediate;
    this.#maxTextureSize = keepsTextures(mode)
      ? Number(gpu.context?.getParameter?.(MAX_TEXTURE_SIZE) ?? 4096)
      : Number.POSITIVE_INFINITY;
    for (const source of functionSources) {
      const types = new Array<string>(signature(source).arity).fill("Number");
      gpu.addFunction(source, { argumentTypes: types, returnType: "Number" });
    }
  }

  /** Whether the mode's functions are JavaScript's own. */
  get hasGoodFunctions(): boolean {
    return this.mode === "cpu" || this.mode === "webasm";
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
    if (count > 0 && Math.max(...textureSize(count)) > this.#maxTextureSize) {
      throw new RangeError(
        `${what} needs a texture of ${textureSize(count).join(" x ")}, this device has ${this.#maxTextureSize}`,
      );
    }
  }

  /** Enqueues a kernel and gives what it will make. */
  run(launch: Launch): Words {
    const { count, inputs, numbers = [] } = launch;
    const textures = (): unknown[] => [...inputs.map((w) => w.texture), ...numbers];
    return this.#launch(this.#maker(launch), count, textures);
  }

  /** Enqueues an upload. The numbers are copied where that is later, as the caller may write over them. */
  upload(values: Float32Array): Words {
    const count = values.length;
    const text = (): string => "function(u) { return u[this.thread.x]; }";
    const maker = this.#maker({ key: "upload", text, count, inputs: [] });
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

  release(words: Words): void {
    this.#account(words, -1);
    this.lane.run(() => {
      words.texture?.delete?.();
      words.texture = undefined;
    });
  }

  /** The numbers, after everything asked for before. */
  read(words: Words): Promise<Float32Array> {
    return this.lane.result(async () => this.#checked(await this.#array(words)));
  }

  readSync(words: Words): Float32Array {
    return this.#checked(this.#array(words) as Float32Array);
  }

  #array({ texture }: Words): Float32Array | Promise<Float32Array> {
    this.#refuseLost();
    return texture?.toArray?.() ?? (texture as unknown as Float32Array);
  }

  #checked(values: Float32Array): Float32Array {
    this.#refuseLost();
    return values;
  }

  /** A lost context computes zeros, and says nothing. */
  #refuseLost(): void {
    if (this.#lost === undefined && this.#gpu.context?.isContextLost?.() === true) {
      this.#lost = new BackendError(
        "gpujs",
        `the ${this.mode} context was lost: everything on it is gone (too many pages or contexts, a kernel that ran too long, or a driver's restart)`,
        "make a new backend and load the last checkpoint: await createGpuJsBackend(...)",
      );
      forgetGpu(this.mode);
    }
    if (this.#lost !== undefined) throw this.#lost;
  }

  #maker({ key, text, count, inputs, numbers = [] }: Launch): Maker {
    const whole = `${key} ${count} of ${inputs.map((w) => w.count).join()} and ${numbers.length}`;
    let maker = this.#kernels.get(whole);
    if (maker === undefined) {
      const call = this.#gpu.createKernel(text(), { ...settings, output: [count] });
      maker = { call, isChecked: false, keeps: undefined };
      this.#kernels.set(whole, maker);
    }
    return maker;
  }

  #call(maker: Maker, args: readonly unknown[]): Texture | Promise<Texture> {
    if (maker.isChecked) return maker.call(...args);
    const start = performance.now();
    const result = maker.call(...args);
    const done = (texture: Texture): Texture => {
      this.#compileMs += performance.now() - start;
      maker.isChecked = true;
      const { constructor: ran, fallbackReason } = maker.call.kernel;
      if (ran !== this.#gpu.Kernel || ran.mode !== kinds[this.mode]) {
        throw modeError(this.mode, `gpu.js ran a kernel as ${ran.mode}: ${fallbackReason ?? "no reason given"}`);
      }
      return texture;
    };
    return result instanceof Promise ? result.then(done) : done(result);
  }

  #account(words: Words, change: 1 | -1): void {
    this.#live += change;
    this.#liveBytes += change * words.bytes;
    words.maker.keeps = change === 1 ? undefined : words;
  }

  counts(): DeviceCounts {
    let kept = 0;
    // Arrays are anybody's: only textures and buffers stay with their kernel.
    if (!this.hasGoodFunctions) for (const { keeps } of this.#kernels.values()) kept += keeps?.bytes ?? 0;
    return {
      usedBytes: this.#liveBytes,
      reservedBytes: this.#liveBytes + kept,
      buffers: this.#live,
      kernels: this.#kernels.size,
      compileMs: this.#compileMs,
      launches: this.#launches,
    };
  }
}

const devices = new WeakMap<Gpu, Device>();

/** The page's device for a mode; one, as each takes a context of the few a page has. */
export async function openDevice(mode: GpuJsMode): Promise<Device> {
  const gpu = await openGpu(mode);
  let device = devices.get(gpu);
  if (device === undefined) {
    device = new Device(mode, gpu);
    devices.set(gpu, device);
  }
  return device;
}
