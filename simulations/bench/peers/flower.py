"""The workload on Flower's own simulation engine (Ray), one CPU a ClientApp, one thread each."""

import os
from functools import cache

import torch
from flwr.app import ArrayRecord, ConfigRecord, ConfigRecordValues, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from fedrepay.simulations.bench.peers import trainers, workload
from fedrepay.simulations.bench.peers.workload import MEMBERS, ROUNDS, ROWS, Measured, RoundClock

client_app = ClientApp()


@cache
def _trainer(name: str) -> trainers.Trainer:
    """One trainer a worker process."""
    torch.set_num_threads(1)
    return trainers.make(name)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One member's epoch."""
    name = str(message.content.config_records["config"]["trainer"])
    weights = message.content.array_records["arrays"]["weights"].numpy()
    features, outcomes = workload.member(int(context.node_config["partition-id"]))
    trained = _trainer(name)(torch.from_numpy(weights.copy()), features, outcomes)
    return Message(
        RecordDict(
            {
                "arrays": ArrayRecord({"weights": trained}),
                "metrics": MetricRecord({"num-examples": ROWS}),
            }
        ),
        reply_to=message,
    )


def run(name: str) -> Measured:
    """Measure with a trainer."""
    found: list[Measured] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, _context: Context) -> None:
        clock = RoundClock()

        def after(number: int, arrays: ArrayRecord) -> None:
            if number:
                clock.round_done()
            if number == ROUNDS:
                found.append(clock.measured(torch.from_numpy(arrays["weights"].numpy().copy())))

        FedAvg(fraction_train=1.0, fraction_evaluate=0.0).start(
            grid=grid,
            initial_arrays=ArrayRecord({"weights": workload.start()}),
            num_rounds=ROUNDS,
            train_config=ConfigRecord({"trainer": name}),
            evaluate_fn=after,
        )

    resources: dict[str, ConfigRecordValues] = {"num_cpus": 1, "num_gpus": 0.0}
    run_simulation(
        server_app,
        client_app,
        num_supernodes=MEMBERS,
        backend_config={
            "client_resources": resources,
            "init_args": {"num_cpus": os.cpu_count() or 1, "include_dashboard": False},
        },
    )
    (measured,) = found
    return measured
