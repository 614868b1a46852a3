"""Flower's own FedAvg with a ClientApp that sends back what came: a plain round of the same bytes.

Run configuration: ``bytes`` of the arrays, ``rounds``, ``own-poll`` (1: look after 0.2 s rising to 1 s instead of
every 3 s), ``place`` of the file that takes the seconds of each round.
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedrepay.server.network.app import POLL_FIRST, POLL_LAST

client = ClientApp()
server = ServerApp()


@client.train()
def echo(message: Message, _context: Context) -> Message:
    """Send the arrays back."""
    arrays = message.content["arrays"]
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


class _Timed(FedAvg):
    """FedAvg that notes when each round is aggregated."""

    def __init__(self, members: int) -> None:
        super().__init__(
            fraction_evaluate=0.0, min_train_nodes=members, min_evaluate_nodes=0, min_available_nodes=members
        )
        self.at = [time.monotonic()]

    def configure_train(self, *args: Any, **kwargs: Any) -> Any:
        """A round begins."""
        if len(self.at) == 1:
            self.at[0] = time.monotonic()
        return super().configure_train(*args, **kwargs)

    def aggregate_train(self, *args: Any, **kwargs: Any) -> Any:
        """A round ends."""
        result = super().aggregate_train(*args, **kwargs)
        self.at.append(time.monotonic())
        return result


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    config = context.run_config
    if config["own-poll"]:
        _poll_faster(grid)
    values = int(config["bytes"]) // 8
    strategy = _Timed(int(config["members"]))
    strategy.start(grid, ArrayRecord({"w": Array(np.ones(values))}), num_rounds=int(config["rounds"]))
    seconds = [late - early for early, late in zip(strategy.at, strategy.at[1:], strict=False)]
    place = Path(str(config["place"]))
    place.with_suffix(".partial").write_text(json.dumps(seconds))
    place.with_suffix(".partial").replace(place)


def _poll_faster(grid: Grid) -> None:
    """Look for replies as our coordinator does."""

    def send_and_receive(messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        waiting, replies, pause = set(grid.push_messages(messages)), [], POLL_FIRST
        deadline = time.monotonic() + (timeout or 3600.0)
        while waiting and time.monotonic() < deadline:
            came = list(grid.pull_messages(waiting))
            waiting -= {each.metadata.reply_to_message_id for each in came}
            replies += came
            pause = POLL_FIRST if came else min(POLL_LAST, pause * 1.5)
            if waiting and not came:
                time.sleep(pause)
        return replies

    grid.send_and_receive = send_and_receive  # type: ignore[method-assign]
