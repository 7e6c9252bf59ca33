"""Schemas as Dagster shows them: table columns with type, unit and meaning, tables as metadata."""

from collections.abc import Mapping, Sequence

import dagster as dg

from storage_schemas.columns import Table

#: Where the webserver shows what lies under the reports (``webserver.py``).
REPORTS = "/reports"


def table_schema(table: Table) -> dg.TableSchema:
    """A table's columns for the UI."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=c.name,
                type=str(c.type),
                description=f"{c.meaning} [{c.unit}]" if c.unit else c.meaning,
                constraints=dg.TableColumnConstraints(nullable=c.nullable, unique=table.key == (c.name,)),
            )
            for c in table.columns
        ]
    )


def table_metadata(table: Table) -> dict[str, dg.MetadataValue]:
    """What a table's asset always shows."""
    return {
        "dagster/column_schema": dg.MetadataValue.table_schema(table_schema(table)),
        "key": dg.MetadataValue.text(", ".join(table.key)),
    }


def markdown_table(rows: Sequence[Mapping[str, object]]) -> dg.MetadataValue:
    """Rows as a table a person reads; all rows have the columns of the first."""
    if not rows:
        return dg.MetadataValue.md("*no rows*")
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def picture(png: bytes, caption: str) -> dg.MetadataValue:
    """A PNG inside the metadata; the UI draws it in place."""
    from lwd_core.reports.page import data_uri

    return dg.MetadataValue.md(f"![{caption}]({data_uri(png)})")


def page(reports: str, written: str) -> dg.MetadataValue:
    """A page that lies under ``reports`` as a link, which works wherever the UI is seen from."""
    from lwd_core.storage.location import open_location

    return dg.MetadataValue.url(f"{REPORTS}/{open_location(reports).relative(written)}")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value).replace("|", "\\|").replace("\n", " ")
