"""Asks all nodes again and again, and writes down how long each exchange took."""

import os
import time
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()

PATIENCE_SECONDS = 300.0


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Append one line of seconds an exchange to the file that the run names. Raises: RuntimeError if nodes are missing."""
    config = context.run_config
    payload = os.urandom(int(config["payload-bytes"]))
    end = time.monotonic() + PATIENCE_SECONDS
    while len(nodes := list(grid.get_node_ids())) < int(config["nodes"]):
        if time.monotonic() > end:
            raise RuntimeError(f"{len(nodes)} of {config['nodes']} SuperNodes are online")
        time.sleep(0.5)
    for _ in range(int(config["exchanges"])):
        began = time.perf_counter()
        content = RecordDict({"request": ConfigRecord({"payload": payload})})
        messages = [Message(content, dst_node_id=node, message_type="query.echo") for node in nodes]
        replies = list(grid.send_and_receive(messages, timeout=PATIENCE_SECONDS))
        seconds = time.perf_counter() - began
        answers = [reply.content["answer"]["payload"] for reply in replies if reply.has_content()]
        if answers != [payload] * len(nodes):
            raise RuntimeError(f"{len(answers)} of {len(nodes)} SuperNodes answered")
        with Path(str(config["times"])).open("a") as file:
            file.write(f"{seconds}\n")
