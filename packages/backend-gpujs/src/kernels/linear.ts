import { type ElementwiseOp, type FusedKernels, numel, ops } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import type { Context } from "./context.ts";
import { elementwise } from "./map.ts";
import { reader } from "./rows.ts";

type Kernels = Pick<FusedKernels<Slot>, "linear">;
type Activation = Parameters<NonNullable<Kernels["linear"]>["run"]>[2]["activation"];

const activations: { readonly [K in Exclude<Activation, "none">]: ElementwiseOp } = {
  gelu: ops.gelu,
  geluExact: ops.geluExact,
  silu: ops.silu,
  relu: ops.relu,
};

/** x · Wᵀ + b in one kernel, the activation in a second one: what comes before it is an output too. */
export function linearKernels(c: Context): Kernels {
  return {
    linear: {
      inputs: "contiguous",
      run: ([x, w, b], [y, before], { activation }) => {
        if (numel(y!.shape) === 0) return;
        const product = before ?? y!;
        const [size, out] = [w!.shape[1]!, w!.shape[0]!];
        const views = [x!, w!, ...(b === undefined ? [] : [b])] as readonly View[];
        const inner = size === 0 ? [] : views.slice(0, 2);
        const used = [...inner, ...views.slice(2)];
        if (used.length === 0) c.fill(product, 0);
        else {
          const read = reader(used);
          c.into(product, {
            key: `linear ${size} ${out} ${used.map((v) => v.offset).join()}`,
            inputs: used.map((v) => c.operand(v)),
            body: (s, position) => {
              const { quotient: row, rest: column } = s.split(position, out);
              const total = s.let("num(0)");
              if (size > 0) {
                const [p, q] = [s.let(`${row} * ${size}`), s.let(`${column} * ${size}`)];
                s.loop(size, (k) =>
                  s.line(
                    `${total} = ${total} + ${read(s, 0, s.let(`${p} + ${k}`))} * ${read(s, 1, s.let(`${q} + ${k}`))};`,
                  ),
                );
              }
              const bias = b === undefined ? "" : ` + ${read(s, inner.length, column)}`;
              return { kind: "float", text: s.let(`${total}${bias}`) };
            },
          });
        }
        if (activation !== "none") elementwise(c, activations[activation], undefined, [product], y!);
      },
    },
  };
}
