import { availableParallelism, cpus, totalmem } from "node:os";
import { arch, platform, versions } from "node:process";

export interface Host {
  /** Folder of saved results: no names of machines, only what decides the figures. */
  readonly name: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly node: string;
  readonly v8: string;
}

export function describeHost(): Host {
  const cores = availableParallelism();
  // The oldest Node we support has a slower tier; its figures lie apart.
  const oldest = versions.node.startsWith("20.") ? "-node20" : "";
  return {
    name: `${platform}-${arch}-${cores}core${oldest}`,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores,
    memoryBytes: totalmem(),
    node: versions.node,
    v8: versions.v8,
  };
}
