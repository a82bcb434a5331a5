import { BackendError } from "@revnet-zero/tensor";

// The part of gpu.js that is used, typed here: its own declarations need the browser's. It is a peer dependency, and is
// imported when a backend is made, never before: it puts a class of its own in the place of `window.GPU`.

/** What gpu.js gives a kernel's result as. In WebGPU it is a buffer, elsewhere a texture or an array that is called one. */
export interface Texture {
  toArray?(): Float32Array | Promise<Float32Array>;
  delete?(): void;
}

export interface GpuKernel {
  (...args: unknown[]): Texture | Promise<Texture>;
  /** The kernel behind the call: its class says where it runs. */
  readonly kernel: {
    readonly constructor: KernelClass;
    readonly fallbackReason?: string | null;
    /** In WebGL. */
    readonly compiledFragmentShader?: string | null;
  };
  destroy(): void;
}

interface KernelClass {
  readonly mode?: string;
}

export interface Gpu {
  /** Everything it compiled. */
  readonly kernels: unknown[];
  /** The class of the mode's kernels. */
  readonly Kernel: KernelClass;
  readonly context: { isContextLost?(): boolean; getParameter?(name: number): number } | null;
  addFunction(
    source: string,
    settings: { readonly argumentTypes: readonly string[]; readonly returnType: string },
  ): void;
  createKernel(source: string, settings: object): GpuKernel;
}

interface GpuModule {
  readonly GPU: new (settings: { readonly mode: string }) => Gpu;
}

/** Where kernels run: WebGL 2 and 1, WebGL 1 in Node, WebGPU, WebAssembly, plain JavaScript. */
export type GpuJsMode = "webgl2" | "webgl" | "headlessgl" | "webgpu" | "webasm" | "cpu";

export const gpuJsModes: readonly GpuJsMode[] = ["webgl2", "webgl", "headlessgl", "webgpu", "webasm", "cpu"];

/** The package, loaded when first needed. The page's own `GPU` (the interface of WebGPU) is put back. */
async function load(): Promise<GpuModule> {
  const page = globalThis as { GPU?: unknown };
  const before = Object.getOwnPropertyDescriptor(page, "GPU");
  try {
    const module = (await import("gpu.js")) as unknown as Partial<GpuModule> & { readonly default?: unknown };
    // A bundle of it for browsers exports the class itself.
    const { GPU = (module.default as Partial<GpuModule>).GPU ?? (module.default as GpuModule["GPU"]) } = module;
    return { GPU };
  } catch (error) {
    throw new BackendError("gpujs", "gpu.js is not installed", "npm install gpu.js@2.24.1 --omit=optional", {
      cause: error,
    });
  } finally {
    if (before === undefined) delete page.GPU;
    else Object.defineProperty(page, "GPU", before);
  }
}

const whereToRun: { readonly [K in GpuJsMode]: string } = {
  webgl2: "a browser with WebGL 2 that renders to float textures",
  webgl: "a browser with WebGL and float textures",
  headlessgl: "Node with the package gl and an X server: xvfb-run -a node program.mjs",
  webgpu: "a browser with WebGPU and an adapter",
  webasm: "anything with WebAssembly SIMD",
  cpu: "anything",
};

/** Refuses a mode that this program cannot have, with the reason. */
export function modeError(mode: GpuJsMode, reason: string): BackendError {
  return new BackendError(
    "gpujs",
    `mode ${mode} is not available here: ${reason}`,
    `it takes ${whereToRun[mode]}; mode "webasm" runs everywhere`,
  );
}

/** Instances by mode: a page has a few WebGL contexts, and each instance takes one, so there is one instance a mode. */
const open = new Map<GpuJsMode, Promise<Gpu>>();

/** The page's instance for a mode. */
export function openGpu(mode: GpuJsMode): Promise<Gpu> {
  let gpu = open.get(mode);
  if (gpu === undefined) {
    gpu = load().then(({ GPU }) => {
      try {
        return new GPU({ mode });
      } catch (error) {
        throw modeError(mode, (error as Error).message);
      }
    });
    open.set(mode, gpu);
    // A failure is not kept: what was missing may be there next time.
    gpu.catch(() => open.delete(mode));
  }
  return gpu;
}

/** Forgets an instance whose context was lost. */
export function forgetGpu(mode: GpuJsMode, lost: Gpu): void {
  void open.get(mode)?.then((gpu) => {
    if (gpu === lost) open.delete(mode);
  });
}
