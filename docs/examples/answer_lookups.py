"""Answers the look-up "customer" of flows: python answer_lookups.py HOST:PORT. docs/guides/ivr.md explains it."""

import queue
import sys

from cordboard.client import Client
from cordboard.v1 import flow_service_pb2 as pb

CUSTOMERS = {"13800001234": ("gold", {"balance": "20"})}  # yours come from a database

out: "queue.SimpleQueue[pb.AnswerLookupsRequest]" = queue.SimpleQueue()
out.put(pb.AnswerLookupsRequest(hello=pb.LookupsHello(parent="tenants/default", lookups=["customer"])))
with Client(sys.argv[1]) as client:
    for message in client.stubs.flows.AnswerLookups(iter(out.get, None), wait_for_ready=True):
        if message.WhichOneof("message") == "lookup":
            asked = message.lookup
            answer, values = CUSTOMERS.get(asked.caller, ("unknown", {}))
            said = pb.LookupAnswer(call=asked.call, token=asked.token, answer=answer, values=values)
            out.put(pb.AnswerLookupsRequest(answer=said))
        elif message.WhichOneof("message") == "refusal":
            print("came too late:", message.refusal.call, message.refusal.why)
        else:
            print("ready", flush=True)
