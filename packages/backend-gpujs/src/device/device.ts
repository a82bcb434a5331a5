import { BackendError, ValueError } from "@revnet-zero/tensor";
import { functionSources, signature } from "../text/functions.ts";
import { forgetGpu, type Gpu, type GpuJsMode, type GpuKernel, modeError, openGpu, type Texture } from "./gpu.ts";
import { immediate, type Lane, Queue } from "./lane.ts";
import { bytesOf, keepsTextures, textureSize } from "./textures.ts";

/** More kernels than this are not kept: those that were not used for longest make room. */
const MOST_KERNELS = 1024;

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
  readonly create: () => GpuKernel;
  call: GpuKernel;
  isChecked: boolean;
  /** Outputs that are alive: they read themselves through their kernel. */
  live: number;
  lastUse: number;
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

  /** WebAssembly and JavaScript have JavaScript's own functions. */
  get hasGoodFunctions(): boolean {
    return this.mode === "cpu" || this.mode === "webasm";
  }
  get needsOrder(): boolean {
    return keepsTextures(this.mode);
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

  #maker({ key, text, count, inputs, numbers = [] }: Launch): Maker {
    const whole = `${key} ${count} of ${inputs.map((w) => w.count).join()} and ${numbers.length}`;
    let maker = this.#kernels.get(whole);
    if (maker === undefined) {
      const source = text();
      const create = (): GpuKernel => this.#gpu.createKernel(source, { ...settings, output: [count] });
      maker = { create, call: create(), isChecked: false, live: 0, lastUse: 0, keeps: undefined };
      if (this.#kernels.size >= MOST_KERNELS) this.forgetKernels(MOST_KERNELS / 2);
      this.#kernels.set(whole, maker);
    }
    maker.lastUse = this.#launches;
    return maker;
  }

  /** Gives up idle kernels with what they keep, those that were not used for longest first, until so many are left. */
  forgetKernels(most = 0): void {
    const idle = [...this.#kernels].filter(([, m]) => m.live === 0).sort(([, a], [, b]) => a.lastUse - b.lastUse);
    for (const [key, maker] of idle.slice(0, Math.max(0, this.#kernels.size - most))) {
      this.#kernels.delete(key);
      this.lane.run(() => this.#destroy(maker));
    }
  }

  #destroy({ call }: Maker): void {
    const { kernels } = this.#gpu;
    if (this.mode !== "cpu") call.destroy();
    const at = kernels.indexOf(call.kernel);
    if (at >= 0) kernels.splice(at, 1);
  }

  #call(maker: Maker, args: readonly unknown[]): Texture | Promise<Texture> {
    if (maker.isChecked) return maker.call(...args);
    const start = performance.now();
    const result = this.#first(maker, args);
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

  /** Each kernel of WebAssembly has a memory, of which a page has about a hundred: older ones make room. */
  #first(maker: Maker, args: readonly unknown[]): Texture | Promise<Texture> {
    try {
      return maker.call(...args);
    } catch (error) {
      if (this.mode !== "webasm" || !(error instanceof RangeError)) throw error;
      this.#destroy(maker);
      this.forgetKernels(this.#kernels.size / 2);
      maker.call = maker.create();
      return maker.call(...args);
    }
  }

  #account(words: Words, change: 1 | -1): void {
    this.#live += change;
    this.#liveBytes += change * words.bytes;
    words.maker.live += change;
    words.maker.keeps = change === 1 ? undefined : words;
  }

  /** Where kernels run and, in WebGL, what they became: for tests. */
  inspect(): { readonly classes: readonly unknown[]; readonly shaders: readonly string[] } {
    const kernels = [...this.#kernels.values()].map(({ call }) => call.kernel);
    return {
      classes: [...new Set(kernels.map((k) => k.constructor.mode))],
      shaders: kernels.flatMap((k) => k.compiledFragmentShader ?? []),
    };
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
  if (device?.isLost === true) return openDevice(mode);
  if (device === undefined) {
    device = new Device(mode, gpu);
    devices.set(gpu, device);
  }
  return device;
}
