"""The committed stubs are those of the committed .proto files."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.rpc.generate import PROTO_DIRECTORY, generate

pytest.importorskip("grpc_tools")


def stubs(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*_pb2*") if path.suffix in (".py", ".pyi")}


def test_generated_stubs_equal_regenerated_ones(tmp_path, monkeypatch):
    # protoc finds its plugins on the PATH: beside the interpreter that runs the tests.
    import os
    import sys

    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    generate(tmp_path)
    fresh = stubs(tmp_path / "protocol" / "rpc" / "v1")
    assert len(fresh) >= 3 * len(list(PROTO_DIRECTORY.glob("*.proto")))
    assert fresh == stubs(PROTO_DIRECTORY)
