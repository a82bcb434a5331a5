export { type FusedSupport, MetaBackend, type MetaBuffer } from "./backend.ts";
