// The activities of the TypeScript cases.
const { Context, CompleteAsyncError } = require('@temporalio/activity');

async function greet(name) {
  return `Hello, ${name}!`;
}

// Fails twice and answers with its attempt then.
async function flaky() {
  const { attempt } = Context.current().info;
  if (attempt < 3) throw new Error(`attempt ${attempt}`);
  return attempt;
}

// Heartbeats until it is told to stop.
async function untilCanceled() {
  const context = Context.current();
  const beat = setInterval(() => context.heartbeat('alive'), 100);
  try {
    await context.cancelled;
  } finally {
    clearInterval(beat);
  }
}

// Leaves its task token to somebody else, who completes it.
function makeHandOver(receive) {
  return async function handOver() {
    receive(Context.current().info.taskToken);
    throw new CompleteAsyncError();
  };
}

module.exports = { greet, flaky, untilCanceled, makeHandOver };
