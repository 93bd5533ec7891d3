"""Answers with what was asked."""

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query("echo")
def echo(message: Message, context: Context) -> Message:
    """Answer with what was asked."""
    payload = message.content.config_records["request"]["payload"]
    return Message(RecordDict({"answer": ConfigRecord({"payload": payload})}), reply_to=message)
