"""Compile the protos into ``protos/gen``: messages, gRPC stubs and their types.

Imports that are no files of ours come from the descriptors in installed packages, through a
descriptor set: the well-known types, googleapis (``google.longrunning``, ``google.type``) and
``buf.validate``, which ships with protovalidate. So nothing is fetched, and ``buf`` reads the same
image.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from google.longrunning import operations_proto_pb2
from google.protobuf import (
    descriptor,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
)
from google.type import date_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

HERE = Path(__file__).parent
OUT = HERE / "gen"


def _run(arguments: list[str]) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        sys.exit("protoc failed; the lines above name the file and the line to mend.")


def _known_files() -> descriptor_pb2.FileDescriptorSet:
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: descriptor.FileDescriptor) -> None:
        for dependency in file.dependencies:
            add(dependency)
        if file.name not in files:
            proto = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(proto)
            files[file.name] = proto

    modules = (date_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2)
    for module in (operations_proto_pb2, *modules):
        add(module.DESCRIPTOR)
    validate = descriptor_pb2.FileDescriptorProto.FromString(validate_pb._DESC.proto.to_binary())
    files[validate.name] = validate
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def main() -> None:
    """Write the generated code, replacing what was there."""
    # protoc finds the mypy plugins on the PATH.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    sources = sorted(str(path.relative_to(HERE)) for path in (HERE / "atrium").rglob("*.proto"))
    services = [source for source in sources if source.endswith("_service.proto")]
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        known = Path(scratch) / "known.binpb"
        known.write_bytes(_known_files().SerializeToString())
        image = OUT / "image.binpb"
        _run(
            [
                f"--descriptor_set_in={known}",
                f"--proto_path={HERE}",
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={image}",
                *sources,
            ]
        )
    read = f"--descriptor_set_in={image}"
    messages = [f"--python_out={OUT}", f"--mypy_out=quiet:{OUT}", "buf/validate/validate.proto"]
    _run([read, *messages, *sources])
    _run([read, f"--grpc_python_out={OUT}", f"--mypy_grpc_out=quiet:{OUT}", *services])
    for folder in (path.parent for path in OUT.rglob("*_pb2.py")):
        for package in (folder, *folder.parents):
            if package == OUT:
                break
            (package / "__init__.py").touch()
    for package in ("atrium", "buf"):
        (OUT / package / "py.typed").touch()


if __name__ == "__main__":
    main()
