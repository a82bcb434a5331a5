/** What a demonstration can compute on, by name, as the page's list has it. Opened in the worker: backends.ts. */
export const backendChoices = {
  cpu: { label: "CPU · WebAssembly", note: "" },
  webgl2: {
    label: "gpu.js · WebGL 2",
    note: "The first steps compile shaders and take a while; without a graphics card it is slow.",
  },
  webgpu: {
    label: "gpu.js · WebGPU",
    note: "The first steps compile shaders and take a while; without a graphics card it is slow.",
  },
} as const satisfies Readonly<Record<string, { readonly label: string; readonly note: string }>>;

export type BackendName = keyof typeof backendChoices;

/** What the page says about the engine that was opened. */
export interface EngineInfo {
  /** How it computes: the kernels' tier, or the mode and what its self-test found. */
  readonly engine: string;
  readonly threads: number;
}
