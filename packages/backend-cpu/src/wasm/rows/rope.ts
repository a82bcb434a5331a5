import { i32, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import { at } from "../gemm/gemm.ts";
import type { Multiply } from "../multiply.ts";
import { beside, eachVector, loadRow, storeRow } from "./row.ts";
import { rowAt, rowFunction, splatBits, wordAt } from "./rowFunction.ts";

/**
 * Rows of x lie `[outer][inner][time]` with steps in bytes, those of y side by side. Turns coordinate i of a row together with i + half by the angle of (row's time, i), tables of `[time, half]` cosines and
 * sines. `sign` is the bits of 0 or -0: -0 turns back. Source: Su et al. 2021 (arXiv:2104.09864), eq. 34.
 */
export function emitRope(m: ModuleBuilder, multiply: Multiply): void {
  const operands = ["x", "cosines", "sines", "y", "time", "half", "sign"] as const;
  const parameters = [...operands, "timeBytes", "inner", "innerBytes", "outerBytes"] as const;
  rowFunction(m, multiply, "rope", parameters, (v, row, given) => {
    const { f } = v;
    const { x, cosines, sines, y, time, half, sign, timeBytes, inner, innerBytes, outerBytes } = given;
    const place = f.let(i32.remU(row, time));
    const sequence = f.let(i32.divU(row, time));
    const lead = i32.add(at(x, i32.divU(sequence, inner), outerBytes), i32.mul(i32.remU(sequence, inner), innerBytes));
    const size = f.let(i32.shl(half, i32.const(1)));
    const direction: V128 = splatBits(v, sign);
    const [a, to] = [f.let(at(lead, place, timeBytes)), f.let(rowAt(y, row, size))];
    const starts = [a, wordAt(a, half), rowAt(cosines, place, half), rowAt(sines, place, half), to, wordAt(to, half)];
    eachVector(v, half, starts, (w, addresses, part) => {
      const [p, q, cos, unsigned] = addresses.slice(0, 4).map((at) => loadRow(w, at)) as [V, V, V, V];
      const sin = w.binary(v128.xor, unsigned, beside(w, direction));
      const turned = w.sub(w.mul(p, cos), w.mul(q, sin));
      const other = w.add(w.mul(q, cos), w.mul(p, sin));
      storeRow(w, addresses[4]!, turned, part);
      storeRow(w, addresses[5]!, other, part);
    });
  });
}

type V = ReturnType<typeof loadRow>;
