export type { FileContents } from "./atomicWrite.ts";
export { sweepTemporary, writeDirectoryAtomic, writeFileAtomic } from "./atomicWrite.ts";
export { CheckpointError } from "./checkpointError.ts";
export type {
  Checkpoint,
  CheckpointContents,
  CheckpointFolder,
  CheckpointStoreOptions,
} from "./checkpointStore.ts";
export { CheckpointStore } from "./checkpointStore.ts";
export type { SafetensorsContents, SafetensorsDType, SafetensorsEntry } from "./safetensors.ts";
export { decodeSafetensors, encodeSafetensors, safetensorsBytes, safetensorsParts } from "./safetensors.ts";
