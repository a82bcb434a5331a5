import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView, THREADS } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

/** Tensors of one launch (optimizer.cu), and blocks that share a tensor: the same for every size, so that sums do not depend on it. */
const TENSORS = 64;
const BLOCKS = 512;

/** Consecutive runs of at most `TENSORS` tensors of one type. */
function* runsOf<T>(items: readonly T[], typeOf: (item: T) => string): Generator<T[]> {
  let run: T[] = [];
  for (const item of items) {
    if (run.length === TENSORS || (run.length > 0 && typeOf(run[0]!) !== typeOf(item))) {
      yield run;
      run = [];
    }
    run.push(item);
  }
  if (run.length > 0) yield run;
}

const blocksFor = (views: readonly CudaView[]): number =>
  Math.max(1, Math.min(BLOCKS, Math.ceil(Math.max(...views.map((v) => numel(v.shape))) / THREADS)));

export function optimizerKernels({ device }: Context): Pick<FusedKernels<Block>, "adamw" | "globalNorm"> {
  return {
    adamw: {
      inputs: "contiguous",
      run: ([factor, schedule, ...members], _, { beta1, beta2, eps, weightDecay }) => {
        const groups = Array.from({ length: members.length / 4 }, (_, i) => members.slice(4 * i, 4 * i + 4));
        for (const run of runsOf(groups, ([p]) => p!.dtype)) {
          const kernel = device.kernel({ files: ["optimizer"], types: { T: cTypes[run[0]![0]!.dtype] } }, "adamw");
          const p = device.parameters.start();
          for (const member of [0, 1, 2, 3])
            p.longs(
              run.map((group) => addressOf(group[member]!)),
              TENSORS,
            );
          p.longs(
            run.map((group) => numel(group[0]!.shape)),
            TENSORS,
          );
          p.pointer(addressOf(factor!)).pointer(addressOf(schedule!));
          p.double(beta1)
            .double(beta2)
            .double(1 - beta1)
            .double(1 - beta2)
            .double(eps)
            .double(weightDecay);
          device.launch(kernel, blocksFor(run.map(([parameter]) => parameter!)), run.length);
        }
      },
    },
    globalNorm: {
      inputs: "contiguous",
      run: (inputs, [y]) => {
        const runs = [...runsOf(inputs, (x) => x.dtype)].map((views) => ({ views, blocks: blocksFor(views) }));
        const count = runs.reduce((n, { views, blocks }) => n + views.length * blocks, 0);
        device.withWorkspace(8 * count, (sums) => {
          let at = sums;
          for (const { views, blocks } of runs) {
            const kernel = device.kernel({ files: ["optimizer"], types: { T: cTypes[views[0]!.dtype] } }, "squares");
            const p = device.parameters.start().longs(views.map(addressOf), TENSORS);
            p.longs(
              views.map((v) => numel(v.shape)),
              TENSORS,
            );
            p.pointer(at);
            device.launch(kernel, blocks, views.length);
            at += 8 * views.length * blocks;
          }
          const kernel = device.kernel({ files: ["optimizer"], types: { T: "float" } }, "rootOfSum");
          device.parameters.start().pointer(sums).pointer(addressOf(y!)).long(count);
          device.launch(kernel, 1);
        });
      },
    },
  };
}
