import { CpuBackend } from "@revnet-zero/backend-cpu";
import { CudaBackend } from "@revnet-zero/backend-cuda";
import { attentionCases, graphCases, tilesAgainstRows } from "@revnet-zero/backend-cuda/testing";
import { type DType, Engine, type OpName } from "@revnet-zero/tensor";
import { allOps, runContract } from "./contract.ts";
import { firstDifference, isExact, train } from "./exactness.ts";
import { timeKernels } from "./kernels.ts";
import { OpProfile } from "./profile.ts";
import { quantiseDifferences } from "./rounding.ts";
import { type StepCase, timeStep } from "./speed.ts";

// The checks that need a device: node main.ts <check> [arguments]. Each ends with `N passed, N failed, N skipped`.

const backend = new CudaBackend();
const { device } = backend;
const [check = "all", ...rest] = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };
const print = (line: string): void => console.log(line);

function judge(what: string, isRight: boolean, detail = ""): void {
  total[isRight ? "passed" : "failed"]++;
  print(`${isRight ? "ok  " : "FAIL"} ${what}${detail === "" ? "" : `: ${detail}`}`);
}

const checks: Readonly<Record<string, () => void | Promise<void>>> = {
  contract: async () => {
    const [types = "f32,bf16", names = "all", seed = "1"] = rest;
    const chosen = names === "all" ? allOps : (names.split(",") as OpName[]);
    const dtypes = types === "all" ? {} : { dtypes: types.split(",") as DType[] };
    const report = await runContract(backend, chosen, { ...dtypes, seed: Number(seed) }, print);
    for (const key of ["passed", "failed", "skipped"] as const) total[key] += report[key];
  },
  rounding: () => {
    const different = quantiseDifferences(backend);
    judge("CPU and GPU quantise 2^20 values alike", different === 0, `${different} differ`);
  },
  exact: async () => {
    for (const blocks of rest.length > 0 ? rest.map(Number) : [12])
      for (const dtype of ["f32", "bf16"] as const)
        for (const dropout of [0, 0.1])
          judge(
            `exact, ${blocks} blocks, ${dtype}, dropout ${dropout}`,
            await isExact(backend, { blocks, dtype, dropout }),
          );
  },
  training: async () => {
    const steps = Number(rest[0] ?? 50);
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
  leak: async () => {
    const steps = Number(rest[0] ?? 200);
    const used: number[] = [];
    await train(new Engine(backend), steps, "exact", () => used.push(backend.memory().usedBytes));
    const settled = used.slice(2);
    judge(
      `device bytes are flat over ${steps} steps`,
      settled.every((bytes) => bytes === settled[0]),
      `${settled[0]} .. ${settled.at(-1)}`,
    );
  },
  attention: () => {
    for (const one of [...attentionCases, ...graphCases]) {
      const apart = tilesAgainstRows(backend, one);
      judge(
        `attention ${JSON.stringify(one)}`,
        apart.every((v) => v < 2 ** -6),
        apart.map((v) => v.toExponential(1)).join(" "),
      );
    }
    const { state } = device.attention;
    print("missing" in state ? state.missing : `cuDNN ${state.version} at ${state.path}`);
  },
  profile: () => {
    const [mode = "ordinary", batch = "8"] = rest;
    const one = { layers: 12, width: 768, length: 1024, vocabulary: 50304, dtype: "bf16" } as const;
    const profile = new OpProfile(backend);
    timeStep(backend, { ...one, mode: mode as StepCase["mode"], batch: Number(batch) }, 2, profile);
    for (const line of profile.lines(45)) print(line);
  },
  kernels: () => {
    for (const one of timeKernels(backend, rest[0])) {
      const { name, timeMs, gigabytesPerSecond, shareOfCopy, teraflopsPerSecond } = one;
      const rate =
        teraflopsPerSecond === undefined
          ? `${gigabytesPerSecond!.toFixed(0)} GB/s, ${(100 * shareOfCopy!).toFixed(0)} % of a copy`
          : `${teraflopsPerSecond.toFixed(0)} TFLOP/s`;
      print(`${name}: ${timeMs.toFixed(3)} ms, ${rate}`);
    }
  },
  speed: () => {
    const base = { layers: 12, width: 768, length: 1024, vocabulary: 50304, dtype: "bf16" } as const;
    const modes = (rest[1] ?? "ordinary,exact,store").split(",") as StepCase["mode"][];
    const cases: StepCase[] = modes.map((mode) => ({
      ...base,
      mode,
      batch: Number(rest[0] ?? 8),
    }));
    for (const one of cases) {
      const figures = timeStep(backend, one);
      print(JSON.stringify({ ...one, ...figures }, (_, v) => (typeof v === "number" ? Number(v.toPrecision(5)) : v)));
    }
  },
};

print(`${device.name}, ${device.target}, ${device.processors} multiprocessors, CUDA ${device.driverVersion}`);
const chosen = check === "all" ? Object.values(checks) : [checks[check]!];
for (const run of chosen) await run();
print(`arithmetic: ${backend.arithmetic}`);
const { compiled, compileMs } = device.compiler;
print(`${device.launches} launches, ${compiled} kernels compiled in ${compileMs.toFixed(0)} ms`);
print(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;
