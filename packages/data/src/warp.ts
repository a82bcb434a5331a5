/** How an image is moved: a turn about its middle, a change of size, a shift, a mirror image. */
export interface Warp {
  /** tan(angle / 2) of the turn: cosine and sine are fractions of it, so that the same bits come out on every machine. */
  readonly halfTurn: number;
  /** Factor on sizes. */
  readonly scale: number;
  /** Pixels to the right and down. */
  readonly shiftX: number;
  readonly shiftY: number;
  /** Left and right exchanged, first of all. */
  readonly isMirrored: boolean;
}

/**
 * Writes one channel of a moved image: each pixel is looked up where it came from, between pixels by bilinear interpolation
 * of bytes in double precision; what comes from outside is black.
 *
 * @param pixels `[height, width]`, 0 to 255.
 * @param out `[height, width]`, on the same scale.
 */
export function warpInto(out: Float32Array, pixels: Uint8Array, height: number, width: number, warp: Warp): void {
  const { halfTurn: t, scale, shiftX, shiftY, isMirrored } = warp;
  const cos = (1 - t * t) / (1 + t * t) / scale;
  const sin = (2 * t) / (1 + t * t) / scale;
  const [middleX, middleY] = [(width - 1) / 2, (height - 1) / 2];
  const at = (y: number, x: number): number => {
    if (x < 0 || y < 0 || x >= width || y >= height) return 0;
    return pixels[y * width + (isMirrored ? width - 1 - x : x)]!;
  };
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const dx = column - middleX - shiftX;
      const dy = row - middleY - shiftY;
      const x = middleX + cos * dx + sin * dy;
      const y = middleY - sin * dx + cos * dy;
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [right, down] = [x - left, y - top];
      const above = at(top, left) * (1 - right) + at(top, left + 1) * right;
      const below = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right;
      out[row * width + column] = above * (1 - down) + below * down;
    }
  }
}
