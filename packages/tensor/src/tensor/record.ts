import type { Edge } from "../autograd/node.ts";
import { OpNode } from "../autograd/opNode.ts";
import { isFloat, mayBeStream } from "../dtype.ts";
import type { Engine } from "../engine.ts";
import type { AnyOp } from "../op.ts";
import type { Tensor } from "./tensor.ts";

/** Whether an op on these inputs becomes a node of the graph. */
export const isRecorded = (engine: Engine, op: AnyOp, inputs: readonly Tensor[]): boolean =>
  engine.recordsGradients && op.gradient !== "none" && inputs.some((t) => t.edge !== undefined);

/** The outputs of an op that has run, tracked where its inputs are. */
export function record(
  engine: Engine,
  op: AnyOp,
  inputs: readonly Tensor[],
  outputs: Tensor[],
  attrs: unknown,
): Tensor[] {
  if (!isRecorded(engine, op, inputs)) return outputs;
  const node = new OpNode(engine.nextNodeId(), op, attrs, inputs, outputs);
  node.modulePath = engine.tracedPath();
  return outputs.map((t, output) => {
    if (!isTracked(op, inputs, t)) return t;
    const edge: Edge = { node, output };
    const tracked = engine.attach(t, edge);
    t.dispose();
    return tracked;
  });
}

/** Integer outputs carry gradients only as fixed-point streams: where one was entered, or continues. */
function isTracked(op: AnyOp, inputs: readonly Tensor[], t: Tensor): boolean {
  if (isFloat(t.dtype)) return true;
  if (!mayBeStream(t.dtype)) return false;
  return op.entersFixedPoint === true || inputs.some((x) => mayBeStream(x.dtype) && x.edge !== undefined);
}
