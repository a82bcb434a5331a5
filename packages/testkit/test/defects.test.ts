import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import {
  type AnyOp,
  type Backend,
  type BufferView,
  type VjpContext as Context,
  contiguousStrides,
  fromBf16,
  type Kernel,
  type Meta,
  type OpName,
  ops,
  type Tensor,
  type TypedArray,
  toBf16,
} from "@revnet-zero/tensor";
import { describe, expect, test } from "vitest";
import { type BackendChanges, promisesOf, type Subject, subject, wrapBackend } from "../src/index.ts";

// The contract is worth what it catches: every defect below is planted in an otherwise right backend or op, and the
// promise it breaks must fail.

const reference = new ReferenceBackend();

/** Titles of the promises that a subject breaks on a backend. */
async function broken(one: Subject, backend: Backend = reference): Promise<string[]> {
  const titles: string[] = [];
  for (const { title, skip, run } of promisesOf(one, { backend, reference, factor: 4, effort: 3, seed: 3 })) {
    if (skip !== undefined) continue;
    await run().catch(() => titles.push(title));
  }
  return titles;
}

type View = BufferView<TypedArray>;
type Run = (inputs: readonly View[], outputs: readonly View[], attrs: unknown) => void;

/** The reference's kernel, with something done around it. */
function around(name: OpName, change: (run: Run) => Run): BackendChanges {
  const kernels = reference.kernels as unknown as Record<string, { readonly run: Run }>;
  return { kernels: { [name]: { run: change(kernels[name]!.run) } as Kernel<unknown, never> } };
}

/** Changes every stored number of the first output after the kernel has run. */
const rewriting = (name: OpName, change: (v: number, i: number) => number): BackendChanges =>
  around(name, (run) => (inputs, outputs, attrs) => {
    run(inputs, outputs, attrs);
    const { data } = outputs[0]!;
    for (let i = 0; i < data.length; i++) data[i] = change(data[i]!, i);
  });

const rowMajor = (v: View): View => ({ ...v, strides: contiguousStrides(v.shape), offset: 0 });
const values = "gives the right values";
const specials = "treats NaN";
const again = "gives the same bits again";

const wrongKernels: Record<string, { op: OpName; backend: BackendChanges; breaks: string }> = {
  "a reduction that stops one short": {
    op: "sum",
    breaks: values,
    backend: around("sum", (run) => (inputs, outputs, attrs) => {
      const [x] = inputs as [View];
      const d = (attrs as { axes: number[] }).axes[0];
      const shape = x.shape.map((s, i) => (i === d && s > 1 ? s - 1 : s));
      run([{ ...x, shape }], outputs, attrs);
    }),
  },
  "a sum that keeps too few digits": { op: "sum", breaks: values, backend: rewriting("sum", (v) => v * (1 + 1e-5)) },
  "a product that ignores strides": {
    op: "matmul",
    breaks: values,
    backend: around("matmul", (run) => (inputs, outputs, attrs) => run(inputs.map(rowMajor), outputs, attrs)),
  },
  "a convolution that forgets its padding": {
    op: "conv2d",
    breaks: values,
    backend: around(
      "conv2d",
      (run) => (inputs, outputs, attrs) => run(inputs, outputs, { ...(attrs as object), padding: [0, 0] }),
    ),
  },
  "a maximum that passes over NaN": {
    op: "max",
    breaks: specials,
    backend: around("max", (run) => (inputs, outputs, attrs) => {
      const [x] = inputs as [View];
      const data = x.data.map((v) => (Number.isNaN(v) ? -1e30 : v)) as TypedArray;
      run([{ ...x, data }], outputs, attrs);
    }),
  },
  "a kernel that adds to what lay in its output": {
    op: "cumsum",
    breaks: again,
    backend: around("cumsum", (run) => (inputs, outputs, attrs) => {
      const before = outputs[0]!.data.slice();
      run(inputs, outputs, attrs);
      before.forEach((v, i) => {
        outputs[0]!.data[i]! += v;
      });
    }),
  },
  "a kernel that leaves the last element unwritten": {
    op: "copy",
    breaks: again,
    backend: around("copy", (run) => (inputs, outputs, attrs) => {
      const { data } = outputs[0]!;
      const last = data[data.length - 1]!;
      run(inputs, outputs, attrs);
      if (data.length > 0) data[data.length - 1] = last;
    }),
  },
  "a kernel whose last digit is chance": {
    op: "sum",
    breaks: again,
    backend: rewriting("sum", (v) => v * (1 + (Math.random() - 0.5) * 1e-6)),
  },
  "a cast that cuts instead of rounding": {
    op: "cast",
    breaks: values,
    backend: around("cast", (run) => (inputs, outputs, attrs) => {
      const [x, y] = [inputs[0]!, outputs[0]!];
      run(inputs, outputs, attrs);
      if (x.dtype !== "f32" || y.dtype !== "bf16") return;
      for (let i = 0; i < y.data.length; i++) {
        const v = fromBf16(y.data[i]!);
        y.data[i] = toBf16(v * (1 + 2 ** -8));
      }
    }),
  },
  "a scatter that overwrites": {
    op: "scatterAdd",
    breaks: values,
    backend: around("scatterAdd", (run) => (inputs, outputs, attrs) => {
      run(inputs, outputs, attrs);
      const [indices, updates] = inputs as [View, View];
      const { axis } = attrs as { axis: number };
      if (axis !== 0 || indices.shape.length !== 1 || updates.shape.length !== 1) return;
      for (let i = 0; i < indices.shape[0]!; i++) {
        const place = indices.data[indices.offset + i * indices.strides[0]!]!;
        outputs[0]!.data[place] = updates.data[updates.offset + i * updates.strides[0]!]!;
      }
    }),
  },
  "a sort that loses the order of equals": {
    op: "sort",
    breaks: values,
    backend: around("sort", (run) => (inputs, outputs, attrs) => {
      run(inputs, outputs, attrs);
      const [v, from] = outputs as [View, View];
      if (v.shape.length !== 1) return;
      for (let i = 1; i < v.data.length; i++) {
        if (v.data[i] === v.data[i - 1] && from.data[i]! > from.data[i - 1]!) {
          [from.data[i], from.data[i - 1]] = [from.data[i - 1]!, from.data[i]!];
        }
      }
    }),
  },
  "integers that saturate instead of wrapping": {
    op: "add",
    breaks: values,
    backend: {
      elementwise(op, attrs, inputs, output) {
        reference.elementwise(op, attrs, inputs as View[], output as View);
        const { data, dtype } = output as View;
        if (dtype === "i32") data.set(data.map((v) => Math.max(-1e9, Math.min(1e9, v))));
      },
    },
  },
  "a tanh good to four digits": {
    op: "tanh",
    breaks: values,
    backend: {
      elementwise(op, attrs, inputs, output) {
        reference.elementwise(op, attrs, inputs as View[], output as View);
        const { data, dtype } = output as View;
        if (op.name === "tanh" && dtype === "f32") data.set(data.map((v) => v * (1 + 1e-5)));
      },
    },
  },
  "a fused kernel that is not its decomposition": {
    op: "softmax",
    breaks: values,
    backend: {
      kernels: {
        softmax: {
          run: (inputs: readonly BufferView<unknown>[], outputs: readonly BufferView<unknown>[]) => {
            reference.kernels.copy.run(inputs as View[], outputs as View[], undefined);
          },
        },
      },
    },
  },
};

describe("a wrong kernel is caught", () => {
  test.each(Object.keys(wrongKernels))("%s", async (name) => {
    const { op, backend, breaks } = wrongKernels[name]!;
    expect(await broken(subject(op), wrapBackend(reference, backend))).toContainEqual(expect.stringContaining(breaks));
  });
});

/** An op of the table with a part replaced. */
const altered = (name: OpName, change: object): Subject => ({
  ...subject(name),
  op: { ...(ops[name] as AnyOp), ...change } as AnyOp,
});

const wrongOps: Record<string, { subject: Subject; breaks: string }> = {
  "a gradient without its factor": {
    subject: altered("tanh", {
      gradient: {
        saves: () => ({ outputs: [0] }),
        vjp: ({ gradient, output }: Context) => [gradient.mul(output(0).neg().add(1))],
      },
    }),
    breaks: "has the gradients that differences give",
  },
  "a gradient of the other operand": {
    subject: altered("sub", {
      gradient: { saves: () => ({}), vjp: ({ gradient }: Context) => [gradient, gradient] },
    }),
    breaks: "has the gradients that differences give",
  },
  "a first derivative that hides what it depends on": {
    subject: altered("square", {
      gradient: {
        saves: () => ({ inputs: [0] }),
        vjp: ({ gradient, input }: Context) => [gradient.mul(input(0).detach().mul(2))],
      },
    }),
    breaks: "has the second derivatives that differences give",
  },
  "a vjp that reads what was not saved": {
    subject: altered("square", {
      gradient: { saves: () => ({}), vjp: ({ gradient, input }: Context) => [gradient.mul(input(0)).mul(2)] },
    }),
    breaks: "saves what its vjp reads",
  },
  "an op that saves more than it reads": {
    subject: altered("add", {
      gradient: { saves: () => ({ inputs: [0, 1] }), vjp: ({ gradient }: Context) => [gradient, gradient] },
    }),
    breaks: "saves what its vjp reads",
  },
  "a decomposition that leaks": {
    subject: altered("softmaxBackward", {
      decompose: ([y, g]: readonly Tensor[]) => {
        const product = y!.engine.keep(y!.mul(g!));
        return [product.sub(y!.mul(product.sum(-1, { keepDims: true })))];
      },
    }),
    breaks: "takes the memory",
  },
  "a shape rule that promises another type": {
    subject: altered("logSoftmax", { meta: ([x]: readonly Meta[]) => [{ shape: x!.shape, dtype: "f32" }] }),
    breaks: "takes the memory",
  },
  "an entry without a description": { subject: altered("neg", { doc: "" }), breaks: "is described" },
  "a count of operations that is no number": {
    subject: altered("matmul", { flops: () => Number.NaN }),
    breaks: "is described",
  },
};

describe("a wrong op is caught", () => {
  test.each(Object.keys(wrongOps))("%s", async (name) => {
    const { subject: one, breaks } = wrongOps[name]!;
    expect(await broken(one)).toContainEqual(expect.stringContaining(breaks));
  });
});

test("the right ones pass the same number of runs", async () => {
  for (const name of ["sum", "matmul", "tanh", "sort", "softmaxBackward"] as const) {
    expect(await broken(subject(name))).toEqual([]);
  }
});
