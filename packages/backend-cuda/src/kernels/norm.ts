import { type BufferView, dtypes, type FusedKernels, numel, ops } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, addressOr0, type CudaDevice, type CudaView } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { countsAt, fixedPointAdd, packStep } from "./fixedPoint.ts";
import { launchRowsApart, MOST_OF_BLOCK, type Rows } from "./rows.ts";

type Kernels = Pick<FusedKernels<Block>, "layerNorm" | "rmsNorm" | "addNorm" | "fixedPointNorm" | "fixedPointAddNorm">;

interface NormViews {
  /** The rows, where they are a buffer. */
  readonly x: CudaView | undefined;
  readonly weight: CudaView;
  readonly bias: CudaView | undefined;
  readonly y: CudaView;
  readonly mean: CudaView | undefined;
  readonly inverse: CudaView;
}

function packNorm(device: CudaDevice, { x, weight, bias, y, mean, inverse }: NormViews, eps: number): void {
  const p = device.parameters.start().pointer(addressOr0(x)).pointer(addressOf(weight)).pointer(addressOr0(bias));
  p.pointer(addressOf(y)).pointer(addressOr0(mean)).pointer(addressOf(inverse));
  p.long(numel(inverse.shape)).double(eps).int(weight.shape[0]!).pad();
}

const rowsOf = ({ x, weight, bias, y, inverse }: NormViews, ...operands: CudaView[]): Rows => ({
  rows: numel(inverse.shape),
  length: weight.shape[0]!,
  operands: [x, weight, bias, y, ...operands],
});

/** Rows up to which waiting is what a norm does most. */
const FEW_ROWS = 512;

const constantsOf = (device: CudaDevice, { mean, weight, bias, inverse }: NormViews): Record<string, number> => ({
  HAS_MEAN: Number(mean !== undefined),
  AHEAD: Number(numel(inverse.shape) <= FEW_ROWS && device.graphs.isUntouched(weight, bias)),
});
const typesOf = ({ weight, y }: NormViews): Record<"T" | "Y", string> => ({
  T: cTypes[weight.dtype],
  Y: cTypes[y.dtype],
});

function norm(device: CudaDevice, views: NormViews, eps: number): void {
  packNorm(device, views, eps);
  const unit = { files: ["chain", "rows", "norm"], types: typesOf(views), constants: constantsOf(device, views) };
  launchRowsApart(device, unit, "norm", rowsOf(views));
}

/** The statistics an output list names: a layer norm's mean and 1/σ, or an RMS norm's 1/rms. */
const statistics = (views: readonly CudaView[]): [CudaView | undefined, CudaView] =>
  views.length === 2 ? [views[0]!, views[1]!] : [undefined, views[0]!];

export function normKernels({ device, elementwise }: Context): Kernels {
  return {
    layerNorm: {
      inputs: "contiguous",
      run: ([x, weight, bias], [y, mean, inverse], { eps }) =>
        norm(device, { x, weight: weight!, bias: bias!, y: y!, mean: mean!, inverse: inverse! }, eps),
    },
    rmsNorm: {
      inputs: "contiguous",
      run: ([x, weight], [y, inverse], { eps }) => {
        const views = { x, weight: weight!, y: y!, inverse: inverse! };
        norm(device, { ...views, bias: undefined, mean: undefined }, eps);
      },
    },
    addNorm: {
      inputs: "contiguous",
      run: ([x, r, weight, bias], [sum, y, ...rest], { eps }) => {
        const [mean, inverse] = statistics(rest);
        const views = { x, weight: weight!, bias, y: y!, mean, inverse };
        const length = weight!.shape[0]!;
        if (length > MOST_OF_BLOCK) {
          // A row too long to be held: the parts one after the other.
          elementwise.run(ops.add, undefined, [x!, r!], sum!);
          norm(device, { ...views, x: sum }, eps);
          return;
        }
        packNorm(device, views, eps);
        device.parameters.pointer(addressOf(r!)).pointer(addressOf(sum!));
        const types = { ...typesOf(views), R: cTypes[r!.dtype] };
        const unit = { files: ["chain", "rows", "norm", "addNorm"], types, constants: constantsOf(device, views) };
        launchRowsApart(device, unit, "addNorm", rowsOf(views, r!, sum!));
      },
    },
    fixedPointNorm: {
      inputs: "contiguous",
      run: ([stream, weight, bias], [y, ...rest], { eps, fractionBits }) => {
        const [mean, inverse] = statistics(rest);
        const views = { x: undefined, weight: weight!, bias, y: y!, mean, inverse };
        packNorm(device, views, eps);
        device.parameters.pointer(addressOf(stream!)).float(2 ** -fractionBits);
        const files = ["chain", "rows", "norm", "fixedPointNorm"];
        const unit = { files, types: typesOf(views), constants: constantsOf(device, views) };
        launchRowsApart(device, unit, "streamNorm", rowsOf(views, stream!));
      },
    },
    fixedPointAddNorm: {
      inputs: "contiguous",
      run: (inputs, outputs, { eps, ...step }) => {
        const record = step.row === undefined ? undefined : inputs.at(-1);
        const [x, f, weight, bias] = record === undefined ? inputs : inputs.slice(0, -1);
        const [out, y] = outputs as [CudaView, CudaView];
        const [mean, inverse] = statistics(outputs.slice(2, record === undefined ? undefined : -1));
        const views = { x: undefined, weight: weight!, bias, y, mean, inverse };
        const of = rowsOf(views, x!, f!, out);
        const { rows, length } = of;
        if (length > MOST_OF_BLOCK) {
          fixedPointAdd(device, [x!, f!], [out, record], step);
          const bytes = rows * length * dtypes.f32.bytes;
          device.withWorkspace(bytes, (address) => {
            const value: BufferView<Block> = { ...out, data: { address, bytes }, dtype: "f32", offset: 0 };
            elementwise.run(ops.dequantise, { fractionBits: step.fractionBits }, [out], value);
            norm(device, { ...views, x: value }, eps);
          });
          return;
        }
        packNorm(device, views, eps);
        const p = device.parameters.pointer(addressOf(x!)).pointer(addressOf(f!)).pointer(addressOf(out));
        p.pointer(countsAt(record, step));
        packStep(p, step)
          .float(2 ** -step.fractionBits)
          .int(step.sign);
        const types = { ...typesOf(views), F: cTypes[f!.dtype] };
        const files = ["chain", "rows", "norm", "fixedPoint", "fixedPointAddNorm"];
        launchRowsApart(device, { files, types, constants: constantsOf(device, views) }, "addNorm", of);
      },
    },
  };
}
