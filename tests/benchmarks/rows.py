"""Made-up rows of ``benchmarks.private_sum``."""

from __future__ import annotations


def row(
    system: str, clients: int, dimension: int, *, client: float, server: float, **more: object
) -> dict[str, object]:
    fields = {
        "system": system,
        "clients": clients,
        "dimension": dimension,
        "client_cpu_s": client,
        "server_cpu_s": server,
        "exchanges": 1 if system == "custodes" else 4,
        "mask_bits": 256 if system == "custodes" else 32,
    }
    return fields | more


def ours(clients: int, dimension: int, client: float, server: float, **more: object) -> dict[str, object]:
    return row("custodes", clients, dimension, client=client, server=server, **more)


def theirs(clients: int, dimension: int, client: float, server: float) -> dict[str, object]:
    return row("flower-secagg+", clients, dimension, client=client, server=server)
