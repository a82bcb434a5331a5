import type { SafetensorsDType, SafetensorsEntry } from "@revnet-zero/io";
import {
  type DType,
  dtypes,
  type Engine,
  fromWords,
  type Tensor,
  type TypedArray,
  ValueError,
} from "@revnet-zero/tensor";

const names: { readonly [D in DType]: SafetensorsDType } = {
  f64: "F64",
  f32: "F32",
  bf16: "BF16",
  f16: "F16",
  i32: "I32",
  i16: "I16",
  i8: "I8",
  u8: "U8",
  bool: "BOOL",
};

const dtypeOf = (name: SafetensorsDType): DType | undefined =>
  (Object.keys(names) as DType[]).find((d) => names[d] === name);

/** Tensors as a file holds them; values are copied. */
export async function toEntries(tensors: ReadonlyMap<string, Tensor>): Promise<Map<string, SafetensorsEntry>> {
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, t] of tensors) {
    const words = await t.words();
    entries.set(name, {
      dtype: names[t.dtype],
      shape: [...t.shape],
      data: new Uint8Array(words.buffer, words.byteOffset, words.byteLength),
    });
  }
  return entries;
}

/** Tensors of a file on an engine. */
export function fromEntries(entries: ReadonlyMap<string, SafetensorsEntry>, engine: Engine): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype: stored, shape, data }] of entries) {
    const dtype = dtypeOf(stored);
    if (dtype === undefined)
      throw new ValueError("checkpoint", `tensor ${name} has dtype ${stored}`, "this library has no 64-bit integers");
    // A copy: the file's bytes need not be aligned for the array type. (The slice of a Buffer would be none.)
    const bytes = new Uint8Array(data);
    const words = new (dtypes[dtype].array as unknown as new (b: ArrayBuffer) => TypedArray)(bytes.buffer);
    tensors.set(name, fromWords(words, shape, dtype, engine));
  }
  return tensors;
}
