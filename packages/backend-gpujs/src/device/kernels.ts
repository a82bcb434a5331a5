import type { Gpu, GpuJsMode, GpuKernel, Texture } from "./gpu.ts";
import { modeError } from "./gpu.ts";
import type { Lane } from "./lane.ts";

/** More kernels than this are not kept: those that were not used for longest make room. */
const MOST_KERNELS = 1024;

/** What gpu.js calls the kind of kernels of a mode; all of WebGL is one kind. */
const kinds: { readonly [K in GpuJsMode]: string } = {
  webgl2: "gpu",
  webgl: "gpu",
  headlessgl: "gpu",
  webgpu: "webgpu",
  webasm: "webasm",
  cpu: "cpu",
};

const settings = { precision: "single", tactic: "precision", pipeline: true, immutable: true } as const;

/** A kernel for one text and one size of everything. */
export interface Maker {
  readonly create: () => GpuKernel;
  call: GpuKernel;
  isChecked: boolean;
  /** Outputs that are alive: they read themselves through their kernel. */
  live: number;
  /** Bytes of the last output, which gpu.js keeps with the kernel after it was released, for its next run. */
  keptBytes: number;
  lastUse: number;
}

/** The kernels of a device, compiled when first called. */
export class KernelCache {
  readonly #mode: GpuJsMode;
  readonly #gpu: Gpu;
  readonly #lane: Lane;
  readonly #makers = new Map<string, Maker>();
  #uses = 0;
  compileMs = 0;

  constructor(mode: GpuJsMode, gpu: Gpu, lane: Lane) {
    this.#mode = mode;
    this.#gpu = gpu;
    this.#lane = lane;
  }

  get size(): number {
    return this.#makers.size;
  }

  get keptBytes(): number {
    let bytes = 0;
    for (const m of this.#makers.values()) bytes += m.keptBytes;
    return bytes;
  }

  /** The kernel of a key, which names its text and all sizes. */
  get(key: string, count: number, text: () => string): Maker {
    let maker = this.#makers.get(key);
    if (maker === undefined) {
      const source = text();
      const create = (): GpuKernel => this.#gpu.createKernel(source, { ...settings, output: [count] });
      maker = { create, call: create(), isChecked: false, live: 0, keptBytes: 0, lastUse: 0 };
      if (this.#makers.size >= MOST_KERNELS) this.forget(MOST_KERNELS / 2);
      this.#makers.set(key, maker);
    }
    maker.lastUse = ++this.#uses;
    return maker;
  }

  run(maker: Maker, args: readonly unknown[]): Texture | Promise<Texture> {
    if (maker.isChecked) return maker.call(...args);
    const start = performance.now();
    const result = this.#first(maker, args);
    const done = (texture: Texture): Texture => {
      this.compileMs += performance.now() - start;
      this.#checkKind(maker);
      return texture;
    };
    return result instanceof Promise ? result.then(done) : done(result);
  }

  /** Each kernel of WebAssembly has a memory, of which a page has about a hundred: older ones make room. */
  #first(maker: Maker, args: readonly unknown[]): Texture | Promise<Texture> {
    try {
      return maker.call(...args);
    } catch (error) {
      if (this.#mode !== "webasm" || !(error instanceof RangeError)) throw error;
      this.#destroy(maker);
      this.forget(this.#makers.size / 2);
      maker.call = maker.create();
      return maker.call(...args);
    }
  }

  /** gpu.js runs a kernel elsewhere when it cannot run it where it was told to, with no more than a warning. */
  #checkKind(maker: Maker): void {
    maker.isChecked = true;
    const { constructor: ran, fallbackReason } = maker.call.kernel;
    if (ran === this.#gpu.Kernel && ran.mode === kinds[this.#mode]) return;
    throw modeError(this.#mode, `gpu.js ran a kernel as ${ran.mode}: ${fallbackReason ?? "no reason given"}`);
  }

  /** Gives up idle kernels with what they keep, those that were not used for longest first, until so many are left. */
  forget(most = 0): void {
    const idle = [...this.#makers].filter(([, m]) => m.live === 0).sort(([, a], [, b]) => a.lastUse - b.lastUse);
    for (const [key, maker] of idle.slice(0, Math.max(0, this.#makers.size - most))) {
      this.#makers.delete(key);
      this.#lane.run(() => this.#destroy(maker));
    }
  }

  #destroy({ call }: Maker): void {
    const { kernels } = this.#gpu;
    if (this.#mode !== "cpu") call.destroy();
    const at = kernels.indexOf(call.kernel);
    if (at >= 0) kernels.splice(at, 1);
  }

  /** Where kernels run and, in WebGL, what they became: for tests. */
  inspect(): { readonly kinds: readonly unknown[]; readonly shaders: readonly string[] } {
    const kernels = [...this.#makers.values()].map(({ call }) => call.kernel);
    return {
      kinds: [...new Set(kernels.map((k) => k.constructor.mode))],
      shaders: kernels.flatMap((k) => k.compiledFragmentShader ?? []),
    };
  }
}
