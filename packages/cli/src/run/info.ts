import { availableParallelism, totalmem } from "node:os";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { probeCuda } from "@revnet-zero/backend-cuda";
import { formatBytes, groupDigits } from "@revnet-zero/plot";
import { type EnvironmentVariable, environment, readEnvironment } from "@revnet-zero/tensor";
import type { CommandOptions } from "../commands.ts";
import { type Output, printLine } from "../output.ts";
import { version } from "../version.ts";
import { openCheckpoint } from "./sample.ts";

export async function info(options: CommandOptions["info"], output: Output): Promise<number> {
  const lines = options.checkpoint === undefined ? machineLines() : await checkpointLines(options.checkpoint);
  const width = Math.max(...lines.map(([name]) => name.length));
  for (const [name, value] of lines) printLine(output, `${name.padEnd(width)}  ${value}`);
  return 0;
}

function machineLines(): [string, string][] {
  const backend = new CpuBackend();
  const set = (Object.keys(environment) as EnvironmentVariable[]).filter(
    (name) => readEnvironment(name) !== environment[name].default,
  );
  return [
    ["RevNet-Zero", version()],
    ["Node", process.versions.node],
    ["platform", `${process.platform} ${process.arch}, ${availableParallelism()} threads, ${formatBytes(totalmem())}`],
    ["backend", `${backend.name}: ${backend.arithmetic}; ${backend.threads} threads`],
    ["kernels", `${backend.tier} (${backend.tierReason})`],
    ...cudaLines(),
    [
      "environment",
      set.length === 0 ? "no REVNET_ variable is set" : set.map((n) => `${n}=${readEnvironment(n)}`).join(" "),
    ],
  ];
}

/** The GPUs and NVIDIA's libraries, each with what it is for; or what is missing and how to get it. */
function cudaLines(): [string, string][] {
  const found = probeCuda();
  if (!found.isAvailable) return [["cuda", `not available: ${found.problem}`]];
  const devices = found.devices.map((d) => `${d.name} (${d.architecture}, ${formatBytes(d.bytes)})`);
  const driver = `driver for CUDA ${Math.floor(found.driverVersion / 1000)}.${Math.floor((found.driverVersion % 1000) / 10)}`;
  return [
    ["cuda", [...devices, driver].join("; ")],
    ...found.libraries.map(({ name, use, state }): [string, string] => [`  ${name}`, `${state} (${use})`]),
    ["  kernels", found.kernels],
    ["  tuning", found.tuning],
  ];
}

async function checkpointLines(path: string): Promise<[string, string][]> {
  const checkpoint = await openCheckpoint(path);
  const tensors = [...checkpoint.model.values()];
  const count = tensors.reduce((n, t) => n + t.shape.reduce((a, b) => a * b, 1), 0);
  const config = checkpoint.config as { readonly model?: Readonly<Record<string, unknown>> } | null;
  const model = Object.entries(config?.model ?? {}).map(([key, value]) => `${key} ${String(value)}`);
  return [
    ["checkpoint", checkpoint.path],
    ["step", String(checkpoint.step)],
    [
      "held-out loss",
      checkpoint.metric === undefined ? "not measured" : `${checkpoint.metric.toFixed(4)} nats per byte`,
    ],
    ["model", `${groupDigits(count)} numbers in ${tensors.length} tensors; ${model.join(", ")}`],
    ["optimizer", `${checkpoint.optimizer.size} tensors`],
  ];
}
