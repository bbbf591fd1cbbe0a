// The workflows of the TypeScript cases. This file is bundled for the workflow sandbox: nothing of Node in here.
const workflow = require('@temporalio/workflow');

const SHORT = '30s';

async function hello(name) {
  const { greet } = workflow.proxyActivities({ startToCloseTimeout: SHORT });
  return await greet(name);
}

async function retries() {
  const { flaky } = workflow.proxyActivities({
    startToCloseTimeout: SHORT,
    retry: { initialInterval: '50ms', backoffCoefficient: 1 },
  });
  return await flaky();
}

async function signalAndQuery() {
  const seen = [];
  workflow.setHandler(workflow.defineSignal('add'), (word) => void seen.push(word));
  workflow.setHandler(workflow.defineQuery('seen'), () => seen);
  await workflow.condition(() => seen.includes('end'));
  return seen;
}

async function timer() {
  const began = Date.now();
  await workflow.sleep('1s');
  return Date.now() - began;
}

async function cancel() {
  const { untilCanceled } = workflow.proxyActivities({
    startToCloseTimeout: SHORT,
    heartbeatTimeout: '5s',
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  });
  await untilCanceled();
  return 'not canceled';
}

async function continueAsNew(left) {
  if (left > 0) await workflow.continueAsNew(left - 1);
  return workflow.workflowInfo().runId;
}

async function asyncCompletion() {
  const { handOver } = workflow.proxyActivities({ startToCloseTimeout: SHORT });
  return await handOver();
}

module.exports = { hello, retries, signalAndQuery, timer, cancel, continueAsNew, asyncCompletion };
