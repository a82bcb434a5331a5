import type { GpuJsMode } from "./gpu.ts";

/** Whether a mode keeps numbers in textures, as WebGL has no buffers, and the bytes of a texel. */
const texels: { readonly [K in GpuJsMode]?: number } = { webgl2: 4, webgl: 16, headlessgl: 16 };

export const keepsTextures = (mode: GpuJsMode): boolean => texels[mode] !== undefined;

/** Width and height of the texture that gpu.js makes of a row of numbers: as square as it can be. */
export function textureSize(count: number): readonly [number, number] {
  const root = Math.sqrt(count);
  let high = Math.ceil(root);
  let low = Math.floor(root);
  while (high * low < count) {
    high--;
    low = Math.ceil(count / high);
  }
  return [low, Math.ceil(count / low)];
}

/** Bytes that so many numbers take: red texels of a float in WebGL 2, four floats a texel in WebGL 1, the numbers elsewhere. */
export function bytesOf(mode: GpuJsMode, count: number): number {
  if (count === 0) return 0;
  const texel = texels[mode];
  if (texel === undefined) return 4 * count;
  const [width, height] = textureSize(count);
  return texel * width * height;
}
