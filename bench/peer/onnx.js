// Times onnxruntime on FOLDER/model.onnx:  node onnx.js MODULES FOLDER THREADS SECONDS T BATCH CLASSES
// MODULES is the folder that holds node_modules/onnxruntime-node. Prints {"seconds": median of a run}.
'use strict';
const path = require('path');
const [modules, folder, threads, seconds, T, b, K] = process.argv.slice(2);
const ort = require(path.join(path.resolve(modules), 'node_modules', 'onnxruntime-node'));

async function main() {
  const session = await ort.InferenceSession.create(path.join(folder, 'model.onnx'),
      { intraOpNumThreads: Number(threads), graphOptimizationLevel: 'all' });
  const [, text] = session.inputMetadata ? session.inputMetadata : [];
  const image = session.inputMetadata && session.inputMetadata[0].shape ? session.inputMetadata[0].shape[3] : 224;
  const e = text && text.shape ? text.shape[1] : 512;
  const random = (dims) => {
    const n = dims.reduce((x, y) => x * y);
    const data = new Float32Array(n);
    for (let i = 0; i < n; i++) data[i] = Math.random() * 2 - 1;
    return new ort.Tensor('float32', data, dims);
  };
  const feeds = { video: random([Number(b), Number(T), 3, image, image]), text: random([Number(K), e]) };
  const run = async () => {
    const start = process.hrtime.bigint();
    await session.run(feeds);
    return Number(process.hrtime.bigint() - start) * 1e-9;
  };
  await run();
  await run();
  const times = [];
  for (let spent = 0; spent < Number(seconds) || times.length < 3;) {
    const t = await run();
    times.push(t);
    spent += t;
  }
  times.sort((x, y) => x - y);
  console.log(JSON.stringify({ seconds: times[times.length >> 1] }));
}
main().catch((error) => { console.error(String(error)); process.exit(1); });
