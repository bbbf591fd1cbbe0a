package perdure.e2e;

import io.temporal.activity.Activity;
import io.temporal.activity.ActivityExecutionContext;
import io.temporal.activity.ActivityInterface;
import io.temporal.client.ActivityCompletionException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.LockSupport;

/** The activities of the Java cases. */
@ActivityInterface
public interface Activities {
  String greet(String name);

  /** Fails twice and answers with its attempt then. */
  int flaky();

  /** Heartbeats until it is told to stop. */
  void untilCanceled();

  /** Leaves its task token to somebody else, who completes it. */
  String handOver();

  final class Impl implements Activities {
    private static final long BEAT_NS = 100_000_000;

    final CompletableFuture<byte[]> token = new CompletableFuture<>();

    @Override
    public String greet(String name) {
      return "Hello, " + name + "!";
    }

    @Override
    public int flaky() {
      int attempt = Activity.getExecutionContext().getInfo().getAttempt();
      if (attempt < 3) {
        throw new IllegalStateException("attempt " + attempt);
      }
      return attempt;
    }

    @Override
    public void untilCanceled() throws ActivityCompletionException {
      while (true) {
        Activity.getExecutionContext().heartbeat("alive");
        LockSupport.parkNanos(BEAT_NS);
      }
    }

    @Override
    public String handOver() {
      ActivityExecutionContext context = Activity.getExecutionContext();
      context.doNotCompleteOnReturn();
      token.complete(context.getTaskToken());
      return null;
    }
  }
}
