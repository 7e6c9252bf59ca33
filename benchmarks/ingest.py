"""A whole ingest of one robot log, beside the raw read of its bytes.

    python -m benchmarks.ingest [--json] [--seconds 60] [--runs 5]

The log of ``benchmarks.logs``: three cameras, 155 MB for 60 s. Ingest is what ``lwd ingest`` does: digest,
checksums, decoding, alignment, frames into tar shards, Parquet, commits, into an empty lake. Processor
time of this process and its warm child, so that other work on the machine doesn't count; medians, runs
taken in turn. ``--seconds 775`` makes 2 GB.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.logs import embodiment_text, raw, write
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.children import apart
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.settings import Settings


def processor() -> float:
    """Processor seconds of this process and of the child that reads logs for it."""
    return time.process_time() + apart(0, time.process_time)


def whole(home: Path, path: Path) -> float:
    """Processor seconds of an ingest into a lake of its own."""
    embodiment = parse_embodiment(embodiment_text())
    settings = Settings(home=str(home))
    Lake.open(settings.lake, create=True)
    begin = processor()
    lake = Lake.open(settings.lake)
    result = ingest(lake, settings, [str(path)], embodiments={embodiment.name: embodiment}, now_ns=0)
    taken = processor() - begin
    if result.accepted.files != 1:
        raise SystemExit(f"the log was not taken in: {result}")
    return taken


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--runs", type=int, default=5)
    chosen = options.parse_args()
    ours: list[float] = []
    floor: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.mcap"
        write(path, chosen.seconds)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for run in range(chosen.runs + 1):
            taken = whole(Path(folder) / f"home{run}", path)
            begin = time.process_time()
            raw(path)
            if run:  # the first one warms up
                ours.append(taken)
                floor.append(time.process_time() - begin)
        size = path.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {
        "bytes": size,
        "ingest_cpu_s": statistics.median(ours),
        "ingest_cpu_s_range": [min(ours), max(ours)],
        "raw_read_cpu_s": statistics.median(floor),
        "ratio": statistics.median(ours) / max(statistics.median(floor), 1e-9),
        "resident_mb": peak / 1024,
        "resident_mb_before": before / 1024,
    }
    if chosen.json:
        print(json.dumps(result))
        return
    low, high = result["ingest_cpu_s_range"]
    print(f"log of {size / 1e6:.0f} MB, {chosen.seconds} s of recording")
    print(f"whole ingest   {result['ingest_cpu_s']:.3f} CPU-s ({low:.3f} to {high:.3f})")
    print(f"raw read       {result['raw_read_cpu_s']:.3f} CPU-s, ratio {result['ratio']:.1f}")
    print(f"resident       {result['resident_mb']:.0f} MB at most, {result['resident_mb_before']:.0f} before")


if __name__ == "__main__":
    main()
