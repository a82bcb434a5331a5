export { ReferenceBackend } from "./reference/backend.ts";
