import pyarrow as pa

from lwd_core.lineage import Trace
from lwd_core.reports.lineage import SHOWN, trace_page


def test_long_cells_are_whole_in_the_page_and_cut_on_sight_only():
    digest, uri = "d" * 64, "/lake/landing/" + "x" * 40 + "<&>.mcap"
    page = trace_page(
        Trace(
            "p1",
            ancestry=pa.table({"policy_id": ["p1"], "parent": pa.array([None], pa.string())}),
            snapshots=pa.table({"digest": [digest], "episodes": [3]}),
            episodes=pa.table({"uri": [uri] * (SHOWN + 7), "snapshots": [[digest, digest]] * (SHOWN + 7)}),
        )
    )
    assert f'<td class="long" tabindex="0" title="{digest}">{digest}</td>' in page
    assert f"{digest}, {digest}</td>" in page
    assert "<td>p1</td>" in page
    assert "<td></td>" in page
    assert "&lt;&amp;&gt;.mcap" in page
    assert "<&>" not in page
    assert "7 more" in page
