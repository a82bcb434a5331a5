export { type Compiled, type CompileOptions, compile, type RecordingInfo, type Tensors } from "./compile.ts";
export { compileGradients } from "./gradients.ts";
