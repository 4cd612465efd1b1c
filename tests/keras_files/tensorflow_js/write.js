// Writes the models of this folder with TensorFlow.js, and what it answers for random sequences:
//   npm install @tensorflow/tfjs@4.22.0 && node write.js
const fs = require('fs');
const tf = require('@tensorflow/tfjs');
const L = tf.layers;

function randomised(model) {
  model.setWeights(model.getWeights().map(w =>
    w.shape.length > 1 ? tf.randomNormal(w.shape, 0, 0.4) : tf.randomUniform(w.shape, 0.1, 1)));
  return model;
}

async function write(name, model, input, options = {}) {
  fs.mkdirSync(name, {recursive: true});
  const outputs = [].concat(model.predict(input)).map(t => t.arraySync());
  fs.writeFileSync(`${name}/answers.json`, JSON.stringify({x: [input.arraySync()], y: outputs}));
  await model.save(tf.io.withSaveHandler(async artifacts => {
    const {weightData, weightSpecs, ...rest} = artifacts;
    const manifest = [{paths: ['./model.weights.bin'], weights: weightSpecs}];
    fs.writeFileSync(`${name}/model.json`, JSON.stringify({...rest, weightsManifest: manifest}));
    fs.writeFileSync(`${name}/model.weights.bin`, Buffer.from(weightData));
    return {modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts)};
  }), options);
}

async function main() {
  const x = tf.randomNormal([4, 7, 3]);
  await write('two_grus', randomised(tf.sequential({layers: [
    L.gru({units: 5, inputShape: [7, 3], returnSequences: true}),
    L.gru({units: 4, recurrentActivation: 'sigmoid', goBackwards: true}),
    L.dense({units: 2, activation: 'softmax'})]})), x);
  const holes = tf.randomUniform([4, 7, 1]).greater(0.4).cast('float32');
  await write('masked_bidirectional', randomised(tf.sequential({layers: [
    L.masking({maskValue: 0, inputShape: [7, 3]}),
    L.bidirectional({layer: L.gru({units: 5, returnSequences: true}), mergeMode: 'concat'}),
    L.timeDistributed({layer: L.dense({units: 3})})]})), x.mul(holes));
  await write('ids_to_lstm', randomised(tf.sequential({layers: [
    L.embedding({inputDim: 11, outputDim: 6, maskZero: true, inputLength: 7}),
    L.bidirectional({layer: L.lstm({units: 5}), mergeMode: 'sum'}),
    L.batchNormalization(),
    L.dense({units: 3, activation: 'sigmoid'})]})), tf.randomUniform([4, 7], 0, 11, 'int32'));
  await write('stacked_cells', randomised(tf.sequential({layers: [
    L.rnn({cell: [L.gruCell({units: 3}), L.lstmCell({units: 4})], inputShape: [7, 3],
      returnSequences: true}),
    L.simpleRNN({units: 3, returnSequences: true}), L.prelu(), L.dropout({rate: 0.3}),
    L.maxPooling1d({poolSize: 2}), L.flatten(), L.dense({units: 1, activation: 'tanh'})]})), x);
  const sequence = tf.input({shape: [7, 3], name: 'seq'});
  const inner = tf.sequential({layers: [
    L.conv1d({filters: 4, kernelSize: 3, padding: 'same', inputShape: [7, 3]}),
    L.batchNormalization(), L.activation({activation: 'relu'}), L.gru({units: 4})]});
  const last = inner.apply(sequence);
  const joined = L.concatenate().apply([last, L.globalAveragePooling1d().apply(sequence)]);
  const out = L.dense({units: 2, name: 'out_put'}).apply(L.layerNormalization().apply(joined));
  const model = tf.model({inputs: sequence, outputs: [out, L.leakyReLU({alpha: 0.2}).apply(last)]});
  model.compile({loss: ['meanSquaredError', 'meanSquaredError'], optimizer: tf.train.adam(0.01)});
  await randomised(model).fit(x, [tf.zeros([4, 2]), tf.zeros([4, 4])], {epochs: 1, verbose: 0});
  await write('trained_model_in_a_model', model, x, {includeOptimizer: true});
}

main();
