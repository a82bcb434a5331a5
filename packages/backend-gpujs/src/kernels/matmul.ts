import { numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import type { Context } from "./context.ts";

/** Steps of an operand's batch axes within the output's, 0 where it is repeated. */
function batchStrides(x: View, batch: readonly number[]): number[] {
  const lead = batch.length - (x.shape.length - 2);
  return batch.map((_, d) => (d < lead || x.shape[d - lead] === 1 ? 0 : x.strides[d - lead]!));
}

/** One thread an output element, which adds k products in ascending order; transposes and batches are strides. */
export function matmulKernels(c: Context): Pick<PrimitiveKernels<Slot>, "matmul"> {
  return {
    matmul: {
      run: ([a, b], [y]) => {
        if (numel(y!.shape) === 0) return;
        const batch = y!.shape.slice(0, -2);
        const [m, n] = y!.shape.slice(-2) as [number, number];
        const k = a!.shape[a!.shape.length - 1]!;
        if (k === 0) return c.fill(y!, 0);
        const steps = [a!, b!].map((x) => ({
          batch: batchStrides(x, batch),
          own: x.strides.slice(-2),
          offset: x.offset,
        }));
        const [A, B] = steps as [(typeof steps)[0], (typeof steps)[0]];
        c.into(y!, {
          key: `matmul ${m}x${k}x${n} ${batch.join("x")} ${JSON.stringify(steps)}`,
          inputs: [c.operand(a!), c.operand(b!)],
          body: (s, position) => {
            const at = s.coordinates(position, [...batch, m, n]);
            const [row, column] = at.slice(-2) as [string, string];
            const outer = at.slice(0, -2);
            const start = ({ batch: strides, offset }: typeof A, index: string, stride: number): string =>
              s.position([...outer, index], [...strides, stride], offset === 0 ? "0" : String(offset));
            const [p, q] = [start(A, row, A.own[0]!), start(B, column, B.own[1]!)];
            const total = s.let("num(0)");
            s.loop(k, (j) => {
              const [x, w] = [s.position([j], [A.own[1]!], p), s.position([j], [B.own[0]!], q)];
              s.line(`${total} = ${total} + ${s.loadFloat(0, x)} * ${s.loadFloat(1, w)};`);
            });
            return { kind: "float", text: total };
          },
        });
      },
    },
  };
}
