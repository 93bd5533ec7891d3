"""Regenerate the gRPC stubs beside the .proto files: ``python -m protocol.rpc.generate``.

The stubs are committed, so that a borough installs no compiler; a test regenerates them and compares.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

PROTO_DIRECTORY = Path(__file__).parent / "v1"


def generate(target: Path) -> None:
    """Write all stubs under ``target``, laid out as the package path. Raises: SystemExit if protoc fails."""
    from grpc_tools import protoc  # a development dependency: only this script needs it

    include = str(resources.files("grpc_tools") / "_proto")
    sources = sorted(PROTO_DIRECTORY.glob("*.proto"))
    root = PROTO_DIRECTORY.parents[2]
    status = protoc.main(
        [
            "protoc",
            f"-I{root}",
            f"-I{include}",
            f"--python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--grpc_python_out={target}",
            *(str(source.relative_to(root)) for source in sources),
        ]
    )
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    generate(PROTO_DIRECTORY.parents[2])
    sys.stdout.write("stubs regenerated\n")
