import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import cordboard.v1.EventServiceGrpc;
import cordboard.v1.EventServiceOuterClass.WatchRequest;
import cordboard.v1.Journal.Entry;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.concurrent.TimeUnit;

/**
 * Follows everything that happens, without a gap: a stream that breaks is resumed where it was.
 *
 * <pre>java -cp CLASSES:JARS Watch ADDRESS FROM_REVISION ENTRIES</pre>
 *
 * Prints one line for each entry (its revision and what happened) until it has had so many.
 */
final class Watch {
  private final EventServiceGrpc.EventServiceBlockingStub events;
  private long next;
  private long left;

  Watch(EventServiceGrpc.EventServiceBlockingStub events, long next, long left) {
    this.events = events;
    this.next = next;
    this.left = left;
  }

  public static void main(String[] arguments) throws Exception {
    // Keepalive finds a dead connection within forty seconds, which TCP alone may not do for hours.
    var channel = ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext()
        .keepAliveTime(20, TimeUnit.SECONDS).keepAliveTimeout(20, TimeUnit.SECONDS).build();
    var watch = new Watch(
        EventServiceGrpc.newBlockingStub(channel), Long.parseLong(arguments[1]), Long.parseLong(arguments[2]));
    try {
      watch.run();
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private void run() throws InterruptedException {
    var pauseMs = 200L;
    while (left > 0) {
      var before = next;
      try {
        follow();
      } catch (StatusRuntimeException error) {
        if (!passes(error)) {
          throw error;
        }
      }
      if (left > 0) {
        pauseMs = next > before ? 200 : Math.min(2 * pauseMs, 5_000);
        System.err.println("resuming at revision " + next);
        Thread.sleep(pauseMs);
      }
    }
  }

  /** One stream, until it breaks or there is enough. */
  private void follow() {
    var request = WatchRequest.newBuilder().setParent("tenants/default").setStartRevision(next).build();
    var messages = events.withWaitForReady().watch(request);
    while (left > 0 && messages.hasNext()) {
      var message = messages.next();
      message.getEntriesList().stream().limit(left).forEach(this::take);
      next = message.getRevision() + 1;
    }
  }

  private void take(Entry entry) {
    System.out.println(entry.getRevision() + " " + entry.getEvent().getKindCase());
    left--;
  }

  /** Whether the same may work in a moment: the server is away, or we were too slow for it. */
  private static boolean passes(StatusRuntimeException error) {
    return error.getStatus().getCode() == Status.Code.UNAVAILABLE
        || StatusProto.fromThrowable(error).getDetailsList().stream().anyMatch(Watch::wasTooSlow);
  }

  private static boolean wasTooSlow(Any detail) {
    try {
      return detail.is(ErrorInfo.class) && detail.unpack(ErrorInfo.class).getReason().equals("SLOW_READER");
    } catch (InvalidProtocolBufferException error) {
      throw new IllegalStateException(error);
    }
  }
}
