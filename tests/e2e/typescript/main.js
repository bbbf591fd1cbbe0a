// The end-to-end cases with the TypeScript SDK. Usage: node main.js ADDRESS NAMESPACE
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { setTimeout: pause } = require('node:timers/promises');
const { Client, Connection, WorkflowFailedError } = require('@temporalio/client');
const { CancelledFailure } = require('@temporalio/common');
const { temporal } = require('@temporalio/proto');
const { DefaultLogger, NativeConnection, Runtime, Worker } = require('@temporalio/worker');
const { makeHandOver, ...activities } = require('./activities');
const workflows = require('./workflows');

const CASE_MS_MAX = 60000;

async function start(run, kind, ...args) {
  return await run.client.workflow.start(kind, { args, taskQueue: run.queue, workflowId: `typescript-${randomUUID()}` });
}

async function hello(run) {
  const handle = await start(run, workflows.hello, 'world');
  assert.equal(await handle.result(), 'Hello, world!');
}

async function activity_retries(run) {
  const handle = await start(run, workflows.retries);
  assert.equal(await handle.result(), 3);
}

async function signal_and_query(run) {
  const handle = await start(run, workflows.signalAndQuery);
  assert.deepEqual(await handle.query('seen'), []);
  await handle.signal('add', 'one');
  assert.deepEqual(await handle.query('seen'), ['one']);
  await handle.signal('add', 'end');
  assert.deepEqual(await handle.result(), ['one', 'end']);
  assert.deepEqual(await handle.query('seen'), ['one', 'end']);
}

async function timer(run) {
  const handle = await start(run, workflows.timer);
  const slept = await handle.result();
  assert.ok(slept >= 1000 && slept < 10000, `slept ${slept} ms`);
  const { events } = await handle.fetchHistory();
  const fired = temporal.api.enums.v1.EventType.EVENT_TYPE_TIMER_FIRED;
  assert.ok(events.some((event) => event.eventType === fired));
}

async function cancel(run) {
  const handle = await start(run, workflows.cancel);
  while ((await handle.describe()).raw.pendingActivities.length === 0) {
    await pause(20); // the pace of looking
  }
  await handle.cancel();
  await assert.rejects(handle.result(), (error) => {
    return error instanceof WorkflowFailedError && error.cause instanceof CancelledFailure;
  });
  assert.equal((await handle.describe()).status.name, 'CANCELLED');
}

async function continue_as_new(run) {
  const handle = await start(run, workflows.continueAsNew, 2);
  const last = await handle.result();
  assert.notEqual(last, handle.firstExecutionRunId);
  assert.equal((await run.client.workflow.getHandle(handle.workflowId).describe()).runId, last);
}

async function async_completion(run) {
  const handle = await start(run, workflows.asyncCompletion);
  const token = await run.token;
  await run.client.activity.heartbeat(token, 'on it');
  await run.client.activity.complete(token, 'completed by somebody else');
  assert.equal(await handle.result(), 'completed by somebody else');
}

const CASES = [hello, activity_retries, signal_and_query, timer, cancel, continue_as_new, async_completion];

async function limited(promise) {
  const watch = new AbortController();
  const late = pause(CASE_MS_MAX, undefined, { signal: watch.signal }).then(() => {
    throw new Error(`not done after ${CASE_MS_MAX} ms`);
  });
  late.catch(() => {}); // aborted when the case is done in time
  try {
    await Promise.race([promise, late]);
  } finally {
    watch.abort();
  }
}

async function runCases(run) {
  let failed = 0;
  for (const each of CASES) {
    try {
      await limited(each(run));
      console.log(`ok   ${each.name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${each.name}: ${String(error.message).split('\n')[0]}`);
      console.error(error);
    }
  }
  console.log(`${CASES.length - failed} passed, ${failed} failed`);
  return failed;
}

async function main(address, namespace) {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const connection = await Connection.connect({ address });
  const native = await NativeConnection.connect({ address });
  const queue = `typescript-${randomUUID()}`;
  let receive;
  const token = new Promise((resolve) => (receive = resolve));
  const worker = await Worker.create({
    connection: native,
    namespace,
    taskQueue: queue,
    workflowsPath: require.resolve('./workflows'),
    activities: { ...activities, handOver: makeHandOver(receive) },
  });
  const run = { client: new Client({ connection, namespace }), queue, token };
  const failed = await worker.runUntil(runCases(run));
  await native.close();
  await connection.close();
  return failed;
}

main(process.argv[2], process.argv[3]).then(
  (failed) => process.exit(failed ? 1 : 0),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
