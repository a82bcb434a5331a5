import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText } from "@revnet-zero/testkit";
import { afterEach, expect, test } from "vitest";
import { proveCollectives } from "../src/testing/collectives.ts";
import { useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();
afterEach(() => {
  process.env.REVNET_STANDIN_FAIL = "";
});

if (reason === undefined) {
  const { CudaBackend } = await import("../src/index.ts");
  const backend = new CudaBackend();

  test("a group of one rank reduces, gathers, scatters and broadcasts what it has", () => {
    expect(proveCollectives(backend)).toEqual([]);
    expect(backend.memory().liveBlocks).toBe(0);
  });

  test("what does not fit, and what NCCL refuses, is an error with its reason", () => {
    const { collectives } = backend.device;
    const engine = new Engine(backend);
    const group = collectives.join(collectives.makeId(), 1, 0);
    const viewOf = ({ storage, layout, dtype }: Tensor) => ({ data: storage.data, ...layout, dtype }) as never;
    engine.scope(() => {
      const [x, y] = [tensor([1, 2, 3], { engine }), tensor([[1, 2]], { engine })];
      expect(errorText(() => group.allReduce(viewOf(x), viewOf(y), "sum"))).toMatchInlineSnapshot(`
        "ShapeError: allReduce: [3] f32 does not fit [1, 2] f32 in a group of 1
          hint: allReduce and broadcast take equal shapes; allGather gives, and reduceScatter takes, one part a rank"
      `);
      const turned = tensor(
        [
          [1, 2],
          [3, 4],
        ],
        { engine },
      ).transpose();
      expect(errorText(() => group.allReduce(viewOf(turned), viewOf(turned), "sum"))).toContain(
        "hint: give a contiguous copy",
      );
      process.env.REVNET_STANDIN_FAIL = "ncclAllReduce:1:5";
      expect(errorText(() => group.allReduce(viewOf(x), viewOf(x), "sum"))).toContain("reducing over a group");
    });
    process.env.REVNET_STANDIN_FAIL = "";
    group.leave();
    group.leave();
    expect(errorText(() => collectives.join(collectives.makeId(), 2, 0))).toContain("joining a group");
    expect(errorText(() => collectives.join(new Uint8Array(3), 1, 0))).toContain("128 bytes");
  });
} else {
  test("NCCL's binding on the stand-in", (context) => context.skip(reason));
}
