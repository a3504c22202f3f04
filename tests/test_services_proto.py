"""The contract itself: lint, comments, permissions, and that every rpc that it names is there."""

from __future__ import annotations

import inspect

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from cordboard.services.security.rules import services
from tests.serving import served

SERVICES = services()


def test_the_server_has_every_service_of_the_contract_and_every_rpc_has_a_method(tmp_path):
    with served(tmp_path) as live:
        database = ProtoReflectionDescriptorDatabase(live.channel)
        offered = set(database.get_services())
        servicers = dict(live.server.servicers)
    assert {service.full_name for service in SERVICES} <= offered
    assert {"grpc.health.v1.Health", "grpc.channelz.v1.Channelz"} <= offered
    for service in SERVICES:
        for method in service.methods:
            function = getattr(servicers[service.full_name], method.name)
            streams = inspect.isasyncgenfunction(function)
            assert streams == method.server_streaming, method.full_name
            assert streams or inspect.iscoroutinefunction(function), method.full_name


def test_an_rpc_that_is_not_in_the_contract_is_unknown(tmp_path):
    with served(tmp_path) as live:
        call = live.channel.unary_unary("/cordboard.v1.RoutingService/Route")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
