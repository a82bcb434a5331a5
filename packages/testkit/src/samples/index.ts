import type { SamplerTable } from "../sample.ts";
import { copySamplers } from "./copy.ts";
import { elementwiseSamplers } from "./elementwise.ts";
import { fusedSamplers } from "./fused.ts";
import { moveSamplers } from "./move.ts";
import { optimizerSamplers } from "./optimizer.ts";
import { productSamplers } from "./product.ts";
import { pyramidSamplers } from "./pyramid.ts";
import { reduceSamplers } from "./reduce.ts";
import { sparseAttentionSamplers } from "./sparseAttention.ts";

/** How calls of every op are drawn: complete by type, so that an op without a sampler does not compile. */
export const samplers: SamplerTable = {
  ...elementwiseSamplers,
  ...copySamplers,
  ...reduceSamplers,
  ...moveSamplers,
  ...productSamplers,
  ...fusedSamplers,
  ...optimizerSamplers,
  ...sparseAttentionSamplers,
  ...pyramidSamplers,
};
