import {
  collapse,
  type DType,
  type ElementwiseOp,
  expr,
  fromBf16,
  fromF16,
  type Loop,
  numel,
  print,
  type TypedArray,
  toBf16,
  toF16,
} from "@revnet-zero/tensor";
import type { CpuView } from "../buffer.ts";
import { erf } from "../erf.ts";
import { bitsOf, floatOf } from "../floatWord.ts";
import { fixed, rint } from "../rounding.ts";
import { scalarKind } from "../scalar.ts";
import { sigmoid } from "../sigmoid.ts";
import { javascript } from "./printer.ts";

type Run = (data: readonly TypedArray[], offsets: readonly number[], loops: readonly Loop[]) => void;

/** One compiled loop nest for each op, attributes, dtypes, rank and pattern of strides. */
// biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
const compiled = new WeakMap<ElementwiseOp<any>, Map<string, Run>>();

/** Prints the op's body into a loop over collapsed axes, compiles it once, runs it. */
export function runElementwise(
  // biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
  op: ElementwiseOp<any>,
  attrs: unknown,
  inputs: readonly CpuView[],
  output: CpuView,
): void {
  if (numel(output.shape) === 0) return;
  const loops = collapse(
    output.shape,
    [output, ...inputs].map((v) => v.strides),
  );
  const inner = loops[loops.length - 1]!;
  const pattern = inner.strides.map((s) => (s === 0 ? "0" : s === 1 ? "1" : "s")).join("");
  const dtypes = [output, ...inputs].map((v) => v.dtype);
  const key = `${loops.length} ${pattern} ${dtypes.join()} ${attrs === undefined ? "" : JSON.stringify(attrs)}`;
  let variants = compiled.get(op);
  if (variants === undefined) {
    variants = new Map();
    compiled.set(op, variants);
  }
  let run = variants.get(key);
  if (run === undefined) {
    const source = loopSource(op, attrs, dtypes, loops.length, pattern);
    const helpers = { sigmoid, erf, rint, fixed, bitsOf, floatOf, fromBf16, fromF16, toBf16, toF16 };
    run = new Function(...Object.keys(helpers), source)(...Object.values(helpers)) as Run;
    variants.set(key, run);
  }
  run([output.data, ...inputs.map((v) => v.data)], [output.offset, ...inputs.map((v) => v.offset)], loops);
}

function loopSource(
  // biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
  op: ElementwiseOp<any>,
  attrs: unknown,
  dtypes: readonly DType[],
  rank: number,
  pattern: string,
): string {
  const [outType, ...inTypes] = dtypes as [DType, ...DType[]];
  const body = op.body(
    inTypes.map((_, i) => expr.argument(i)),
    attrs,
  );
  const all = dtypes.map((_, k) => k);
  const at = (k: number, i: string): string =>
    pattern[k] === "0" ? `p${k}` : pattern[k] === "1" ? `p${k} + ${i}` : `p${k} + ${i} * s${k}`;
  const load = (k: number, i: string): string => `const x${k - 1} = ${decode(dtypes[k]!, `d${k}[${at(k, i)}]`)};`;
  const value = print(body, javascript, inTypes.map(scalarKind));
  const fixedInputs = all.slice(1).filter((k) => pattern[k] === "0");
  const movingInputs = all.slice(1).filter((k) => pattern[k] !== "0");
  const innerLoop = [
    ...all.filter((k) => pattern[k] === "s").map((k) => `const s${k} = loops[${rank - 1}].strides[${k}];`),
    ...fixedInputs.map((k) => load(k, "")),
    `for (let i = 0, n = loops[${rank - 1}].size; i < n; i++) {`,
    ...movingInputs.map((k) => load(k, "i")),
    `d0[${at(0, "i")}] = ${encode(outType, value)};`,
    "}",
  ].join("\n");
  let nest = innerLoop;
  for (let depth = rank - 2; depth >= 0; depth--) {
    const steps = all.map((k) => `p${k} += loops[${depth}].strides[${k}];`).join(" ");
    const back = all.map((k) => `p${k} -= loops[${depth}].strides[${k}] * loops[${depth}].size;`).join(" ");
    nest = `for (let i${depth} = 0; i${depth} < loops[${depth}].size; i${depth}++) {\n${nest}\n${steps}\n}\n${back}`;
  }
  const setUp = all.map((k) => `const d${k} = data[${k}]; let p${k} = offsets[${k}];`).join("\n");
  // Named for profiles; apart from the helpers, one of which is also an op, and always an identifier.
  const name = `loop_${op.name.replace(/\W/g, "_")}`;
  return `return function ${name}(data, offsets, loops) {\n${setUp}\n${nest}\n}`;
}

const decode = (d: DType, word: string): string =>
  d === "bf16" ? `fromBf16(${word})` : d === "f16" ? `fromF16(${word})` : word;
const encode = (d: DType, value: string): string =>
  d === "bf16" ? `toBf16(${value})` : d === "f16" ? `toF16(${value})` : d === "bool" ? `${value} ? 1 : 0` : value;
