package perdure.e2e;

import io.temporal.api.enums.v1.EventType;
import io.temporal.api.enums.v1.WorkflowExecutionStatus;
import io.temporal.client.ActivityCompletionClient;
import io.temporal.client.WorkflowClient;
import io.temporal.client.WorkflowClientOptions;
import io.temporal.client.WorkflowExecutionDescription;
import io.temporal.client.WorkflowFailedException;
import io.temporal.client.WorkflowOptions;
import io.temporal.client.WorkflowStub;
import io.temporal.failure.CanceledFailure;
import io.temporal.serviceclient.WorkflowServiceStubs;
import io.temporal.serviceclient.WorkflowServiceStubsOptions;
import io.temporal.worker.Worker;
import io.temporal.worker.WorkerFactory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** The end-to-end cases with the Java SDK. Arguments: ADDRESS NAMESPACE. */
public final class Main {
  private static final long CASE_S_MAX = 60;
  private static final long LOOK_MS = 20;

  private final WorkflowClient client;
  private final String queue;
  private final Activities.Impl activities;

  private Main(WorkflowClient client, String queue, Activities.Impl activities) {
    this.client = client;
    this.queue = queue;
    this.activities = activities;
  }

  private <T> T workflow(Class<T> kind) {
    return client.newWorkflowStub(
        kind,
        WorkflowOptions.newBuilder()
            .setTaskQueue(queue)
            .setWorkflowId("java-" + UUID.randomUUID())
            .build());
  }

  private static void equal(Object actual, Object expected) {
    if (!Objects.equals(actual, expected)) {
      throw new AssertionError("expected " + expected + ", got " + actual);
    }
  }

  private void hello() {
    equal(workflow(Workflows.Hello.class).run("world"), "Hello, world!");
  }

  private void activityRetries() {
    equal(workflow(Workflows.Retries.class).run(), 3);
  }

  private void signalAndQuery() {
    Workflows.SignalAndQuery workflow = workflow(Workflows.SignalAndQuery.class);
    WorkflowClient.start(workflow::run);
    equal(workflow.seen(), List.of());
    workflow.add("one");
    equal(workflow.seen(), List.of("one"));
    workflow.add("end");
    equal(WorkflowStub.fromTyped(workflow).getResult(List.class), List.of("one", "end"));
    equal(workflow.seen(), List.of("one", "end"));
  }

  private void timer() {
    Workflows.Timer workflow = workflow(Workflows.Timer.class);
    long slept = workflow.run();
    equal(slept >= 1000 && slept < 10000, true);
    String id = WorkflowStub.fromTyped(workflow).getExecution().getWorkflowId();
    equal(
        client.fetchHistory(id).getEvents().stream()
            .anyMatch(event -> event.getEventType() == EventType.EVENT_TYPE_TIMER_FIRED),
        true);
  }

  private void cancel() throws InterruptedException {
    Workflows.Cancel workflow = workflow(Workflows.Cancel.class);
    WorkflowClient.start(workflow::run);
    WorkflowStub stub = WorkflowStub.fromTyped(workflow);
    while (stub.describe().getRawDescription().getPendingActivitiesCount() == 0) {
      Thread.sleep(LOOK_MS); // the pace of looking
    }
    stub.cancel();
    try {
      stub.getResult(String.class);
      throw new AssertionError("not canceled");
    } catch (WorkflowFailedException error) {
      equal(error.getCause() instanceof CanceledFailure, true);
    }
    equal(
        stub.describe().getStatus(), WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED);
  }

  private void continueAsNew() {
    Workflows.ContinueAsNew workflow = workflow(Workflows.ContinueAsNew.class);
    String first = WorkflowClient.start(workflow::run, 2).getRunId();
    WorkflowStub stub = WorkflowStub.fromTyped(workflow);
    String last = stub.getResult(String.class);
    equal(first.equals(last), false);
    WorkflowExecutionDescription current =
        client.newUntypedWorkflowStub(stub.getExecution().getWorkflowId()).describe();
    equal(current.getExecution().getRunId(), last);
  }

  private void asyncCompletion() throws ExecutionException, InterruptedException {
    Workflows.AsyncCompletion workflow = workflow(Workflows.AsyncCompletion.class);
    WorkflowClient.start(workflow::run);
    byte[] token = activities.token.get();
    ActivityCompletionClient completion = client.newActivityCompletionClient();
    completion.heartbeat(token, "on it");
    completion.complete(token, "completed by somebody else");
    equal(WorkflowStub.fromTyped(workflow).getResult(String.class), "completed by somebody else");
  }

  private static Callable<Void> callable(Case each) {
    return () -> {
      each.run();
      return null;
    };
  }

  private interface Case {
    void run() throws Exception;
  }

  private int runCases() {
    Map<String, Case> cases = new LinkedHashMap<>();
    cases.put("hello", this::hello);
    cases.put("activity_retries", this::activityRetries);
    cases.put("signal_and_query", this::signalAndQuery);
    cases.put("timer", this::timer);
    cases.put("cancel", this::cancel);
    cases.put("continue_as_new", this::continueAsNew);
    cases.put("async_completion", this::asyncCompletion);
    ExecutorService runner = Executors.newCachedThreadPool();
    int failed = 0;
    for (Map.Entry<String, Case> each : cases.entrySet()) {
      Future<Void> run = runner.submit(callable(each.getValue()));
      try {
        run.get(CASE_S_MAX, TimeUnit.SECONDS);
        System.out.println("ok   " + each.getKey());
      } catch (Exception error) {
        failed++;
        run.cancel(true);
        Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
        System.out.println("FAIL " + each.getKey() + ": " + cause);
        cause.printStackTrace();
      }
    }
    runner.shutdownNow();
    System.out.println((cases.size() - failed) + " passed, " + failed + " failed");
    return failed;
  }

  /** Runs all cases; the exit code is 1 if one failed. */
  public static void main(String[] args) {
    WorkflowServiceStubs service =
        WorkflowServiceStubs.newServiceStubs(
            WorkflowServiceStubsOptions.newBuilder().setTarget(args[0]).build());
    WorkflowClient client =
        WorkflowClient.newInstance(
            service, WorkflowClientOptions.newBuilder().setNamespace(args[1]).build());
    String queue = "java-" + UUID.randomUUID();
    Activities.Impl activities = new Activities.Impl();
    WorkerFactory factory = WorkerFactory.newInstance(client);
    Worker worker = factory.newWorker(queue);
    worker.registerWorkflowImplementationTypes(Workflows.ALL);
    worker.registerActivitiesImplementations(activities);
    factory.start();
    int failed = new Main(client, queue, activities).runCases();
    factory.shutdownNow();
    service.shutdownNow();
    System.exit(failed > 0 ? 1 : 0);
  }
}
