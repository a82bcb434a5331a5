import type { BinaryOp, Expr, ScalarType, UnaryOp } from "./expr.ts";
import { scalarType } from "./expr.ts";

type Templates<Op extends string> = { readonly [K in Op]: (...operands: string[]) => string };

/** What a target language must say to print every elementwise op. Tables are complete by type. */
export interface Printer {
  constant(value: number, type: ScalarType): string;
  argument(index: number): string;
  select(condition: string, a: string, b: string): string;
  readonly unary: Templates<UnaryOp>;
  readonly float: Templates<BinaryOp>;
  /** Integer forms: `add`, `sub` and `mul` wrap modulo 2^32. */
  readonly int: Templates<BinaryOp>;
  /** The integer forms of unary ops that differ from the float ones. */
  readonly intUnary: Partial<Templates<UnaryOp>>;
}

/** The expression as source text of the printer's language. */
export function print(e: Expr, printer: Printer, args: readonly ScalarType[]): string {
  const typed = (x: Expr, hint: ScalarType): string => {
    const own = scalarType(x, args);
    const type = own === "constant" ? hint : own;
    switch (x.kind) {
      case "argument":
        return printer.argument(x.index);
      case "constant":
        return printer.constant(x.value, type);
      case "unary": {
        const a = scalarType(x.a, args);
        const operand = a === "constant" ? (x.op === "fixed" ? "float" : type) : a;
        const template = (operand === "int" ? printer.intUnary[x.op] : undefined) ?? printer.unary[x.op];
        return template(typed(x.a, operand));
      }
      case "binary": {
        const a = scalarType(x.a, args);
        const b = scalarType(x.b, args);
        const operand = a !== "constant" ? a : b !== "constant" ? b : hint;
        const table = operand === "float" ? printer.float : printer.int;
        return table[x.op](typed(x.a, operand), typed(x.b, operand));
      }
      case "select":
        return printer.select(typed(x.condition, "bool"), typed(x.a, type), typed(x.b, type));
    }
  };
  return typed(e, "float");
}
