import com.google.protobuf.Duration;
import cordboard.v1.AgentServiceGrpc;
import cordboard.v1.AgentServiceOuterClass.Agent.State;
import cordboard.v1.AgentServiceOuterClass.ConnectRequest;
import cordboard.v1.AgentServiceOuterClass.ConnectResponse;
import cordboard.v1.AgentServiceOuterClass.ContactAnswer;
import cordboard.v1.AgentServiceOuterClass.Goodbye;
import cordboard.v1.AgentServiceOuterClass.Heartbeat;
import cordboard.v1.AgentServiceOuterClass.Hello;
import cordboard.v1.AgentServiceOuterClass.StateWish;
import cordboard.v1.RoutingServiceGrpc;
import cordboard.v1.RoutingServiceOuterClass.EnqueueRequest;
import cordboard.v1.RoutingServiceOuterClass.LeaveRequest;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * An agent's program: connects, gets ready, takes the first contact that is offered, talks, and logs out.
 *
 * <pre>java -cp CLASSES:JARS Agent ADDRESS AGENT QUEUE</pre>
 *
 * It also puts the contact in, so that there is one. Prints one line of JSON for each step.
 */
final class Agent implements StreamObserver<ConnectResponse> {
  private static final String TENANT = "tenants/default";
  private static final int LEASE_S = 12;

  private final RoutingServiceGrpc.RoutingServiceBlockingStub routing;
  private final String queue;
  private final String contact = UUID.randomUUID().toString();
  private final StreamObserver<ConnectRequest> line;
  private final CompletableFuture<Void> over = new CompletableFuture<>();
  private boolean entered;
  private boolean taken;

  Agent(RoutingServiceGrpc.RoutingServiceBlockingStub routing, AgentServiceGrpc.AgentServiceStub agents, String queue) {
    this.routing = routing;
    this.queue = queue;
    line = agents.connect(this);
  }

  public static void main(String[] arguments) throws Exception {
    var channel = ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext().build();
    var routing = RoutingServiceGrpc.newBlockingStub(channel);
    var agent = new Agent(routing, AgentServiceGrpc.newStub(channel), arguments[2]);
    // Whatever we send renews the lease; with nothing to say we send heartbeats.
    var beats = Executors.newSingleThreadScheduledExecutor();
    beats.scheduleAtFixedRate(agent::beat, LEASE_S / 3, LEASE_S / 3, TimeUnit.SECONDS);
    try {
      agent.hello(arguments[1]);
      agent.over.get(30, TimeUnit.SECONDS);
      agent.leaveTooLate();
    } finally {
      beats.shutdownNow();
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private void hello(String name) {
    var lease = Duration.newBuilder().setSeconds(LEASE_S);
    send(ConnectRequest.newBuilder().setHello(Hello.newBuilder().setAgent(TENANT + "/agents/" + name).setLease(lease)));
  }

  private void beat() {
    send(ConnectRequest.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()));
  }

  /** Two threads write to the line, and a stream takes one message at a time. */
  private synchronized void send(ConnectRequest.Builder message) {
    line.onNext(message.setRequestId(UUID.randomUUID().toString()).build());
  }

  @Override
  public void onNext(ConnectResponse message) {
    switch (message.getMessageCase()) {
      case WELCOME -> {
        say("connected", "\"state\": \"" + message.getWelcome().getAgent().getState() + "\"");
        send(ConnectRequest.newBuilder().setSetState(StateWish.newBuilder().setState(State.STATE_READY)));
      }
      case STATE -> follow(message.getState().getState());
      case OFFER -> {
        var offer = message.getOffer();
        say("offered", "\"mine\": " + offer.getContact().equals(contact)
            + ", \"eligible\": " + offer.getWhy().getEligibleAgents());
        taken = true;
        send(ConnectRequest.newBuilder().setAccept(ContactAnswer.newBuilder().setContact(offer.getContact())));
      }
      case ANSWER -> {
        if (message.getAnswer().hasError()) {
          throw new IllegalStateException(message.getAnswer().getError().getMessage());
        }
        say("applied", "\"revision\": " + message.getAnswer().getApplied().getRevision());
      }
      default -> { }
    }
  }

  private void follow(State state) {
    say("state", "\"state\": \"" + state + "\"");
    if (state == State.STATE_READY && !entered) {
      entered = true;
      enqueue();
    } else if (state == State.STATE_CONNECTED) {
      send(ConnectRequest.newBuilder().setEnd(ContactAnswer.newBuilder().setContact(contact)));
    } else if (taken && (state == State.STATE_READY || state == State.STATE_WRAP_UP)) {
      send(ConnectRequest.newBuilder().setGoodbye(Goodbye.getDefaultInstance()));
    }
  }

  /** The request id makes it safe to repeat: the contact enters once. */
  private void enqueue() {
    var request = EnqueueRequest.newBuilder()
        .setRequestId(contact).setQueue(TENANT + "/queues/" + queue).setContactId(contact).build();
    var applied = routing.withDeadlineAfter(10, TimeUnit.SECONDS).enqueue(request).getApplied();
    var again = routing.withDeadlineAfter(10, TimeUnit.SECONDS).enqueue(request).getApplied();
    say("enqueued", "\"revision\": " + applied.getRevision() + ", \"again\": " + again.getRevision()
        + ", \"effect\": \"" + applied.getEffects(0).getKindCase() + "\"");
  }

  /** What can't be done comes with a code, and with details for programs. */
  private void leaveTooLate() {
    var request = LeaveRequest.newBuilder().setContact(TENANT + "/contacts/" + contact).build();
    try {
      routing.withDeadlineAfter(10, TimeUnit.SECONDS).leave(request);
    } catch (StatusRuntimeException error) {
      say("refused", "\"code\": \"" + error.getStatus().getCode() + "\", \"details\": "
          + StatusProto.fromThrowable(error).getDetailsCount());
    }
  }

  @Override
  public void onError(Throwable error) {
    over.completeExceptionally(error);
  }

  @Override
  public void onCompleted() {
    over.complete(null);
  }

  private static void say(String step, String facts) {
    System.out.println("{\"step\": \"" + step + "\", " + facts + "}");
  }
}
