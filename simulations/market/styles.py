"""How lenders write things down: own names of tables and columns, units, codes and formats of cells."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedrepay.client.data.reading.files import quoted
from fedrepay.shared.plans.kinds import FREQUENCIES, KINDS
from fedrepay.shared.rules.facts import DEBT_TYPES, DRIVERS
from fedrepay.simulations.market.people import EMPLOYMENT, ERRORS, PRODUCTS, STAGES

TYPES = {
    "accounts": {"account": "id", "customer": "id", "product": "category"},
    "assessments": {
        "offer": "id",
        "assessed_on": "date",
        "income": "money",
        "essentials": "money",
        "income_verified": "category",
        "employment": "category",
        "other_plans": "money",
        "priority_arrears": "money",
        "balance": "money",
        "fees": "money",
        "apr": "share",
        "known_creditors": "whole",
        "stage": "category",
        "dpd": "whole",
        "payday": "date",
        "promises_12m": "whole",
        "promises_kept": "whole",
        "broken_plans_24m": "whole",
        "days_since_payment": "whole",
        "portal_logins_30d": "whole",
        "response_rate": "share",
    },
    "offers": {
        "offer": "id",
        "account": "id",
        "offered_on": "date",
        "agreed_on": "date",
        "first_due_on": "date",
        "instalment": "money",
        "count": "whole",
        "frequency": "category",
        "kind": "category",
        "discount": "share",
        "interest_waiver": "share",
        "censored_on": "date",
    },
    "payments": {"offer": "id", "payment": "id", "paid_on": "date", "amount": "money", "reverses": "link"},
}
"""Our tables and columns, and what kind of cell each is."""

CATEGORIES = {
    "product": PRODUCTS,
    "stage": STAGES,
    "income_verified": tuple(ERRORS),
    "employment": EMPLOYMENT,
    "frequency": FREQUENCIES,
    "kind": KINDS,
    "debt_type": DEBT_TYPES,
    "vulnerability_driver": DRIVERS,
}


@dataclass(frozen=True)
class Style:
    """How one kind of lender writes things down; templates put in and take out one cell of each type.

    ``tables`` and ``columns`` are its own names (a column without one keeps ours), ``codes`` what stands for the
    places of a category, written with ``{n}`` or ``{name}``.
    """

    suffix: str
    copy: str
    tables: Mapping[str, str]
    columns: Mapping[str, str]
    put: Mapping[str, str]
    take: Mapping[str, str]
    code: str

    def name(self, column: str) -> str:
        """The lender's name of a column, quoted."""
        return quoted(self.columns.get(column, column))

    def written(self, column: str, kind: str) -> str:
        """An expression that makes the lender's cell from ours."""
        cell = quoted(column)
        if kind == "category":
            known = enumerate(CATEGORIES[column])
            return self._case(cell, {name: self.code.format(n=n, name=name) for n, name in known})
        return self.put.get(kind, "{0}").format(cell)

    def read(self, column: str, kind: str, table: str) -> str:
        """An expression that makes our cell from the lender's."""
        cell = f"{table}.{self.name(column)}"
        if kind == "category":
            known = enumerate(CATEGORIES[column])
            return self._case(cell, {self.code.format(n=n, name=name): name for n, name in known})
        return self.take.get(kind, "{0}").format(cell)

    @staticmethod
    def _case(cell: str, of: Mapping[str, str]) -> str:
        if all(name == code for name, code in of.items()):
            return cell
        return f"CASE {cell} " + " ".join(f"WHEN '{a}' THEN '{b}'" for a, b in of.items()) + " END"


STYLES = (
    Style(
        suffix=".csv",
        copy="FORMAT csv, HEADER",
        tables={
            "accounts": "accounts",
            "assessments": "assessments",
            "offers": "arrangements",
            "payments": "receipts",
        },
        columns={
            "account": "account_ref",
            "customer": "customer_no",
            "offer": "arrangement_ref",
            "income": "net_income_gbp",
            "essentials": "essential_spend_gbp",
            "income_verified": "income_source",
            "balance": "balance_gbp",
            "fees": "of_which_fees_gbp",
            "dpd": "days_in_arrears",
            "payday": "next_payday",
            "offered_on": "sent",
            "agreed_on": "accepted",
            "first_due_on": "first_payment_due",
            "instalment": "payment_gbp",
            "count": "payments",
            "amount": "gbp",
            "reverses": "reversal_of",
            "payment": "receipt_no",
        },
        put={"money": "CAST({0} / 100 AS DECIMAL(18, 2))"},
        take={"money": "CAST(CAST({0} AS DECIMAL(18, 2)) * 100 AS BIGINT)", "date": "CAST({0} AS DATE)"},
        code="{name}",
    ),
    Style(
        suffix=".parquet",
        copy="FORMAT parquet",
        tables={"accounts": "Debtor", "assessments": "IncomeForm", "offers": "Deal", "payments": "Ledger"},
        columns={
            "account": "AccountId",
            "customer": "PartyId",
            "offer": "DealId",
            "income": "NetIncomePence",
            "essentials": "EssentialsPence",
            "balance": "OutstandingPence",
            "stage": "Stage",
            "product": "ProductLine",
            "employment": "JobStatus",
            "offered_on": "Offered",
            "agreed_on": "Agreed",
            "instalment": "RatePence",
            "count": "Rates",
            "frequency": "Every",
            "amount": "Pence",
            "paid_on": "Cleared",
            "response_rate": "AnswerRate",
        },
        put={},
        take={},
        code="{name}",
    ),
    Style(
        suffix=".csv",
        copy="FORMAT csv, HEADER, DELIMITER ';'",
        tables={
            "accounts": "Konto",
            "assessments": "Selbstauskunft",
            "offers": "Angebot",
            "payments": "Zahlung",
        },
        columns={
            "account": "Konto Nr",
            "customer": "Kunde Nr",
            "offer": "Angebot Nr",
            "assessed_on": "Stand",
            "income": "Einkommen",
            "essentials": "Lebenshaltung",
            "income_verified": "Nachweis",
            "employment": "Beschäftigung",
            "balance": "Saldo",
            "fees": "Gebühren",
            "stage": "Stufe",
            "product": "Produkt",
            "offered_on": "Datum",
            "agreed_on": "Zusage",
            "first_due_on": "Erste Rate",
            "instalment": "Rate",
            "count": "Anzahl",
            "frequency": "Takt",
            "kind": "Art",
            "discount": "Nachlass %",
            "paid_on": "Eingang",
            "amount": "Betrag",
            "payment": "Beleg",
            "reverses": "Storno von",
        },
        put={
            "money": "replace(CAST(CAST({0} / 100 AS DECIMAL(18, 2)) AS VARCHAR), '.', ',')",
            "share": "replace(CAST(CAST({0} * 100 AS DECIMAL(6, 1)) AS VARCHAR), '.', ',')",
            "date": "strftime({0}, '%d.%m.%Y')",
        },
        take={
            "money": "CAST(CAST(replace({0}, ',', '.') AS DECIMAL(18, 2)) * 100 AS BIGINT)",
            "share": "round(CAST(replace({0}, ',', '.') AS DOUBLE) / 100, 4)",
            "date": "CAST(strptime({0}, '%d.%m.%Y') AS DATE)",
        },
        code="{n}",
    ),
)
