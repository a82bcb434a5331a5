export { FunctionBuilder, type Local } from "./function.ts";
export { type MemoryImport, ModuleBuilder } from "./module.ts";
export {
  type F32,
  type F64,
  f32,
  f32x4,
  f64,
  f64x2,
  type I32,
  i32,
  i32x4,
  i64x2,
  type Statement,
  select,
  type Type,
  type V128,
  type Value,
  v128,
} from "./value.ts";
