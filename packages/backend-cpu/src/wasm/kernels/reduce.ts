import type { PrimitiveKernels, TypedArray } from "@revnet-zero/tensor";
import { around, aroundAll, type Split } from "../../buffer.ts";
import { plainKernels } from "../../plain/index.ts";
import type { Device, LoadedKernel } from "../device/device.ts";
import { emitCumsum } from "../rows/cumsum.ts";
import { emitExtremum, emitPosition } from "../rows/extremum.ts";
import { COLUMN_ALIGN } from "./rows.ts";

type Kernels = Pick<PrimitiveKernels<TypedArray>, "max" | "min" | "argmax" | "argmin" | "cumsum">;

/** With this many matrices they are shared out whole; fewer are shared out by columns. */
const MANY_MATRICES = 16;

/** Extrema over neighbouring axes, their places and running sums along one, of dense float32 tensors. Anything else is plain. */
export function reduceKernels(device: Device): Kernels {
  const { multiply } = device.tier;
  const load = <K extends keyof Kernels>(name: K, write: Parameters<Device["load"]>[0]) => {
    const names = [`${name}Rows`, `${name}Columns`, `${name}Matrices`] as const;
    const loaded = device.load(write, names);
    return names.map((n) => loaded[n]) as [LoadedKernel, LoadedKernel, LoadedKernel];
  };
  const run = (
    [rows, columns, matrices]: [LoadedKernel, LoadedKernel, LoadedKernel],
    [x, y]: readonly [number, number],
    { outer, size, inner }: Split,
    rowsOut: number,
  ): void => {
    const nanosecondsPerUnit = 0.3 * size;
    if (inner === 1) device.run(rows, { units: outer, nanosecondsPerUnit }, x, y, size);
    else if (outer >= MANY_MATRICES) {
      const work = { units: outer, nanosecondsPerUnit: inner * nanosecondsPerUnit };
      device.run(matrices, work, x, y, size, inner, rowsOut);
    } else {
      const work = { units: inner, align: COLUMN_ALIGN, nanosecondsPerUnit };
      for (let o = 0; o < outer; o++)
        device.run(columns, work, x + 4 * o * size * inner, y + 4 * o * rowsOut * inner, size, inner);
    }
  };

  const extremum = (name: "max" | "min"): Kernels["max"] => {
    const loaded = load(name, (m) => emitExtremum(m, multiply, name));
    return {
      inputs: "contiguous",
      run: ([x], [y], attrs) => {
        const split = x!.dtype === "f32" ? aroundAll(x!.shape, attrs.axes) : undefined;
        if (split === undefined) plainKernels[name].run([x!], [y!], attrs);
        else run(loaded, [device.addressOf(x!), device.addressOf(y!)], split, 1);
      },
    };
  };
  const along = <K extends "argmax" | "argmin" | "cumsum">(
    name: K,
    loaded: [LoadedKernel, LoadedKernel, LoadedKernel],
  ): Kernels["argmax"] => ({
    inputs: "contiguous",
    run: ([x], [y], attrs) => {
      if (x!.dtype !== "f32") plainKernels[name].run([x!], [y!], attrs);
      else {
        const split = around(x!.shape, attrs.axis);
        run(loaded, [device.addressOf(x!), device.addressOf(y!)], split, name === "cumsum" ? split.size : 1);
      }
    },
  });
  return {
    max: extremum("max"),
    min: extremum("min"),
    argmax: along(
      "argmax",
      load("argmax", (m) => emitPosition(m, multiply, "max")),
    ),
    argmin: along(
      "argmin",
      load("argmin", (m) => emitPosition(m, multiply, "min")),
    ),
    cumsum: along(
      "cumsum",
      load("cumsum", (m) => emitCumsum(m, multiply)),
    ),
  };
}
