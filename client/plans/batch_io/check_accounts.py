"""What ``check-data --for recommend`` says of a file of accounts, before any decision."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrepay.client.data.checking.check import described
from fedrepay.client.data.mappings.mapping import Mapping
from fedrepay.client.data.reading.findings import Group
from fedrepay.client.plans.batch_io.accounts import read_accounts
from fedrepay.client.plans.batch_io.output import outside
from fedrepay.client.plans.deciding.decide import HANDOFFS
from fedrepay.client.plans.deciding.engine import check_book
from fedrepay.client.plans.deciding.handover import hand_over
from fedrepay.client.plans.deciding.rule_inputs import completed
from fedrepay.client.plans.deciding.safeguards import WATCHED, safeguards
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.rules.facts import FactTable
from fedrepay.shared.schema.codebook import CodeBook


@dataclass(frozen=True)
class AccountsReport:
    """One file of accounts: ``handed`` counts who goes to a person by what the file alone says, by code.

    ``outside`` counts accounts with a value outside the model's bounds, by column; ``facts`` are the rules' facts that are
    there, ``not_known`` those that would spare a debtor and are no column.
    """

    file: str
    rows: int
    usable: int
    groups: tuple[Group, ...]
    outside: dict[str, int]
    handed: dict[str, int]
    facts: tuple[str, ...]
    not_known: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Whether nothing of the file can be decided."""
        return not self.usable or any(group.fatal for group in self.groups)

    def as_json(self) -> dict[str, Any]:
        """The same, for machines."""
        found = {name: each for name, each in vars(self).items() if name != "groups"}
        return {**found, "refused": self.refused, "findings": [described(each) for each in self.groups]}


def check_accounts(
    book: CodeBook, data: Path, mapping: Mapping | None, settings: Settings | None = None
) -> AccountsReport:
    """Read accounts as ``recommend`` would, and report.

    Args:
        book: schema and code book.
        data: CSV or Parquet.
        mapping: None means that columns match by name.
        settings: the member's; after how many changes of a date a person takes over.

    Raises:
        ReleaseError: the schema is of another kind than ``recommend`` needs.
        MappingError: the SELECT fails.
    """
    settings = settings or Settings()
    check_book(book)
    accounts, findings, _ = read_accounts(book, data, mapping)
    count = len(accounts.names)
    facts = completed(accounts.raw, accounts.facts, settings.contact_minute)
    spared = safeguards(FactTable(facts, count))
    said = {
        **accounts.values,
        **accounts.beside,
        "beyond": accounts.beyond,
        "protected": spared.person,
        "vulnerable": spared.care,
    }
    handed = hand_over(settings.handover, said, count, 0)
    codes = Counter(HANDOFFS[each] for each in handed.code.tolist() if each)
    return AccountsReport(
        file=str(data),
        rows=findings.rows_read,
        usable=count,
        groups=findings.groups,
        outside=outside(accounts),
        handed=dict(sorted(codes.items())),
        facts=tuple(accounts.facts),
        not_known=tuple(name for name in WATCHED if name not in accounts.facts),
    )
