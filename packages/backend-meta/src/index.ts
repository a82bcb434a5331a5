export { type FusedSupport, MetaBackend, type MetaBuffer, NoValuesError } from "./backend.ts";
