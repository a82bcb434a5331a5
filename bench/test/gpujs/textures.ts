import { createGpuJsBackend, type GpuJsBackend, type GpuJsMode } from "@revnet-zero/backend-gpujs";
import { Engine } from "@revnet-zero/tensor";
import { tiny, train } from "./training.ts";

export interface Counted {
  /** Textures of the context, counted where WebGL makes and deletes them. */
  readonly textures: number;
  readonly usedBytes: number;
  readonly kernels: number;
}

interface WebGl {
  createTexture(): unknown;
  deleteTexture(texture: unknown): void;
}

/** Trains for some steps and counts, after each, what is alive. */
export async function countTextures(mode: GpuJsMode, steps: number): Promise<readonly Counted[]> {
  const page = globalThis as unknown as Record<string, { readonly prototype: WebGl }>;
  const { prototype } = page[mode === "webgl2" ? "WebGL2RenderingContext" : "WebGLRenderingContext"]!;
  const { createTexture, deleteTexture } = prototype;
  let textures = 0;
  prototype.createTexture = function (this: unknown) {
    textures++;
    return createTexture.call(this);
  };
  prototype.deleteTexture = function (this: unknown, texture: unknown) {
    textures--;
    deleteTexture.call(this, texture);
  };
  try {
    const backend: GpuJsBackend = await createGpuJsBackend({ mode });
    const counted: Counted[] = [];
    const onStep = (): void => {
      const { usedBytes, kernels } = backend.memory();
      counted.push({ textures, usedBytes, kernels });
    };
    await train(new Engine(backend), steps, { size: tiny, onStep });
    return counted;
  } finally {
    Object.assign(prototype, { createTexture, deleteTexture });
  }
}
