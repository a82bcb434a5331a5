import { RevNetError } from "@revnet-zero/tensor";
import { loadAddon } from "./device/addon.ts";
import { openDriver } from "./device/driver.ts";
import { builtinsBeside, type LibraryName, openLibrary } from "./device/libraries.ts";

/** What this machine has of CUDA, or the first thing it lacks and how to get it. */
export type CudaProbe =
  | { readonly isAvailable: false; readonly problem: string }
  | {
      readonly isAvailable: true;
      /** 13000 for CUDA 13.0. */
      readonly driverVersion: number;
      readonly devices: readonly { readonly name: string; readonly architecture: string; readonly bytes: number }[];
      /** What kernels are compiled by: its version, or what is missing. */
      readonly compiler: string;
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
    if (devices.length === 0) return { isAvailable: false, problem: "the NVIDIA driver sees no device" };
    return { isAvailable: true, driverVersion, devices, compiler: compilerOf(Math.floor(driverVersion / 1000)) };
  } catch (error) {
    return { isAvailable: false, problem: messageOf(error) };
  }
}

function compilerOf(major: number): string {
  const name: LibraryName = "nvrtc";
  try {
    const open = (path: string): [number, number] => loadAddon().openCompiler(path, builtinsBeside(path));
    return `NVRTC ${openLibrary(name, major, open).value.join(".")}`;
  } catch (error) {
    return messageOf(error);
  }
}
