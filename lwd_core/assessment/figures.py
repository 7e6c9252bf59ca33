"""Figures of an assessment as PNG bytes."""

from matplotlib.figure import Figure

from lwd_core.assessment.assess import Assessment
from lwd_core.assessment.verdict import ALL, LEAST_AUC, LEAST_TAU, PATH_KL
from lwd_core.reports.figures import BAD, GOOD, INK, MUTED, STYLE, png, quiet


def ranks(found: Assessment) -> bytes:
    """AUC of V after a share of an episode, a panel a share, a row a task, with 95 % intervals."""
    tasks = list(next(iter(found.ranks.values())))
    figure = Figure(figsize=(9.6, 0.9 + 0.26 * len(tasks)), layout="constrained")
    panels = figure.subplots(1, len(found.ranks), sharey=True, squeeze=False).ravel()
    for axis, (share, by_task) in zip(panels, found.ranks.items(), strict=True):
        axis.axvline(0.5, color=MUTED, linewidth=0.8)
        axis.axvline(LEAST_AUC[share], color=BAD, linewidth=0.8, linestyle=":")
        for y, task in enumerate(tasks):
            auc = by_task[task]
            if auc.known:
                axis.plot([auc.low, auc.high], [y, y], color=MUTED, linewidth=1.4)
                axis.plot(auc.value, y, marker="o", markersize=4, color=GOOD if task == ALL else INK)
        axis.set_title(f"after {share:.0%} of the episode", **STYLE)
        axis.set_xlim(-0.02, 1.02)
        quiet(axis)
    panels[0].set_yticks(range(len(tasks)), tasks, fontsize=8)
    panels[0].set_ylim(len(tasks) - 0.5, -0.5)
    figure.supxlabel("AUC of V for the outcome; grey: chance, dotted: the least asked for", **STYLE)
    return png(figure)


def reliability(found: Assessment) -> bytes:
    """What came where V promised so much, with 95 % intervals."""
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axis = figure.subplots()
    bins = found.calibration.bins if found.calibration else ()
    ends = [edge for b in bins for edge in (b.predicted, b.low, b.high)]
    span = [min(ends, default=0.0), max(ends, default=1.0)]
    axis.plot(span, span, color=MUTED, linewidth=0.8)
    for b in bins:
        axis.plot([b.predicted] * 2, [b.low, b.high], color=MUTED, linewidth=1.4)
    axis.plot([b.predicted for b in bins], [b.came for b in bins], "o-", color=INK, markersize=4, linewidth=1)
    axis.set_xlabel("what V promises", **STYLE)
    axis.set_ylabel("discounted reward that came", **STYLE)
    quiet(axis)
    return png(figure)


def over_time(found: Assessment) -> bytes:
    """Entropy and τ (the paper's Fig. 8), advantage over the reference, path KL, over the updates."""
    panels = [
        ("entropy of V's law", ("entropy",), ()),
        ("τ", ("tau",), (LEAST_TAU,)),
        ("advantage over the reference (Q)", ("q_gain", "heldout_q_gain"), (0.0,)),
        ("path KL, nats a chunk", ("path_kl",), PATH_KL),
    ]
    drawn = [panel for panel in panels if any(name in found.curves for name in panel[1])]
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    for axis, (title, names, marks) in zip(
        figure.subplots(1, len(drawn), squeeze=False).ravel(), drawn, strict=True
    ):
        for name, colour in zip(names, (INK, GOOD), strict=False):
            curve = found.curves.get(name)
            if not curve:
                continue
            label = "held out" if name.startswith("heldout") else "its own data"
            axis.plot([x for x, _ in curve], [y for _, y in curve], color=colour, linewidth=1.2, label=label)
        for mark in marks:
            axis.axhline(mark, color=BAD, linewidth=0.8, linestyle=":")
        if len(names) > 1:
            axis.legend(fontsize=7, frameon=False)
        if names == ("path_kl",) and all(y > 0 for _, y in found.curves["path_kl"]):
            axis.set_yscale("log")
        axis.set_title(title, **STYLE)
        quiet(axis)
    figure.supxlabel("updates; dotted: bounds of what is asked for", **STYLE)
    return png(figure)


def all_figures(found: Assessment) -> dict[str, bytes]:
    """What there is to draw, by its caption."""
    drawn = {}
    if found.ranks:
        drawn["Whether V knows the outcome of episodes it did not learn from"] = ranks(found)
    if found.calibration:
        drawn["Whether what V promises comes"] = reliability(found)
    if any(name in found.curves for name in ("entropy", "tau", "q_gain", "path_kl")):
        drawn["Over the run"] = over_time(found)
    return drawn
