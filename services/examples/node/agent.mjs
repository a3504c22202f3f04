// An agent's program in Node: connects, gets ready, takes the first contact that is offered, talks, and logs out.
//
//   node agent.mjs ADDRESS AGENT QUEUE
//
// It also puts the contact in, so that there is one. Prints one line of JSON for each step.
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address = "127.0.0.1:7443", agent = "li", queue = "billing"] = process.argv.slice(2);
const folder = process.env.CORDBOARD_PROTO ?? fileURLToPath(new URL("../../proto", import.meta.url));
const files = ["agent_service", "routing_service", "event_service"].map((name) => `cordboard/v1/${name}.proto`);
const includes = [folder, process.env.GOOGLEAPIS ?? ""].filter(Boolean);
const definition = await loader.load(files, { includeDirs: includes, enums: String, longs: Number, oneofs: true, defaults: true });
const { v1 } = grpc.loadPackageDefinition(definition).cordboard;

const credentials = grpc.credentials.createInsecure();
const routing = new v1.RoutingService(address, credentials);
const agents = new v1.AgentService(address, credentials);
const events = new v1.EventService(address, credentials);
const tenant = "tenants/default";

const say = (step, facts) => console.log(JSON.stringify({ step, ...facts }));
const unary = (client, method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, { deadline: Date.now() + 10_000 }, (error, reply) => (error ? reject(error) : resolve(reply))),
  );

// Everything that happens, from now on. The first message says from which revision.
const watch = events.Watch({ parent: tenant });
const revisions = [];
const watching = new Promise((resolve, reject) => {
  watch.once("data", resolve);
  watch.on("data", (message) => revisions.push(...message.entries.map((entry) => entry.revision)));
  watch.on("error", (error) => (error.code === grpc.status.CANCELLED ? null : reject(error)));
});
await watching;

// The agent's line. Whatever we send renews the lease; with nothing to say we send heartbeats.
const line = agents.Connect();
const beating = setInterval(() => line.write({ heartbeat: {} }), 4_000);
const contact = randomUUID();

const answers = {
  welcome({ agent: found }) {
    say("connected", { state: found.state });
    line.write({ requestId: randomUUID(), setState: { state: "STATE_READY" } });
  },
  async state({ state }) {
    say("state", { state });
    if (state === "STATE_READY" && !answers.asked) {
      answers.asked = true;
      const name = `${tenant}/queues/${queue}`;
      const reply = await unary(routing, "Enqueue", { requestId: contact, queue: name, contactId: contact });
      say("enqueued", { revision: reply.applied.revision, effect: reply.applied.effects[0]?.kind });
    } else if (state === "STATE_CONNECTED") {
      line.write({ requestId: randomUUID(), end: { contact } });
    } else if (answers.taken && (state === "STATE_READY" || state === "STATE_WRAP_UP")) {
      line.write({ goodbye: {} });
    }
  },
  offer({ contact: offered, why }) {
    say("offered", { mine: offered === contact, eligible: why.eligibleAgents });
    answers.taken = true;
    line.write({ requestId: randomUUID(), accept: { contact: offered } });
  },
  answer({ applied, error }) {
    if (error) throw new Error(error.message);
    say("applied", { revision: applied.revision });
  },
};
line.on("data", (message) => answers[message.message]?.(message[message.message]));
await new Promise((resolve, reject) => {
  line.on("end", resolve);
  line.on("error", reject);
  line.write({ hello: { agent: `${tenant}/agents/${agent}` } });
});
clearInterval(beating);

// What can't be done comes with a code, and with details for programs in `grpc-status-details-bin`.
const gone = await unary(routing, "Leave", { contact: `${tenant}/contacts/${contact}` }).catch((error) => error);
say("refused", { code: grpc.status[gone.code], details: Boolean(gone.metadata?.get("grpc-status-details-bin").length) });
watch.cancel();
say("done", { revisions });
for (const client of [routing, agents, events]) client.close();
