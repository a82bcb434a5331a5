import { availableParallelism, cpus, totalmem } from "node:os";
import { arch, platform, versions } from "node:process";

export interface Host {
  /** Folder of saved results: no names of machines, only what decides the figures. */
  readonly name: string;
  readonly cpu: string;
  readonly cores: number;
  /** The GPU, where the figures are its. */
  readonly device?: string;
  readonly memoryBytes: number;
  readonly node: string;
  readonly v8: string;
}

/** `device` is the GPU that computed, where one did. */
export function describeHost(device?: string): Host {
  const cores = availableParallelism();
  // The oldest Node we support has a slower tier; its figures lie apart.
  const oldest = versions.node.startsWith("20.") ? "-node20" : "";
  const computing = device === undefined ? `${cores}core` : device.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return {
    name: `${platform}-${arch}-${computing}${oldest}`,
    ...(device === undefined ? {} : { device }),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores,
    memoryBytes: totalmem(),
    node: versions.node,
    v8: versions.v8,
  };
}
