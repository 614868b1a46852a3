"""Sentences about a run on a table of rows, for the terminal and the report: each member's own customers come first."""

from typing import Any

from fedrepay.simulations.report.words import figure, interval, percent, protection, signed

EVERYBODY = "everybody's held-out customers, those of other members too"


def told(one_by_one: dict[str, Any]) -> str:
    """How many members gain, lose and cannot be told."""
    if not one_by_one["judged"]:
        return "no member has enough customers to be judged"
    return f"of {one_by_one['judged']}, {_counted(one_by_one)}"


def own_part(one_by_one: dict[str, Any]) -> str | None:
    """How members with rows enough for a correction fare with their own part; None where there are none."""
    own = one_by_one["own_part"]
    if not own["enough_rows"]:
        return None
    return (
        f"of {own['enough_rows']} with rows enough, {_counted(own)}; {own['surely_worse'] or 'none'} surely worse by "
        f"more than {own['margin']:g} AUC, {own['surely_not_worse']} surely not"
    )


def thin(share: float, epsilon: float) -> str:
    """What noise leaves that is long beside all that customers can say."""
    return (
        f"The noise of ε = {epsilon:g} is {percent(share, 0)} as long as the longest sum these customers could make: "
        "it may leave little, or nothing but noise. More customers, fewer columns or a larger ε help."
    )


def noise_only(metrics: dict[str, Any]) -> str | None:
    """That nothing but noise is seen, where it is so."""
    if not metrics["noise"]["only"]:
        return None
    return (
        f"Noise only: the AUC {figure(metrics['auc']['federated'], 3)} {interval(metrics['noise']['auc_interval'], 3)} "
        f"on {EVERYBODY}, cannot be told from a constant's 0.5."
    )


def outcome(metrics: dict[str, Any]) -> list[str]:
    """What was gained and what it cost, in sentences."""
    one_by_one, auc = metrics["one_by_one"], metrics["auc"]
    said = [f"Members on their own held-out customers: {told(one_by_one)}."]
    only = noise_only(metrics)
    if only:
        said.append(only)
    if metrics["noise"]["thin"]:
        said.append(thin(metrics["noise"]["share"], metrics["arguments"]["epsilon"]))
    if one_by_one["judged"]:
        mean = one_by_one["mean"]
        said.append(
            "Each is compared with a model of its own without privacy, 95 % sure for all of them at once. On average a member "
            f"has an AUC of {figure(mean['federated'], 3)} against {figure(mean['alone'], 3)} and a constant's 0.5: "
            f"{signed(one_by_one['mean_gain'], 3)} {_span(one_by_one['mean_gain_interval'])}."
        )
    part = own_part(one_by_one)
    if part:
        said.append(f"With its own part beside the shared model, against its own model: {part}.")
    beside = [
        f"{name} {figure(auc[key], 3)}"
        for key, name in (
            ("alone_mean", "members' own models on average"),
            ("pooled_no_privacy", "all rows in one place without any privacy"),
            ("constant", "a constant"),
        )
        if auc[key] is not None
    ]
    said.append(
        f"On {EVERYBODY}, the shared model has an AUC of {figure(auc['federated'], 3)}; {', '.join(beside)}. No member has "
        "that mix of customers: the figure judges methods, not membership."
    )
    said.append(protection(metrics))
    return said


def summary(metrics: dict[str, Any]) -> dict[str, str]:
    """Lines of the terminal: label and figure."""
    one_by_one, auc, loss = metrics["one_by_one"], metrics["auc"], metrics["log_loss"]
    lines = {"Members on their own held-out customers": told(one_by_one)}
    if one_by_one["judged"]:
        mean = one_by_one["mean"]
        lines["Mean AUC there: together, alone, a constant"] = (
            f"{figure(mean['federated'])}, {figure(mean['alone'])}, 0.5"
        )
        lines["Mean gain there"] = (
            f"{signed(one_by_one['mean_gain'])} {_span(one_by_one['mean_gain_interval'], 4)}"
        )
    part = own_part(one_by_one)
    if part:
        lines["With a member's own part beside it"] = part
    only = noise_only(metrics)
    if only:
        lines["Noise only"] = only.partition(": ")[2]
    lines["Everybody's customers: AUC, log-loss"] = ""
    for key, name in (
        ("federated", "  learned together"),
        ("alone_mean", "  members' own models, mean (no privacy)"),
        ("pooled_no_privacy", "  pooled (no privacy)"),
        ("pooled_lightgbm", "  pooled LightGBM (no privacy)"),
        ("constant", f"  a constant (base rate {percent(metrics['base_rate'])})"),
    ):
        if auc[key] is not None:
            lines[name] = f"{figure(auc[key])}, {figure(loss[key])}"
    return lines


def _counted(found: dict[str, Any]) -> str:
    gain, lose = found["gain"], found["lose"]
    return (
        f"{gain} {'gains' if gain == 1 else 'gain'}, {lose} {'loses' if lose == 1 else 'lose'}, "
        f"{found['unclear']} cannot be told"
    )


def _span(ends: list[float], digits: int = 3) -> str:
    return f"[{signed(ends[0], digits)}, {signed(ends[1], digits)}]"
