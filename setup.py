"""Builds the extensions of ``cordboard``.

The packages lie in rooms of their own (src/cordboard, src/_core); Cython and mypy want to see one tree. So the sources
are linked under build/tree/cordboard/... and that tree is their search path; ``python setup.py build_ext --inplace``
makes ``PYTHONPATH=build/tree`` a working package without an installation.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
TREE = ROOT / "build" / "tree"
CORE = "src/_core"
PROTO = ROOT / "services" / "proto"
GENERATED = ROOT / "build" / "gen"  # what protoc makes of the .proto files: the package cordboard.v1

# Named one by one: what is not listed is not shipped.
PACKAGES = {
    "cordboard": "src/cordboard",
    "cordboard.cli": "src/cordboard/cli",
    "cordboard.importers": "src/cordboard/importers",
    "cordboard.simulation": "src/cordboard/simulation",
    "cordboard.pacing": "src/cordboard/pacing",
    "cordboard.demo": "src/cordboard/demo",
    "cordboard.learning": "src/cordboard/learning",
    "cordboard.live": "src/cordboard/live",
    "cordboard.calls": "src/cordboard/calls",
    "cordboard.campaigns": "src/cordboard/campaigns",
    "cordboard.media": "src/cordboard/media",
    "cordboard.recordings": "src/cordboard/recordings",
    "cordboard.speech": "src/cordboard/speech",
    "cordboard.records": "src/cordboard/records",
    "cordboard.records.migrations": "src/cordboard/records/migrations",
    "cordboard.records.migrations.versions": "src/cordboard/records/migrations/versions",
    "cordboard._core": CORE,
    "cordboard.bindings": "bindings",
    "cordboard.bindings.pjsip": "bindings/pjsip",
    "cordboard.bindings.wheel": "bindings/wheel",
    "cordboard.services": "services",
    "cordboard.services.cli": "services/cli",
    "cordboard.services.servicers": "services/servicers",
    "cordboard.services.security": "services/security",
    "cordboard.client": "services/client",
    "cordboard.v1": "build/gen/cordboard/v1",
}
EXTENSIONS: dict[str, list[str]] = {  # name -> C sources beside the .pyx
    "api": [],
    "acd": [],
    "front": [],
    "wait": [],
    "waitstate": [],
    "pacing_policy": [],
    "pacing_drive": [],
    "pacing_learn": [],
    "pacing": [],
    "dialworld": [],
    "idmap": [],
    "listening": [],
    "online": [],
    "trees": [],
    "wire": [],
    "patience": [],
    "queueing": [],
    "simkernel": [],
    "simlaws": [],
}

SANITIZE = os.environ.get("CORDBOARD_SANITIZE") == "1"
DEBUG = os.environ.get("CORDBOARD_DEBUG") == "1"


def generate() -> None:
    """Make cordboard.v1 of the .proto files: messages, stubs and their types; only where something has changed."""
    from grpc_tools import protoc

    files = sorted(PROTO.rglob("*.proto"))
    tools = [importlib.metadata.version(name) for name in ("grpcio-tools", "mypy-protobuf")]
    digest = hashlib.sha256(repr([sys.executable, *tools]).encode())
    for file in files:
        digest.update(file.read_bytes())
    package, stamp = GENERATED / "cordboard" / "v1", GENERATED / "stamp"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    shutil.rmtree(GENERATED, ignore_errors=True)
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Messages and stubs of the gRPC services, made of services/proto."""\n')
    shared = [Path(str(importlib.metadata.distribution("googleapis-common-protos").locate_file("")))]
    # Python's package of this file has it under another name than all other languages have, and than its own code says.
    operations = GENERATED / "include" / "google" / "longrunning" / "operations.proto"
    operations.parent.mkdir(parents=True)
    shutil.copy(shared[0] / "google" / "longrunning" / "operations_proto.proto", operations)
    shared += [GENERATED / "include", Path(protoc.__file__).with_name("_proto")]
    arguments = [f"-I{folder}" for folder in (PROTO, *shared)]
    arguments += [f"--python_out={GENERATED}", f"--grpc_python_out={GENERATED}"]
    for name, function in (("mypy", "main"), ("mypy_grpc", "grpc")):
        arguments += [plugin(name, function), f"--{name}_out=quiet:{GENERATED}"]
    if protoc.main(["protoc", *arguments, *(file.relative_to(PROTO).as_posix() for file in files)]) != 0:
        raise SystemExit("protoc could not make cordboard.v1 of services/proto; what is wrong is said above")
    stamp.write_text(digest.hexdigest())


def plugin(name: str, function: str) -> str:
    """The protoc argument for a plugin of mypy-protobuf as this interpreter has it, which need not be on PATH."""
    script = GENERATED / f"protoc-gen-{name}"
    script.write_text(f"#!{sys.executable}\nfrom mypy_protobuf.main import {function}\n\n{function}()\n")
    script.chmod(0o755)
    return f"--plugin=protoc-gen-{name}={script}"


def link_tree() -> None:
    """Make build/tree/cordboard look like the installed package, by symbolic links."""
    library = {path.name: path for path in (ROOT / "src" / "cordboard").iterdir() if path.name != "__pycache__"}
    library |= {name.split(".")[1]: ROOT / folder for name, folder in PACKAGES.items() if name.count(".") == 1}
    del library["services"]  # a folder of its own: the client and the .proto files below it are not in that package
    link_folder(TREE / "cordboard", library)
    services = {path.name: path for path in (ROOT / "services").glob("*.py")}
    below = "cordboard.services."
    services |= {name.removeprefix(below): ROOT / PACKAGES[name] for name in PACKAGES if name.startswith(below)}
    link_folder(TREE / "cordboard" / "services", services | {"proto": PROTO})


def link_folder(top: Path, wanted: dict[str, Path]) -> None:
    """Exactly these links in a folder; folders in it stay."""
    top.mkdir(parents=True, exist_ok=True)
    for link in top.iterdir():
        if link.is_symlink() and (link.name not in wanted or not link.exists()):
            link.unlink()
    for name, target in wanted.items():
        link = top / name
        if not link.exists():
            link.symlink_to(os.path.relpath(target, top), target_is_directory=target.is_dir())


def extensions() -> list[Extension]:
    # No fused steps: the same bytes on every machine. The tests of packaging turn optimization off, to build sooner.
    optimize = f"-O{os.environ.get('CORDBOARD_OPTIMIZE', '3')}"
    compile_args = [optimize, "-fno-math-errno", "-ffp-contract=off"]
    link_args: list[str] = []
    if SANITIZE:
        compile_args = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
        link_args = ["-fsanitize=address,undefined"]
    return [
        Extension(
            f"cordboard._core.{name}",
            [f"build/tree/cordboard/_core/{name}.pyx", *(f"build/tree/cordboard/_core/{c}" for c in sources)],
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
        for name, sources in EXTENSIONS.items()
        if (ROOT / CORE / f"{name}.pyx").exists()  # until every module has landed
    ]


def compiled_extensions() -> list[Extension]:
    """The extensions, their C written anew where it is stale; none for commands that only read the package's name."""
    if {"sdist", "egg_info", "dist_info", "--name", "--version"} & set(sys.argv):
        return []
    compiled: list[Extension] = cythonize(
        extensions(),
        include_path=[str(TREE)],
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": "3",
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": DEBUG,
            "embedsignature": True,
            "freethreading_compatible": False,
        },
    )
    return compiled


def version() -> str:
    """The version of src/cordboard/__init__.py, where alone it stands."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "src/cordboard/__init__.py").read_text("utf-8"), re.M)
    if found is None:
        raise SystemExit("src/cordboard/__init__.py has no __version__")
    return found.group(1)


def main() -> None:
    os.chdir(ROOT)
    generate()
    link_tree()
    sys.path.insert(0, str(ROOT))
    setup(
        version=version(),
        options={"build_ext": {"parallel": os.cpu_count()}},
        packages=list(PACKAGES),
        package_dir=PACKAGES,
        package_data={
            "cordboard.media": ["machines.model"],
            "cordboard": ["py.typed", "messages.zh.txt"],
            "cordboard.learning": ["schemas/*.toml"],
            "cordboard.demo": ["center.toml"],
            "cordboard._core": ["*.pxd", "*.pyi"],
            "cordboard.services": ["proto/cordboard/v1/*.proto"],
            "cordboard.client": ["*.json"],
            "cordboard.v1": ["*.pyi"],
        },
        exclude_package_data={
            "": ["*.pyx", "*.c", "*.h"],
            "cordboard.bindings": ["README.md"],
            "cordboard.bindings.pjsip": ["make/*", "*.so"],
        },
        ext_modules=compiled_extensions(),
    )


main()
