// A model of one node, written as the protocol buffer that onnx.proto3 describes: just the fields that a session needs.

const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)]);
const number = (field: number, n: number): number[] => [...varint(field << 3), ...varint(n)];
const bytes = (field: number, content: readonly number[]): number[] => [
  ...varint((field << 3) | 2),
  ...varint(content.length),
  ...content,
];
const text = (field: number, s: string): number[] => bytes(field, [...new TextEncoder().encode(s)]);

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly (readonly number[])[];
  readonly output: readonly number[];
  readonly attributes?: Readonly<Record<string, string>>;
}

/** Inputs are x0, x1, ...; the output is y; everything is float32. */
export function onnxModel({ op, inputs, output, attributes = {} }: OnnxNode): Uint8Array {
  const [FLOAT, STRING, IR_VERSION, OPSET] = [1, 3, 10, 20];
  const value = (name: string, shape: readonly number[]): number[] => {
    const dimensions = shape.flatMap((size) => bytes(1, number(1, size)));
    return [...text(1, name), ...bytes(2, bytes(1, [...number(1, FLOAT), ...bytes(2, dimensions)]))];
  };
  const node = [
    ...inputs.flatMap((_, i) => text(1, `x${i}`)),
    ...text(2, "y"),
    ...text(4, op),
    ...Object.entries(attributes).flatMap(([name, s]) =>
      bytes(5, [...text(1, name), ...text(4, s), ...number(20, STRING)]),
    ),
  ];
  const graph = [
    ...bytes(1, node),
    ...text(2, "graph"),
    ...inputs.flatMap((shape, i) => bytes(11, value(`x${i}`, shape))),
    ...bytes(12, value("y", output)),
  ];
  return Uint8Array.from([...number(1, IR_VERSION), ...bytes(7, graph), ...bytes(8, number(2, OPSET))]);
}
