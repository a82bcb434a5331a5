import fc from "fast-check";
import { test } from "vitest";
import { encoderDecoderTwins, resNetBijection, resNetTwins, visionTwins } from "./properties.ts";

const runs = { numRuns: 1000 };

test("any vision transformer has the bits of its stored twin", () => fc.assert(visionTwins(["exact"]), runs));
test("any ResNet has the bits of its stored twin", () => fc.assert(resNetTwins(["exact"]), runs));
test("any ResNet's stages are a bijection of the streams' bits", () => fc.assert(resNetBijection(), runs));
test("any encoder-decoder has the bits of its stored twin", () => fc.assert(encoderDecoderTwins(["exact"]), runs));
