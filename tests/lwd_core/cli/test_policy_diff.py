"""What a person reads of two policies' difference, on a narrow terminal too."""

import re

import pytest

from lwd_core.cli._policy_diff import print_difference
from lwd_core.policies.diff import DataDifference, Labels, PolicyDifference, Result
from lwd_core.policies.intervals import Rate

A, B = "a" * 64, "b" * 64


def test_ids_are_whole_and_settings_stand_a_line_each(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    spec = {"outcome": "outcome.recorded@1", "blocking": ["quality@1:defect.*"]}
    print_difference(
        PolicyDifference(
            a=A,
            b=B,
            facts={"snapshots": ([A], [A, B])},
            data=DataDifference(2, 3, 2, [], ["e"], {"task": {"push": (2, 3)}}),
            labels=Labels({"labels": ([spec], [])}, [], []),
            config={},
            results=[Result("button-press-topdown", Rate(1, 2, 0.1, 0.9), Rate(2, 2, 0.4, 1.0), 0, 1, 1.0)],
        )
    )
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    facts = "".join(lines[: next(i for i, line in enumerate(lines) if "data:" in line)])
    whole = "".join(re.findall("a{2,}|b{2,}", facts))
    assert (whole.count("a"), whole.count("b")) == (12 + 64 + 64, 12 + 64)
    cells = [[cell for cell in re.split(r"\s{2,}", line) if cell] for line in lines]
    assert ["labels", 'outcome: "outcome.recorded@1"'] in cells
    assert any("[0.100, 0.900]" in found and "[0.400, 1.000]" in found for found in map(str, cells))
