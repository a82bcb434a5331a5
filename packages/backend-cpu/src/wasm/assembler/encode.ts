/** Unsigned LEB128. */
export function unsigned(n: number): number[] {
  const bytes: number[] = [];
  let rest = n >>> 0;
  do {
    const low = rest & 127;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 128);
  } while (rest !== 0);
  return bytes;
}

/** Signed LEB128 of a 32-bit integer. */
export function signed(n: number): number[] {
  const bytes: number[] = [];
  let rest = n | 0;
  for (;;) {
    const low = rest & 127;
    rest >>= 7;
    const isLast = (rest === 0 && (low & 64) === 0) || (rest === -1 && (low & 64) !== 0);
    bytes.push(isLast ? low : low | 128);
    if (isLast) return bytes;
  }
}

const little = (buffer: ArrayBuffer): number[] => [...new Uint8Array(buffer)];
export const float32Bytes = (x: number): number[] => little(new Float32Array([x]).buffer);
export const float64Bytes = (x: number): number[] => little(new Float64Array([x]).buffer);
export const int32Bytes = (x: number): number[] => little(new Int32Array([x]).buffer);

/** A count, then the items' bytes. */
export const vector = (items: readonly (readonly number[])[]): number[] => [...unsigned(items.length), ...items.flat()];

export const text = (s: string): number[] => {
  const bytes = [...new TextEncoder().encode(s)];
  return [...unsigned(bytes.length), ...bytes];
};

export const section = (id: number, body: readonly number[]): number[] => [id, ...unsigned(body.length), ...body];
