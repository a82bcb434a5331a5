import { RevNetError } from "@revnet-zero/tensor";
import { ArchivedKernels } from "./ahead/archive.ts";
import { TuningTable } from "./choice/tuningTable.ts";
import { loadAddon } from "./device/addon.ts";
import type { NativeCuda } from "./device/binding.ts";
import { targetOf } from "./device/device.ts";
import { openDriver } from "./device/driver.ts";
import { builtinsBeside, type LibraryName, openLibrary } from "./device/libraries.ts";

/** One of NVIDIA's libraries: its version, or what is missing and how to get it. */
export interface LibraryProbe {
  readonly name: string;
  readonly use: string;
  readonly state: string;
}

/** What this machine has of CUDA, or the first thing it lacks and how to get it. */
export type CudaProbe =
  | { readonly isAvailable: false; readonly problem: string }
  | {
      readonly isAvailable: true;
      /** 13000 for CUDA 13.0. */
      readonly driverVersion: number;
      readonly devices: readonly { readonly name: string; readonly architecture: string; readonly bytes: number }[];
      readonly libraries: readonly LibraryProbe[];
      /** What was compiled ahead of time. */
      readonly kernels: string;
      /** What `tune` found on the first device. */
      readonly tuning: string;
    };

const messageOf = (error: unknown): string =>
  error instanceof RevNetError ? error.message.replace(/\n {2}hint: /, "; hint: ") : (error as Error).message;

/** Looks without opening a device; never throws. */
export function probeCuda(): CudaProbe {
  try {
    const addon = loadAddon();
    const driverVersion = openDriver(addon);
    const devices = Array.from({ length: addon.deviceCount() }, (_, ordinal) => {
      const [major, minor, , , bytes] = addon.deviceFacts(ordinal);
      return { name: addon.deviceName(ordinal), architecture: `sm_${major}${minor}`, bytes };
    });
    const [first] = devices;
    if (first === undefined) return { isAvailable: false, problem: "the NVIDIA driver sees no device" };
    const [major, minor] = addon.deviceFacts(0);
    const target = targetOf(major, minor);
    return {
      isAvailable: true,
      driverVersion,
      devices,
      libraries: librariesOf(addon, Math.floor(driverVersion / 1000)),
      kernels: new ArchivedKernels().summary,
      tuning: new TuningTable({ device: first.name, target, driverVersion }).summary,
    };
  } catch (error) {
    return { isAvailable: false, problem: messageOf(error) };
  }
}

/** What each library is for, and how its version is asked without a device. Those that need one are only looked for. */
const uses: { readonly [L in LibraryName]: readonly [use: string, ask: (addon: NativeCuda, path: string) => string] } =
  {
    nvrtc: [
      "compiles kernels that were not compiled ahead of time",
      (addon, path) => addon.openCompiler(path, builtinsBeside(path)).join("."),
    ],
    cublasLt: ["matrix products; without it our own, slower", (_, path) => path],
    cudnn: ["attention; without it our own, slower", (_, path) => path],
    nccl: ["several GPUs", (addon, path) => String(addon.openCollectives(path))],
  };

function librariesOf(addon: NativeCuda, driverMajor: number): LibraryProbe[] {
  return (Object.keys(uses) as LibraryName[]).map((name) => {
    const [use, ask] = uses[name];
    try {
      const { path, value } = openLibrary(name, driverMajor, (file) => ask(addon, mustOpen(addon, file)));
      return { name, use, state: value === path ? path : `${value} at ${path}` };
    } catch (error) {
      return { name, use, state: `missing: ${messageOf(error).replaceAll(/\s*\n\s*/g, "; ")}` };
    }
  });
}

/** A file that the system's linker opens. */
function mustOpen(addon: NativeCuda, path: string): string {
  addon.checkLibrary(path);
  return path;
}
