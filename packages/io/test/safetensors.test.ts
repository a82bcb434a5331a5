import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CheckpointError } from "../src/checkpointError.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  type SafetensorsDType,
  type SafetensorsEntry,
  safetensorsBytes,
  safetensorsParts,
} from "../src/safetensors.ts";

const dtypes = Object.keys(safetensorsBytes) as SafetensorsDType[];
/** Any Unicode, and names that trip JavaScript objects. */
const names = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("__proto__", "constructor", "7", "10", "", '"\\'),
);

const entries: fc.Arbitrary<SafetensorsEntry> = fc
  .record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.nat({ max: 4 }), { maxLength: 3 }) })
  .chain(({ dtype, shape }) => {
    const length = shape.reduce((product, size) => product * size, 1) * safetensorsBytes[dtype];
    const data = fc.uint8Array({ minLength: length, maxLength: length });
    return fc.record({ dtype: fc.constant(dtype), shape: fc.constant(shape), data });
  });
const files = fc.record({
  tensors: fc
    .uniqueArray(fc.tuple(names, entries), { selector: ([name]) => name, maxLength: 6 })
    .map((all) => new Map(all)),
  metadata: fc.dictionary(names, fc.string({ unit: "binary" }), { maxKeys: 3 }),
});

/** A file with this header text (or bytes) and data. */
function fileOf(header: string | Uint8Array, dataBytes = 0): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

describe("round trip", () => {
  test("gives back names, types, shapes, bytes and metadata", () => {
    fc.assert(
      fc.property(files, ({ tensors, metadata }) => {
        const decoded = decodeSafetensors(encodeSafetensors(tensors, metadata));
        expect(Object.entries(decoded.metadata)).toEqual(expect.arrayContaining(Object.entries(metadata)));
        expect([...decoded.tensors.keys()].sort()).toEqual([...tensors.keys()].sort());
        for (const [name, entry] of tensors) {
          const { dtype, shape, data } = decoded.tensors.get(name)!;
          expect({ dtype, shape, data: [...data] }).toEqual({ ...entry, data: [...entry.data] });
        }
      }),
    );
  });

  test("is the same file whatever the order of the tensors, and every tensor is aligned to its elements", () => {
    fc.assert(
      fc.property(files, fc.nat({ max: 7 }), ({ tensors, metadata }, shift) => {
        const file = encodeSafetensors(tensors, metadata);
        expect(encodeSafetensors(new Map([...tensors].reverse()), metadata)).toEqual(file);
        // In the file by our layout; in memory even where the file itself lies at an odd place.
        const shifted = new Uint8Array(file.length + 8).subarray(shift, shift + file.length);
        shifted.set(file);
        const headerBytes = Number(new DataView(file.buffer).getBigUint64(0, true));
        const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerBytes)));
        for (const [name, { dtype, data }] of decodeSafetensors(shifted).tensors) {
          expect((8 + headerBytes + header[name].data_offsets[0]) % safetensorsBytes[dtype]).toBe(0);
          expect(data.byteOffset % safetensorsBytes[dtype]).toBe(0);
        }
      }),
    );
  });

  test("a file known byte for byte: the layout of the reference implementation", () => {
    const data = new Uint8Array(new Int16Array([1, -2]).buffer);
    const file = encodeSafetensors(new Map([["w", { dtype: "I16", shape: [2, 1], data }]]), { format: "pt" });
    const header = '{"__metadata__":{"format":"pt"},"w":{"dtype":"I16","shape":[2,1],"data_offsets":[0,4]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    expect(file).toEqual(
      Uint8Array.from([padded.length, ...Array(7).fill(0), ...Buffer.from(padded), 1, 0, 0xfe, 0xff]),
    );
  });

  test("writing copies no tensor", () => {
    const data = new Uint8Array(16);
    expect(safetensorsParts(new Map([["w", { dtype: "U8", shape: [16], data }]]))[1]).toBe(data);
  });
});

describe("a damaged file", () => {
  /** Either it is read (the damage hit data bytes or spaces) or refused; nothing else, and in no time. */
  const readsOrRefuses = (file: Uint8Array) => {
    try {
      decodeSafetensors(file, "model.safetensors");
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as CheckpointError).message).toMatch(/model\.safetensors: .+\n {2}hint: ./s);
      expect((error as CheckpointError).message.length).toBeLessThan(600);
    }
  };

  test("by flipped bytes is read or refused with a CheckpointError", () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(files, flips, ({ tensors, metadata }, changes) => {
        const file = encodeSafetensors(tensors, metadata);
        // Half of the flips in the header's length, where they do most.
        for (const [place, flip] of changes) file[place % (place % 2 === 0 ? 8 : file.length)]! ^= flip;
        readsOrRefuses(file);
      }),
      { numRuns: 1000 },
    );
  });

  test("by truncation at any byte is refused", () => {
    fc.assert(
      fc.property(files, fc.nat(), ({ tensors, metadata }, length) => {
        const file = encodeSafetensors(tensors, metadata);
        const cut = file.subarray(0, length % file.length);
        expect(() => decodeSafetensors(cut)).toThrow(CheckpointError);
      }),
    );
  });

  test("by trailing bytes is refused", () => {
    fc.assert(
      fc.property(files, fc.uint8Array({ minLength: 1 }), ({ tensors }, rest) => {
        const file = Uint8Array.from([...encodeSafetensors(tensors), ...rest]);
        expect(() => decodeSafetensors(file)).toThrow(/belong to none/);
      }),
    );
  });

  test("that is random bytes or random JSON is read or refused", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), readsOrRefuses));
    const header = fc.dictionary(names, fc.oneof(fc.jsonValue(), fc.record({ dtype: fc.constantFrom(...dtypes, 1) })));
    fc.assert(
      fc.property(header, fc.nat({ max: 64 }), (json, bytes) => readsOrRefuses(fileOf(JSON.stringify(json), bytes))),
    );
  });

  const tensor = (fields: object) =>
    JSON.stringify({ w: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...fields } });
  const two = (first: [number, number], second: [number, number]) =>
    JSON.stringify({
      a: { dtype: "U8", shape: [first[1] - first[0]], data_offsets: first },
      b: { dtype: "U8", shape: [second[1] - second[0]], data_offsets: second },
    });

  test.for<[string, Uint8Array, RegExp]>([
    ["no header length", new Uint8Array(5), /has 5 bytes, and its header length alone takes 8/],
    [
      "a header past the end",
      Uint8Array.from([200, 0, 0, 0, 0, 0, 0, 0, 1]),
      /header ends at byte 208, the file at byte 9/,
    ],
    ["a header of 2^63 bytes", Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 128]), /claims 9223372036854775808 bytes/],
    ["no UTF-8", fileOf(Uint8Array.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), /not UTF-8/],
    ["no JSON", fileOf("{"), /not JSON/],
    ["an array", fileOf("[]"), /does not begin with "\{"/],
    ["a byte order mark", fileOf("\ufeff{}"), /not JSON/],
    ["white space first", fileOf(" {}"), /does not begin with/],
    [
      "a tensor twice",
      fileOf(`{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0077":{}}`),
      /the key "w" twice/,
    ],
    ["a field twice", fileOf(`{"w":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}`), /"dtype" twice/],
    ["an unknown dtype", fileOf(tensor({ dtype: "F8_E4M3" }), 8), /"w": unknown dtype "F8_E4M3".*F64.*BOOL/s],
    ["a dtype of Object.prototype", fileOf(tensor({ dtype: "toString" }), 8), /unknown dtype/],
    ["a negative size", fileOf(tensor({ shape: [-2] }), 8), /shape \[-2\] is not a list of whole numbers/],
    ["a fractional offset", fileOf(tensor({ data_offsets: [0, 7.5] }), 8), /data_offsets \[0,7\.5\] are not two/],
    ["three offsets", fileOf(tensor({ data_offsets: [0, 4, 8] }), 8), /are not two whole numbers/],
    ["offsets running backwards", fileOf(tensor({ data_offsets: [8, 0] }), 8), /run backwards/],
    ["data past the end", fileOf(tensor({}), 4), /data ends at byte 8 of 4.*hint: the file was cut off/s],
    [
      "too few bytes for its shape",
      fileOf(tensor({ shape: [3] }), 8),
      /\[3\] F32 takes 12 bytes, and data_offsets give it 8/,
    ],
    ["an enormous shape", fileOf(tensor({ shape: Array(50).fill(2 ** 52) }), 8), /takes Infinity bytes/],
    ["overlapping tensors", fileOf(two([0, 4], [2, 6]), 6), /"b" \(bytes 2 to 6\) overlaps/],
    ["a gap between tensors", fileOf(two([0, 2], [4, 6]), 6), /leaves 2 bytes before it unused/],
    ["metadata that is no text", fileOf('{"__metadata__":{"step":3}}'), /__metadata__ is not a map of texts/],
  ])("with %s is refused in words", ([_, file, message]) => {
    expect(() => decodeSafetensors(file, "model.safetensors")).toThrow(CheckpointError);
    expect(() => decodeSafetensors(file, "model.safetensors")).toThrow(message);
  });

  test("with a header nested a million deep, or one string of ten million escapes, is refused quickly", () => {
    const started = performance.now();
    readsOrRefuses(fileOf(`{"w":${"[".repeat(1e6)}${"]".repeat(1e6)}}`));
    readsOrRefuses(fileOf(`{"w":"${"\\n".repeat(1e7)}"}`));
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe("what the format cannot hold is refused before anything is written", () => {
  const write = (name: string, entry: Partial<SafetensorsEntry>) => () =>
    safetensorsParts(new Map([[name, { dtype: "F32", shape: [1], data: new Uint8Array(4), ...entry }]]));

  test("wrong sizes and names", () => {
    expect(write("w", { shape: [2] })).toThrow(/\[2\] F32 takes 8 bytes, and data has 4.*hint/s);
    expect(write("w", { shape: [0.5, 2] })).toThrow(/not a list of whole numbers/);
    expect(write("__metadata__", {})).toThrow(/not a tensor name/);
    expect(write("\ud800", {})).toThrow(/not well-formed Unicode/);
  });
});
