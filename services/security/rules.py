"""Which permission each rpc needs, read from the descriptors."""

from __future__ import annotations

import importlib
import pkgutil

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

import cordboard.v1
from cordboard.v1 import options_pb2

OPEN = "open"  # whoever reaches the server
KNOWN = "known"  # any caller that the server knows

# The services of gRPC itself have no options of ours.
STANDARD: dict[str, str] = {
    "/grpc.health.v1.Health/Check": OPEN,
    "/grpc.health.v1.Health/Watch": OPEN,
    "/grpc.health.v1.Health/List": OPEN,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": KNOWN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": KNOWN,
    "/grpc.channelz.v1.Channelz/GetTopChannels": "admin.read",
    "/grpc.channelz.v1.Channelz/GetServers": "admin.read",
    "/grpc.channelz.v1.Channelz/GetServer": "admin.read",
    "/grpc.channelz.v1.Channelz/GetServerSockets": "admin.read",
    "/grpc.channelz.v1.Channelz/GetChannel": "admin.read",
    "/grpc.channelz.v1.Channelz/GetSubchannel": "admin.read",
    "/grpc.channelz.v1.Channelz/GetSocket": "admin.read",
    "/google.longrunning.Operations/GetOperation": "operations.read",
    "/google.longrunning.Operations/ListOperations": "operations.read",
    "/google.longrunning.Operations/WaitOperation": "operations.read",
    "/google.longrunning.Operations/CancelOperation": "operations.write",
    "/google.longrunning.Operations/DeleteOperation": "operations.write",
}


OTHERS = {"BotService"}  # whom others serve: media nodes call voice bots


def services() -> list[ServiceDescriptor]:
    """Every service of cordboard.v1 that the server has."""
    found = []
    for module in pkgutil.iter_modules(cordboard.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"cordboard.v1.{module.name}").DESCRIPTOR
            found += [service for service in file.services_by_name.values() if service.name not in OTHERS]
    return found


def path(method: MethodDescriptor) -> str:
    """The name by which an rpc is called."""
    return f"/{method.containing_service.full_name}/{method.name}"


def permission(method: MethodDescriptor) -> str:
    """The permission of an rpc; empty, which nobody has, if the option is missing."""
    found: str = method.GetOptions().Extensions[options_pb2.permission]
    return found


def rules() -> dict[str, str]:
    """Permission by path. What does not stand here is denied."""
    own = {path(method): permission(method) for service in services() for method in service.methods}
    return STANDARD | own


def changes(needed: str) -> bool:
    """Whether an rpc of this permission changes or hands out something that the audit log is to know of."""
    return needed not in (OPEN, KNOWN) and not needed.endswith((".read", ".watch"))
