import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type DType, dispatch, Engine, type OpName, ops, type Tensor, zeros } from "@revnet-zero/tensor";
import { operandsOf, samples, subject } from "@revnet-zero/testkit";
import fc from "fast-check";
import { kernelFiles, kernelText } from "../src/device/sources.ts";
import { convolveBothWays } from "../src/testing/convolutions.ts";
import { useStandIn } from "../src/testing/standIn.ts";

// node recordOps.ts <folder> families|<calls>: leaves the sources of kernels in a folder, one a file: one choice of each family, or all
// choices of some calls of every op in every type. On the stand-in driver, which is told to compile and run none.

const [folder, which] = process.argv.slice(2) as [string, string];
const reason = useStandIn();
if (reason !== undefined) throw new Error(reason);
process.env.REVNET_STANDIN_IDLE = "1";
process.env.REVNET_CUDA_CACHE = join(folder, "cache");
process.env.REVNET_CUDA_ATTENTION = "own";
const { CudaBackend } = await import("../src/index.ts");
const backend = new CudaBackend();
const { compiler } = backend.device;
const found = new Map<string, string>();
const files = kernelFiles();
/** The files of kernels that a source is put together from. */
const familyOf = (source: string): string => files.filter((file) => source.includes(kernelText(file))).join(".");
const compile = compiler.compile.bind(compiler);
compiler.compile = (source, name) => {
  const family = which === "families" ? familyOf(source) : `${name}.${found.size}`;
  if (!found.has(family) && ![...found.values()].includes(source)) found.set(family, source);
  return compile(source, name);
};

/** The types that most is made for come first: theirs is the choice of a family. */
const order: readonly DType[] = ["bf16", "f32", "f16", "f64", "i32", "i16", "i8", "u8", "bool"];
const calls = which === "families" ? 2 : Number(which);

for (const dtype of order) {
  for (const name of Object.keys(ops) as OpName[]) {
    const { op, sampler } = subject(name);
    if (!sampler.dtypes.includes(dtype)) continue;
    for (const sample of fc.sample(samples(sampler, { dtype, values: "plain" }), { numRuns: calls, seed: 1 })) {
      const engine = new Engine(backend);
      engine.scope(() =>
        engine.noGrad(() => {
          const drawn = operandsOf(engine, sample);
          dispatch(engine, op, sampler.complete?.(drawn, sample.attrs) ?? drawn, sample.attrs);
        }),
      );
    }
  }
}
// What Hopper's attention takes is longer than samples are.
for (const dtype of which === "families" ? (["bf16"] as const) : (["bf16", "f16"] as const))
  for (const dim of which === "families" ? [64] : [64, 128]) {
    const engine = new Engine(backend);
    engine.scope(() => {
      const draw = (): Tensor => zeros([1, 2, 128, dim], { dtype, engine });
      const attrs = { scale: 1, isCausal: true };
      const [q, k, v, g] = [draw(), draw(), draw(), draw()];
      const [o, lse] = dispatch(engine, ops.attention, [q, k, v], attrs) as [Tensor, Tensor];
      dispatch(engine, ops.attentionBackward, [q, k, v, o, lse, g], attrs);
    });
  }
// What tensor cores multiply some rows by has more of an axis than samples have: of GPT-2's widths.
for (const dtype of which === "families" ? (["bf16"] as const) : (["bf16", "f16"] as const))
  for (const k of which === "families" ? [768] : [768, 3072]) {
    const engine = new Engine(backend);
    engine.scope(() => void zeros([64, k], { dtype, engine }).linear(zeros([16, k], { dtype, engine })));
  }
// Convolutions of few channels are not done by tiles, and samples have no more.
for (const dtype of which === "families" ? (["bf16", "f32"] as const) : (["bf16", "f32", "f16"] as const))
  for (const stride of [1, 2]) {
    const engine = new Engine(backend);
    engine.scope(() => {
      const attrs = { stride: [stride, stride], padding: [1, 1], dilation: [1, 1], groups: 1 } as const;
      const [x, w] = [
        [4, 32, 32, 32],
        [32, 32, 3, 3],
      ].map((shape) => zeros(shape, { dtype, engine })) as [Tensor, Tensor];
      convolveBothWays(x, w, attrs);
    });
  }
for (const [name, source] of found) writeFileSync(join(folder, `${name}.cu`), source);
console.log(`${found.size} sources`);
