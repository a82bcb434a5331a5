export { CpuBackend } from "./plain/backend.ts";
export { ReferenceBackend } from "./reference/backend.ts";
