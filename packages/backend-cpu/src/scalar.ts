import { type DType, dtypes, type expr } from "@revnet-zero/tensor";

/** How the expression language sees a dtype. */
export const scalarKind = (d: DType): expr.ScalarType => dtypes[d].kind;
