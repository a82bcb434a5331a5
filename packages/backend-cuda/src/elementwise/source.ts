import { type DType, dtypes, type ElementwiseOp, expr, print } from "@revnet-zero/tensor";
import { cTypes, kernelText, wordType } from "../device/sources.ts";
import { cudaPrinter } from "./printer.ts";

/** One element of an output from one of every input: the names of C types, and a function `compute` of stored elements. */
export interface MapBody {
  readonly name: string;
  readonly types: readonly [string, ...string[]];
  /** C text that gives the stored output from `a0`, `a1`, …, the stored inputs. */
  readonly compute: string;
}

/** The body of an op of the table, in the types of its operands. */
// biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
export function opBody(op: ElementwiseOp<any>, attrs: unknown, outType: DType, inTypes: readonly DType[]): MapBody {
  const real = [outType, ...inTypes].includes("f64") ? "double" : "float";
  const kinds = inTypes.map((d) => dtypes[d].kind);
  const body = op.body(
    inTypes.map((_, i) => expr.argument(i)),
    attrs,
  );
  const loads = kinds.map((kind, i) => `const ${kind === "float" ? real : "int"} x${i} = wide(a${i});`);
  return {
    name: op.name.replace(/\W/g, "_"),
    types: [cTypes[outType], ...inTypes.map((d) => cTypes[d])],
    compute: `${loads.join(" ")} return narrow<${cTypes[outType]}>(${print(body, cudaPrinter(real), kinds)});`,
  };
}

/** Between types: floats become integers toward zero, saturating. */
export function castBody(to: DType, from: DType): MapBody {
  const convert = from === "bool" ? "narrow<Y>" : "Cast<Y>::from";
  return {
    name: "cast",
    types: [cTypes[to], cTypes[from]],
    compute: `typedef ${cTypes[to]} Y; return ${convert}(wide(a0));`,
  };
}

/** Words as they are. */
export const copyBody = (dtype: DType): MapBody => ({
  name: "copy",
  types: [wordType(dtype), wordType(dtype)],
  compute: "return a0;",
});

/** The body as a function of stored elements. */
export const bodyFunction = ({ types, compute }: MapBody, name: string): string =>
  `${types[0]} ${name}(${types
    .slice(1)
    .map((type, i) => `${type} a${i}`)
    .join(", ")}) { ${compute} }`;

/** The body as the function `compute` of the device. */
export const computeFunction = (body: MapBody): string =>
  `static __device__ __forceinline__ ${bodyFunction(body, "compute")}`;

/** How a kernel walks its operands. */
export interface Walk {
  /** Loops, outermost first; the innermost goes by packs of `pack` elements. */
  readonly rank: number;
  readonly pack: number;
  /** For every operand, output first: whether its innermost step is 0 (one element for all of the pack). */
  readonly repeats: readonly boolean[];
  /** Whether elements are counted in 64 bits. */
  readonly isLong: boolean;
}

/** The kernel's source, with everything it uses. */
export function mapSource(body: MapBody, walk: Walk): string {
  return [kernelText("prelude"), kernelText("chain"), kernelText("map"), ownText(body, walk)].join("\n");
}

/** What follows the text that all of them share. Parameters: operands, strides operand by operand, sizes, packs. */
export function ownText(body: MapBody, { rank, pack, repeats, isLong }: Walk): string {
  const { name, types } = body;
  const operands = types.map((_, k) => k);
  const isPacked = (k: number): boolean => pack > 1 && !repeats[k]!;
  const count = isLong ? "u64" : "u32";
  const place = operands.map((k) => `i64 at${k} = 0;`).join(" ");
  const loops = Array.from({ length: rank }, (_, d) => rank - 1 - d).map((d) => {
    const step = (index: string): string =>
      operands.map((k) => `at${k} += (i64)(${index}) * p.strides[${k}][${d}];`).join(" ");
    if (d === 0) return `  ${step("rest")}`;
    return `  { const ${count} next = rest / p.sizes[${d}]; const ${count} i = rest - next * p.sizes[${d}]; ${step("i")} rest = next; }`;
  });
  const inputs = operands.slice(1);
  const load = inputs.map((k) =>
    isPacked(k)
      ? `  const Pack<${types[k]}, ${pack}> v${k} = *(const Pack<${types[k]}, ${pack}>*)(p.x${k} + at${k});`
      : `  const ${types[k]} v${k} = p.x${k}[at${k}];`,
  );
  const element = (j: string): string => inputs.map((k) => (isPacked(k) ? `v${k}.v[${j}]` : `v${k}`)).join(", ");
  const store =
    pack > 1
      ? [
          `  Pack<${types[0]}, ${pack}> y;`,
          "#pragma unroll",
          `  for (int j = 0; j < ${pack}; j++) y.v[j] = compute(${element("j")});`,
          `  *(Pack<${types[0]}, ${pack}>*)(p.x0 + at0) = y;`,
        ]
      : [`  p.x0[at0] = compute(${element("0")});`];
  return [
    computeFunction(body),
    "struct Map {",
    ...operands.map((k) => `  ${k === 0 ? "" : "const "}${types[k]}* x${k};`),
    `  i64 strides[${operands.length}][${rank}];`,
    `  u64 packs;`,
    `  u32 sizes[${rank}];`,
    "};",
    `KERNEL(${kernelName(name)}, Map, 256) {`,
    `  ${count} rest = (${count})blockIdx.x * 256 + threadIdx.x;`,
    "  if (rest >= p.packs) return;",
    `  ${place}`,
    ...loops,
    ...load,
    ...store,
    "}",
    "",
  ].join("\n");
}

export const kernelName = (name: string): string => `map_${name}`;
