// A program as a user begins it, in a process of its own: the import, then a model and its first training step.
const began = performance.now();
const { AdamW, randomKey, ReversibleTransformer, tensor } = await import("revnet-zero");
const imported = performance.now();
const model = new ReversibleTransformer({ numLayers: 4, dModel: 64, numHeads: 4, maxSeqLen: 32, key: randomKey(1) });
const optimizer = new AdamW(model.parameters());
model.loss(tensor([[72, 101, 108]], { dtype: "i32" }), tensor([[101, 108, 111]], { dtype: "i32" })).backward();
optimizer.step();
const stepped = performance.now();
console.log(JSON.stringify({ importMs: imported - began, firstStepMs: stepped - imported }));
process.exit(0);
