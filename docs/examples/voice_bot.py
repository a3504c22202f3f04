"""A voice bot on a gRPC stream: python voice_bot.py HOST:PORT. It says back what it hears, and passes the caller on at
a key. docs/guides/voice-bots.md explains it."""

import asyncio
import sys

import grpc.aio

from cordboard.v1 import bot_service_pb2 as pb
from cordboard.v1 import bot_service_pb2_grpc


class Echo(bot_service_pb2_grpc.BotServiceServicer):
    async def Converse(self, requests, context):
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "start":
                yield pb.ConverseResponse(welcome=pb.BotWelcome())
            elif kind == "heard":
                yield pb.ConverseResponse(say=request.heard.audio)
            elif kind == "ping":
                yield pb.ConverseResponse(pong=request.ping)
            elif kind == "key":
                yield pb.ConverseResponse(said=pb.BotLine(who="caller", text="has pressed a key"))
                yield pb.ConverseResponse(hand_over=pb.BotHandOver(summary="pressed a key"))


async def main():
    server = grpc.aio.server()
    bot_service_pb2_grpc.add_BotServiceServicer_to_server(Echo(), server)
    print("port", server.add_insecure_port(sys.argv[1]), flush=True)
    await server.start()
    await server.wait_for_termination()


asyncio.run(main())
