/** What a demonstration can compute on, by name, as the page's list has it. Opened in the worker: backends.ts. */
export const backendChoices = {
  cpu: { label: "CPU · WebAssembly" },
} as const satisfies Readonly<Record<string, { readonly label: string }>>;

export type BackendName = keyof typeof backendChoices;

/** What the page says about the engine that was opened. */
export interface EngineInfo {
  readonly label: string;
  /** How it computes: the kernels' tier, the mode. */
  readonly detail: string;
  readonly threads: number;
}
