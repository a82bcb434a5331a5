import { readFileSync, writeFileSync } from "node:fs";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { CudaBackend } from "@revnet-zero/backend-cuda";
import {
  type AttentionCase,
  type AttentionProof,
  attentionCases,
  checkAbi,
  convolutionApart,
  convolutionBound,
  convolutionCases,
  graphCases,
  hopperCases,
  longConvolutionCases,
  longHopperCases,
  longSparseCases,
  proveCollectives,
  type SparseCase,
  shippable,
  sparseAgainstDense,
  sparseCases,
  tilesAgainstRows,
  tryEveryKernel,
} from "@revnet-zero/backend-cuda/testing";
import { type Backend, type DType, Engine, type OpName } from "@revnet-zero/tensor";
import { gpt2Sizes as gpt2KernelSizes, makeProduct, productsOf } from "../kernels/gpuCases.ts";
import { type AttentionTiming, attentionShapes, timeAttention } from "./attention.ts";
import { allOps, runContract } from "./contract.ts";
import { firstDifference, firstDifferentLoss, isExact, peakOfGraphs, train } from "./exactness.ts";
import { hierarchicalApart, profileAttention } from "./hierarchical.ts";
import { findLargest, type LargestAxis, type LargestCase } from "./largest.ts";
import { memoryOverSteps } from "./leak.ts";
import { largeSizes, memoryOfStep, memorySubjects, smallSizes } from "./memory.ts";
import { apart, type Curve, trainOnNovel } from "./novel.ts";
import { gpt2Sizes, linkSpeed, offloadedPasses, plannedPasses, tinySizes } from "./offload.ts";
import { OpProfile } from "./profile.ts";
import { quantiseDifferences } from "./rounding.ts";
import { type SamplingCase, timeSampling } from "./sampling.ts";
import { type StepCase, timeStep } from "./speed.ts";

// The checks that need a device: node main.ts <check> [name=value ...]. Each ends with `N passed, N failed, N skipped`.

const backend = new CudaBackend();
const { device } = backend;
const [check = "all", ...rest] = process.argv.slice(2);
const given = new Map(rest.map((word) => word.split("=", 2) as [string, string]));
/** What was given as name=value. */
const option = (name: string, otherwise: string): string => given.get(name) ?? otherwise;
const list = (name: string, otherwise: string): string[] => option(name, otherwise).split(",");
const total = { passed: 0, failed: 0, skipped: 0 };
const shortened = (_: string, v: unknown): unknown => (typeof v === "number" ? Number(v.toPrecision(5)) : v);
const print = (line: string): void => console.log(line);

function judge(what: string, isRight: boolean, detail = ""): void {
  total[isRight ? "passed" : "failed"]++;
  print(`${isRight ? "ok  " : "FAIL"} ${what}${detail === "" ? "" : `: ${detail}`}`);
}

const checks: Readonly<Record<string, () => void | Promise<void>>> = {
  // What every op promises. Values may be off by `factor` times what the plain implementation in the same type is off from float64.
  contract: async () => {
    const types = option("types", "f32,bf16");
    const chosen = given.has("ops") ? (list("ops", "") as OpName[]) : allOps;
    const dtypes = types === "all" ? {} : { dtypes: types.split(",") as DType[] };
    const numbers = {
      seed: Number(option("seed", "1")),
      factor: Number(option("factor", "4")),
      effort: Number(option("effort", "1")),
    };
    const report = await runContract(backend, chosen, { ...dtypes, ...numbers }, print);
    for (const key of ["passed", "failed", "skipped"] as const) total[key] += report[key];
  },
  rounding: () => {
    const different = quantiseDifferences(backend);
    judge("CPU and GPU quantise 2^20 values alike", different === 0, `${different} differ`);
  },
  exact: async () => {
    for (const blocks of list("blocks", "12").map(Number))
      for (const dtype of ["f32", "bf16"] as const)
        for (const dropout of [0, 0.1])
          judge(
            `exact, ${blocks} blocks, ${dtype}, dropout ${dropout}`,
            await isExact(backend, { blocks, dtype, dropout }),
          );
  },
  training: async () => {
    const steps = Number(option("steps", "50"));
    const exact = await train(new Engine(backend), steps, "exact");
    const stored = await train(new Engine(backend), steps, "store");
    const again = await train(new Engine(backend), steps, "exact");
    judge(
      `weights after ${steps} steps: rebuilt like stored`,
      firstDifference(exact, stored) === undefined,
      firstDifference(exact, stored),
    );
    judge("the same run again has the same bits", firstDifference(exact, again) === undefined);
    const host = await train(new Engine(new CpuBackend()), Math.min(steps, 50), "exact");
    const apart = Math.max(...host.losses.map((loss, i) => Math.abs(loss - exact.losses[i]!)));
    judge(
      "CPU and GPU lose alike",
      apart < 1e-3,
      `losses at most ${apart.toExponential(1)} apart, last ${host.losses.at(-1)}`,
    );
  },
  graph: async () => {
    // A graph of the second kind of pass is launched in the fifth step.
    const steps = Math.max(6, Number(option("steps", "20")));
    for (const mode of ["exact", "store"] as const) {
      const eager = await train(new Engine(backend), steps, mode);
      for (const graph of ["passes", "steps"] as const) {
        const found = await train(new Engine(backend), steps, mode, { graph });
        const different = firstDifference(found, eager) ?? firstDifferentLoss(found, eager);
        judge(`${steps} training steps with ${graph} as CUDA graphs: those called, ${mode}`, !different, different);
      }
      const { predictedBytes, measuredBytes } = await peakOfGraphs(backend as Backend, mode);
      const isSame = predictedBytes === measuredBytes;
      judge(`  the peak of a run of graphs is the estimate`, isSame, `${predictedBytes} and ${measuredBytes} bytes`);
    }
    const { liveBlocks } = backend.memory();
    judge("graphs leave nothing", liveBlocks === 0, `${liveBlocks} blocks`);
  },
  leak: async () => {
    const steps = Number(option("steps", "200"));
    const { used, reserved, liveBlocks } = await memoryOverSteps(backend, steps);
    for (const [what, { least, most }] of [
      [`device bytes in use are flat over ${steps} steps`, used],
      ["so is what was taken from the driver", reserved],
    ] as const)
      judge(what, least === most, `${least} .. ${most}`);
    judge("nothing is left at the end", liveBlocks === 0, `${liveBlocks} blocks`);
  },
  // What estimates say, without running anything, against what steps of every model then need. sizes=small for a stand-in or a small device.
  memory: () => {
    const sizes = option("sizes", "large") === "small" ? smallSizes : largeSizes;
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    const against = (bytes: number, of: number): string =>
      `${mib(bytes)}, ${(100 * (bytes / of - 1)).toFixed(2)} % more`;
    for (const name of given.has("only") ? list("only", "") : memorySubjects) {
      const start = performance.now();
      const found = memoryOfStep(backend, name, sizes);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const { estimatedBytes: estimate, ledgerBytes, tensorBytes, usedBytes, reservedBytes } = found;
      const isSame = ledgerBytes === estimate && found.isSameAtPeak && found.assumptions.length === 0;
      judge(`${name}: the estimate is the ledger's peak`, isSame, `${estimate} and ${ledgerBytes} bytes`);
      const isNear = Math.abs(tensorBytes / estimate - 1) <= 0.03;
      judge("  what tensors were given is within 3 % of it", isNear, against(tensorBytes, estimate));
      const { addedBytes, takenBytes } = found;
      const isCounted = Math.abs(takenBytes - addedBytes) <= 0.03 * reservedBytes;
      judge(
        "  what the driver says was taken is what we count",
        isCounted,
        `${mib(takenBytes)} and ${mib(addedBytes)}`,
      );
      print(
        `       with workspaces ${against(usedBytes, estimate)}; taken ${against(reservedBytes, estimate)}; ${seconds} s`,
      );
    }
  },
  // Streams and activations copied to the host beside the computation. sizes=small for a stand-in.
  offload: () => {
    const sizes = option("sizes", "large") === "small" ? tinySizes : gpt2Sizes;
    const { outGBs, backGBs, hostUs } = linkSpeed(backend, sizes.linkBytes);
    const asked = `${hostUs.toFixed(1)} us of the program to ask for both`;
    print(`a copy by itself: ${outGBs.toFixed(1)} GB/s to the host, ${backGBs.toFixed(1)} GB/s back, ${asked}`);
    const [stored, ...rest] = offloadedPasses(backend, sizes);
    for (const one of [stored!, ...rest]) {
      const { name, passMs, hostMs, graphMs, peakBytes, copiedBytes, copiesMs, waitsMs, isSame, whyNoGraph } = one;
      const time = `${passMs.toFixed(1)} ms (host ${hostMs.toFixed(1)}), x ${(passMs / stored!.passMs).toFixed(2)}, as a graph ${graphMs.toFixed(1)}${whyNoGraph === undefined ? "" : ` (none: ${whyNoGraph})`}`;
      const copied = `${(copiedBytes / 2 ** 20).toFixed(0)} MiB copied in ${copiesMs.toFixed(1)} ms at ${(copiedBytes / 1e6 / copiesMs).toFixed(1)} GB/s`;
      const waited = `waited for ${waitsMs.toFixed(1)} ms: ${(100 * (1 - waitsMs / copiesMs)).toFixed(0)} % hidden`;
      const figures = `${time}, peak ${(peakBytes / 2 ** 30).toFixed(2)} GiB${copiedBytes === 0 ? "" : `, ${copied}, ${waited}`}`;
      judge(`${name}: the bits of stored activations`, isSame && whyNoGraph === undefined, figures);
    }
    for (const one of plannedPasses(backend, sizes)) {
      const { name, budgetBytes, rehearsedBytes, peakBytes, predictedMs, passMs } = one;
      const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
      const figures = `${gib(peakBytes)} in ${gib(budgetBytes)}, ${predictedMs.toFixed(1)} ms promised, ${passMs.toFixed(1)} ms taken`;
      judge(`planned: ${name}: the bytes of its rehearsal`, peakBytes === rehearsedBytes, figures);
    }
    const { liveBlocks, hostBytes } = backend.memory();
    judge("nothing is left, on the device or in pinned memory", liveBlocks + hostBytes === 0);
  },
  // The default model on the novel: the CPU's curve is computed here, or read from a file that `curve` wrote on another machine.
  novel: async () => {
    const steps = Number(option("steps", "500"));
    const file = option("cpu", "");
    const host: Curve =
      file === ""
        ? await trainOnNovel(new CpuBackend(), steps, "f32")
        : (JSON.parse(readFileSync(file, "utf8")) as Curve);
    const [inF32, inBf16] = [await trainOnNovel(backend, steps, "f32"), await trainOnNovel(backend, steps, "bf16")];
    const { most, step } = apart(inF32, host);
    judge(
      `losses of ${steps} steps in f32 are the CPU's`,
      most < 1e-3,
      `${most.toExponential(1)} apart at step ${step}`,
    );
    const off = Math.abs(inBf16.heldOutLoss / host.heldOutLoss - 1);
    const figures = `${inBf16.heldOutLoss} and ${host.heldOutLoss} nats per byte (f32 here: ${inF32.heldOutLoss})`;
    judge("the held-out loss in bf16 is within 1 % of the CPU's in f32", off < 0.01, figures);
  },
  // Our declarations against NVIDIA's headers, where this machine has g++ and them.
  abi: () => {
    const { checked, absent, problem } = checkAbi();
    judge(`declarations are those of ${checked.join(", ")}`, problem === undefined, problem?.slice(0, 2000));
    total.skipped += absent.length;
    if (absent.length > 0) print(`skipped: ${absent.join(", ")} are not here`);
  },
  collectives: () => {
    const wrong = proveCollectives(backend);
    judge(`NCCL ${device.collectives.version} in a group of one rank`, wrong.length === 0, wrong.join("; "));
  },
  // Meets the products of a GPT-2 step, or with of=products those of the suite `kernels`, and times the kernels that serve each; what
  // starts after it uses the table. to=file writes what of the table, as far as it is now, ships in native-cuda/tuned.
  tune: () => {
    const engine = new Engine(backend);
    if (option("of", "step") === "products")
      for (const one of productsOf(gpt2KernelSizes)) engine.scope(() => void engine.noGrad(makeProduct(one, engine)));
    else
      for (const mode of list("modes", "ordinary,exact") as StepCase["mode"][]) {
        const [batch, width] = [Number(option("batch", "32")), Number(option("width", "768"))];
        const length = Number(option("length", "1024"));
        timeStep(backend, { layers: 1, width, length, vocabulary: 50304, dtype: "bf16", mode, batch }, 2);
      }
    const { problems, changed, firstMs, bestMs, path } = backend.tune(print);
    print(`${problems} problems, ${changed} changed: ${firstMs.toFixed(3)} ms to ${bestMs.toFixed(3)} ms, in ${path}`);
    if (given.has("to")) writeFileSync(option("to", ""), shippable({ device: device.name }, path));
  },
  curve: async () => {
    const curve = await trainOnNovel(new CpuBackend(), Number(option("steps", "500")), "f32");
    writeFileSync(option("to", "curve.json"), JSON.stringify(curve));
  },
  convolutions: () => {
    const oracle = new Engine(new CpuBackend());
    for (const one of [...convolutionCases, ...longConvolutionCases])
      for (const dtype of list("types", "f32,bf16,f16") as ("f32" | "bf16" | "f16")[]) {
        const apart = convolutionApart(new Engine(backend), oracle, one, dtype);
        const isRight = apart.every((v) => v < convolutionBound(one, dtype));
        judge(
          `convolutions in ${dtype} ${JSON.stringify(one)}`,
          isRight,
          apart.map((v) => v.toExponential(1)).join(" "),
        );
      }
  },
  attention: () => {
    const bounds = { bf16: 2 ** -6, f16: 2 ** -9 } as const;
    const prove = (one: AttentionCase, proof: Required<AttentionProof>): void => {
      const apart = tilesAgainstRows(backend, one, proof);
      judge(
        `attention by ${proof.way} in ${proof.dtype} ${JSON.stringify(one)}`,
        apart.every((v) => v < bounds[proof.dtype]),
        apart.map((v) => v.toExponential(1)).join(" "),
      );
    };
    const cases = {
      hopper: device.hasWarpgroups ? [...hopperCases, ...longHopperCases] : [],
      tiles: attentionCases,
      cuDNN: graphCases,
    };
    for (const way of list("ways", "hopper,tiles,cuDNN") as (keyof typeof cases)[])
      for (const one of cases[way])
        for (const dtype of list("types", "bf16,f16") as (keyof typeof bounds)[]) prove(one, { way, dtype });
    const { state } = device.attention;
    print("missing" in state ? state.missing : `cuDNN ${state.version} at ${state.path}`);
  },
  // Attention driven by lists against whole matrices on the CPU, from the same bfloat16 numbers; every run twice.
  sparse: () => {
    const oracle = new Engine(new CpuBackend());
    const bounds = { bf16: 2 ** -6, f16: 2 ** -8, f32: 2 ** -16 } as const;
    const prove = (one: SparseCase, dtype: keyof typeof bounds): void => {
      const { apart, isSame } = sparseAgainstDense(backend, oracle, one, dtype);
      const figures = `${apart.map((v) => v.toExponential(1)).join(" ")}, ${isSame ? "the same bits again" : "OTHER BITS"}`;
      judge(`list in ${dtype} ${JSON.stringify(one)}`, isSame && apart.every((v) => v < bounds[dtype]), figures);
    };
    const apart = hierarchicalApart(backend as Backend, new CpuBackend() as Backend);
    for (const [what, difference] of apart)
      judge(`hierarchical attention like on the CPU: ${what}`, difference < 1e-5, difference.toExponential(1));
    // length=short: what compute-sanitizer gets through in a minute.
    const long = option("length", "all") === "short" ? [] : longSparseCases;
    for (const one of [...sparseCases, ...long]) prove(one, "bf16");
    for (const one of long.slice(0, 3)) for (const dtype of ["f16", "f32"] as const) prove(one, dtype);
  },
  // Time by op, of a training step or, with of=attention, of hierarchical attention: tokens=131072 leaf=32 recall=3 (a level) choice=16
  profile: () => {
    if (option("of", "step") === "attention") {
      const number = (name: string, otherwise: number): number => Number(option(name, String(otherwise)));
      const recall = { topK: number("topK", 4), level: number("recall", 0), queriesPerChoice: number("choice", 16) };
      const profile = new OpProfile(backend);
      profileAttention(profile, {
        ...{ tokens: number("tokens", 131072), leafSize: number("leaf", 32), keyHeads: number("keyHeads", 16) },
        ...(recall.level === 0 ? {} : { recall }),
      });
      for (const line of profile.lines(24)) print(line);
      return;
    }
    const [mode, batch] = [option("mode", "ordinary"), option("batch", "8")];
    const one = { layers: 12, width: 768, length: 1024, vocabulary: 50304, dtype: "bf16" } as const;
    const profile = new OpProfile(backend);
    timeStep(backend, { ...one, mode: mode as StepCase["mode"], batch: Number(batch) }, 2, profile);
    for (const line of profile.lines(Number(option("lines", "45")))) print(line);
  },
  // The largest batch and the longest sequence of GPT-2's shape that make a step: gradients of many equal sequences are those of few.
  largest: () => {
    const mostTokens = Number(option("tokens", "262144"));
    const shape = { layers: 12, width: Number(option("width", "768")), vocabulary: 50304, length: 1024 };
    for (const mode of list("modes", "ordinary,exact") as LargestCase["mode"][])
      for (const axis of list("axes", "batch,length") as LargestAxis[]) {
        const most = axis === "batch" ? Number.POSITIVE_INFINITY : mostTokens;
        const found = findLargest(backend, { ...shape, mode, axis, mostTokens: most });
        const isEqual = [found.lossRatio, found.normRatio].every((ratio) => Math.abs(ratio - 1) < 0.02);
        judge(`${mode}, ${axis} ${found.made}`, axis === "length" || isEqual, JSON.stringify(found, shortened));
      }
  },
  // Every kernel for the derivative behind a product, at GPT-2's sizes or rows=,width=: what it gives, twice, and how long it takes.
  derivatives: () => {
    const [rows, width] = [Number(option("rows", "32768")), Number(option("width", "768"))];
    for (const { kernel, isSame, apart, timeMs } of tryEveryKernel(backend, [rows, width, 4 * width], true)) {
      const [by, sums] = apart.map((v) => v.toExponential(1));
      const figures = `${timeMs!.toFixed(3)} ms, ${by} and ${sums} apart, ${isSame ? "the same bits again" : "OTHER BITS"}`;
      judge(kernel, isSame && apart.every((v) => v < 2 ** -6), figures);
    }
  },
  // Every way of attention on the same numbers, turn by turn; ways=cuDNN,hopper of all, layout=packed as heads of one projection.
  "attention-speed": () => {
    const chosen = list("shapes", attentionShapes.map((_, i) => i).join()).map((i) => attentionShapes[Number(i)]!);
    const timing: AttentionTiming = {
      ...{ rounds: Number(option("rounds", "7")), layout: option("layout", "apart") as AttentionTiming["layout"] },
      passes: list("passes", "forward,backward"),
      ...(given.has("ways") ? { ways: list("ways", "") } : {}),
    };
    const { state } = device.attention;
    print("missing" in state ? state.missing : `cuDNN ${state.version} at ${state.path}`);
    for (const one of chosen) {
      const shape = `${one.batch} x ${one.heads} x ${one.length} x ${one.dim} ${one.isCausal ? "causal" : "full"}`;
      const times = timeAttention(backend, one, timing);
      for (const { pass, way, timeMs, teraflopsPerSecond } of times) {
        const first = times.find((other) => other.pass === pass)!;
        const share = `${((100 * first.timeMs) / timeMs).toFixed(0)} % of ${first.way}'s speed`;
        print(
          `${shape} ${timing.layout} ${pass}, ${way}: ${timeMs.toFixed(4)} ms, ${teraflopsPerSecond.toFixed(0)} TFLOP/s, ${share}`,
        );
      }
    }
  },
  // Tokens a second of greedy decoding, and whether a graph finds the tokens that calls find.
  sampling: async () => {
    for (const mode of list("modes", "ordinary,exact") as SamplingCase["mode"][])
      for (const batch of list("batch", "1,64").map(Number)) {
        const found: string[] = [];
        for (const run of list("runs", "eager,graph") as SamplingCase["run"][]) {
          const one: SamplingCase = {
            ...{ mode, run, batch, dtype: option("dtype", "bf16") as SamplingCase["dtype"], vocabulary: 50304 },
            ...{ layers: Number(option("layers", "12")), width: Number(option("width", "768")) },
            ...{ length: Number(option("length", "1024")), tokens: Number(option("tokens", "256")) },
            prompt: Number(option("prompt", "8")),
          };
          const { found: tokens, ...figures } = await timeSampling(backend, one, Number(option("repeats", "5")));
          found.push(tokens.join());
          print(JSON.stringify({ ...one, ...figures }, shortened));
        }
        judge(`${mode}, batch ${batch}: the same tokens however steps are run`, new Set(found).size === 1);
      }
  },
  speed: () => {
    const modes = list("modes", "ordinary,exact,store") as StepCase["mode"][];
    const runs = list("runs", "eager") as NonNullable<StepCase["run"]>[];
    const weights = list("weights", "kept") as NonNullable<StepCase["weights"]>[];
    const sizes = {
      ...{ layers: Number(option("layers", "12")), width: Number(option("width", "768")) },
      ...{ batch: Number(option("batch", "8")), length: Number(option("length", "1024")) },
    };
    const ways = modes.flatMap((mode) => runs.flatMap((run) => weights.map((kept) => ({ mode, run, weights: kept }))));
    // Turn by turn, so that a card that slows down slows all down.
    const turns = Array.from({ length: Number(option("rounds", "1")) }, () => ways).flat();
    for (const way of turns) {
      const one: StepCase = { ...way, ...sizes, dtype: "bf16", vocabulary: 50304 };
      const figures = timeStep(backend, one, Number(option("repeats", "8")));
      print(JSON.stringify({ ...one, ...figures }, shortened));
    }
  },
};

print(`${device.name}, ${device.target}, ${device.processors} multiprocessors, CUDA ${device.driverVersion}`);
const proofs = [
  "contract",
  "rounding",
  "attention",
  "sparse",
  "abi",
  "collectives",
  "exact",
  "training",
  "graph",
  "leak",
  "memory",
  "offload",
  "novel",
];
if (check !== "all" && checks[check] === undefined)
  throw new Error(`there is no check ${check}; they are ${Object.keys(checks).join(", ")}`);
const chosen = check === "all" ? proofs.map((name) => checks[name]!) : [checks[check]!];
for (const run of chosen) await run();
print(`arithmetic: ${backend.arithmetic}`);
const { compiled, compileMs } = device.compiler;
print(`${device.launches} launches, ${compiled} kernels compiled in ${compileMs.toFixed(0)} ms`);
print(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;
