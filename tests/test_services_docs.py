"""The pages about the services: their programs run against a live server, their shell lines through reflection."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from cordboard.services.security.rules import permission, services
from tests.serving import serve_command
from tests.test_docs import ROOT, blocks

pytestmark = pytest.mark.sources

TUTORIAL = ROOT / "docs" / "tutorial" / "serve.md"
REFERENCE = ROOT / "docs" / "reference" / "grpc.md"
ADDRESS = "127.0.0.1:7443"


def grpcurl(line: str, address: str) -> str:
    """What a grpcurl command line does, through reflection: the answer as JSON, or a list of names."""
    words = shlex.split(line.replace(ADDRESS, address))[1:]
    data, rest = {}, []
    while words:
        word = words.pop(0)
        if word == "-d":
            data = json.loads(words.pop(0))
        elif word != "-plaintext":
            rest.append(word)
    with grpc.insecure_channel(rest[0]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        if rest[1] == "list":
            return "\n".join(sorted(database.get_services()))
        service, method = rest[1].split("/")
        pool = DescriptorPool(database)
        described = pool.FindServiceByName(service).FindMethodByName(method)
        request = json_format.ParseDict(data, GetMessageClass(described.input_type)(), descriptor_pool=pool)
        call = channel.unary_unary(
            f"/{service}/{method}", type(request).SerializeToString, GetMessageClass(described.output_type).FromString
        )
        return json_format.MessageToJson(call(request, timeout=20), descriptor_pool=pool)


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "docs" / "examples"
    folder.mkdir(parents=True)
    (folder / "center.toml").write_text((ROOT / "docs" / "examples" / "center.toml").read_text())
    with serve_command("docs/examples/center.toml", "--data", "cordboard-data", cwd=tmp_path) as (process, address):
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_the_tutorial_does_what_it_says(served, tmp_path):
    said = []
    for _, text in blocks(TUTORIAL, "python"):
        script = tmp_path / "example.py"
        script.write_text(text.replace(ADDRESS, served))
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        said.append(done.stdout)
    contact, events, asynchronous = said
    assert "offered: call-1 because of idle_s" in contact and "1 handled" in contact
    assert "['offer']" in events and "agent_offline" in events  # two streams: either may come first
    assert "TOO_LATE" in asynchronous and "tenants/default/queues/billing 0 waiting" in asynchronous
    lines = [line for _, text in blocks(TUTORIAL, "sh") for line in text.splitlines() if line.startswith("grpcurl")]
    listed, ready, entered, explained, state, health = (grpcurl(line, served) for line in lines)
    assert "cordboard.v1.RoutingService" in listed and "google.longrunning.Operations" in listed
    assert json.loads(ready)["applied"]["revision"]
    assert json.loads(entered)["applied"]["effects"][0]["offer"]["agent"] == "bob"
    assert {row["agent"].rsplit("/", 1)[1] for row in json.loads(explained)["agents"]} == {"li", "wang", "ann", "bob"}
    assert json.loads(state)["status"] == "STATUS_SERVING" and json.loads(health)["status"] == "SERVING"


def test_the_reference_has_every_rpc_with_its_permission():
    text = REFERENCE.read_text("utf-8")
    for service in services():
        section = re.search(rf"^## {service.name}$(.*?)(?=^## |\Z)", text, re.M | re.S)
        assert section, f"{service.name} has no section"
        rows = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", section.group(1), re.M))
        assert rows == {method.name: permission(method) for method in service.methods}, service.name


def test_every_service_is_named_in_the_reference_as_it_is_in_the_contract():
    files = {path.stem for path in Path(ROOT / "services" / "proto" / "cordboard" / "v1").glob("*_service.proto")}
    assert {file for file in files if f"{file}.proto" not in REFERENCE.read_text("utf-8")} == set()
