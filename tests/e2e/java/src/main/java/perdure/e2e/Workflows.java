package perdure.e2e;

import io.temporal.activity.ActivityCancellationType;
import io.temporal.activity.ActivityOptions;
import io.temporal.common.RetryOptions;
import io.temporal.workflow.QueryMethod;
import io.temporal.workflow.SignalMethod;
import io.temporal.workflow.Workflow;
import io.temporal.workflow.WorkflowInterface;
import io.temporal.workflow.WorkflowMethod;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** The workflows of the Java cases. */
final class Workflows {
  private Workflows() {}

  static final Class<?>[] ALL = {
    HelloImpl.class,
    RetriesImpl.class,
    SignalAndQueryImpl.class,
    TimerImpl.class,
    CancelImpl.class,
    ContinueAsNewImpl.class,
    AsyncCompletionImpl.class
  };

  private static ActivityOptions.Builder options() {
    return ActivityOptions.newBuilder().setStartToCloseTimeout(Duration.ofSeconds(30));
  }

  private static Activities activities(ActivityOptions options) {
    return Workflow.newActivityStub(Activities.class, options);
  }

  @WorkflowInterface
  public interface Hello {
    @WorkflowMethod
    String run(String name);
  }

  public static class HelloImpl implements Hello {
    @Override
    public String run(String name) {
      return activities(options().build()).greet(name);
    }
  }

  @WorkflowInterface
  public interface Retries {
    @WorkflowMethod
    int run();
  }

  public static class RetriesImpl implements Retries {
    @Override
    public int run() {
      RetryOptions retry =
          RetryOptions.newBuilder()
              .setInitialInterval(Duration.ofMillis(50))
              .setBackoffCoefficient(1)
              .build();
      return activities(options().setRetryOptions(retry).build()).flaky();
    }
  }

  @WorkflowInterface
  public interface SignalAndQuery {
    @WorkflowMethod
    List<String> run();

    @SignalMethod
    void add(String word);

    @QueryMethod
    List<String> seen();
  }

  public static class SignalAndQueryImpl implements SignalAndQuery {
    private final List<String> words = new ArrayList<>();

    @Override
    public List<String> run() {
      Workflow.await(() -> words.contains("end"));
      return words;
    }

    @Override
    public void add(String word) {
      words.add(word);
    }

    @Override
    public List<String> seen() {
      return words;
    }
  }

  @WorkflowInterface
  public interface Timer {
    @WorkflowMethod
    long run();
  }

  public static class TimerImpl implements Timer {
    @Override
    public long run() {
      long began = Workflow.currentTimeMillis();
      Workflow.sleep(Duration.ofSeconds(1));
      return Workflow.currentTimeMillis() - began;
    }
  }

  @WorkflowInterface
  public interface Cancel {
    @WorkflowMethod
    String run();
  }

  public static class CancelImpl implements Cancel {
    @Override
    public String run() {
      activities(
              options()
                  .setHeartbeatTimeout(Duration.ofSeconds(5))
                  .setCancellationType(ActivityCancellationType.WAIT_CANCELLATION_COMPLETED)
                  .build())
          .untilCanceled();
      return "not canceled";
    }
  }

  @WorkflowInterface
  public interface ContinueAsNew {
    @WorkflowMethod
    String run(int left);
  }

  public static class ContinueAsNewImpl implements ContinueAsNew {
    @Override
    public String run(int left) {
      if (left > 0) {
        Workflow.newContinueAsNewStub(ContinueAsNew.class).run(left - 1);
      }
      return Workflow.getInfo().getRunId();
    }
  }

  @WorkflowInterface
  public interface AsyncCompletion {
    @WorkflowMethod
    String run();
  }

  public static class AsyncCompletionImpl implements AsyncCompletion {
    @Override
    public String run() {
      return activities(options().build()).handOver();
    }
  }
}
