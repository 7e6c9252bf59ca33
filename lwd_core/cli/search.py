"""Find episodes and moments: by words, by likeness to a moment, or twice there."""

import re
from dataclasses import asdict
from typing import Annotated, Any

from lwd_core.cli._ask import MOST, Argument, Option
from lwd_core.cli._output import AsJson, say_rows
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings

COLUMNS = ("score", "episode_id", "step", "task", "outcome", "robot_id", "day", "what", "text")
_FACTS = """SELECT episode_id, task, outcome, robot_id, site, day FROM episodes
WHERE episode_id IN (SELECT unnest(?))"""
_STEP = re.compile(r"[0-9]{1,9}")


def search(
    text: Annotated[str | None, Argument(help="Words: what was told or noted, by meaning.")] = None,
    like: Annotated[
        str | None, Option(help="EPISODE@STEP: moments like this one; an id's beginning will do.")
    ] = None,
    duplicates: Annotated[bool, Option("--duplicates", help="Episodes that are nearly the same.")] = False,
    by: Annotated[
        str, Option(help="frames or states; default: frames, where the moment's frame has features.")
    ] = "",
    camera: Annotated[str, Option(help="Camera; default: the episode's first.")] = "",
    layer: Annotated[str, Option(help="Features, by the beginning of their name.")] = "",
    near: Annotated[float, Option(help="How near duplicates are, in deviations.", min=0)] = 0.02,
    where: Annotated[str, Option(help="SQL condition over episodes searched.")] = "true",
    limit: Annotated[int, Option(help="Most that are shown.", min=1, max=MOST)] = 20,
    as_json: AsJson = False,
) -> None:
    """Find episodes by words, moments like a moment, or episodes that are there twice.

    Example: lwd search "open the drawer" --where "outcome = 'failure'"
    """
    from lwd_core.search.nearest import Hit

    if sum((text is not None, like is not None, duplicates)) != 1:
        raise UserError("search: give words, or --like EPISODE@STEP, or --duplicates; one of them")
    if by not in ("", "frames", "states"):
        raise UserError(f"by {by}: no such way; there are frames and states")
    if like is None:
        _refuse("words" if text is not None else "duplicates", by=by, camera=camera)
        _refuse("words" if text is not None else "", layer=layer)
    if by == "states":
        _refuse("states", camera=camera, layer=layer)
    lake = Lake.open(Settings().lake)
    if duplicates:
        from lwd_core.search import duplicates as twice

        pairs = twice.duplicates(lake, near=near, where=where, layer=twice.layer_or_none(lake, layer))
        say_rows([asdict(pair) for pair in pairs[:limit]], ("one", "other", "distance", "frames"), as_json)
        return
    hits: list[Hit]
    if text is not None:
        from lwd_core.search.texts import search_texts

        hits = search_texts(lake, text, where=where, limit=limit)
    else:
        hits = _like(lake, like or "", by, camera, layer, where, limit)
    found = lake.sql(_FACTS, ([hit.episode_id for hit in hits],)).to_pylist()
    facts: dict[str, dict[str, Any]] = {row["episode_id"]: row for row in found}
    rows = [{**asdict(hit), **facts.get(hit.episode_id, {})} for hit in hits]
    say_rows(
        [dict.fromkeys(COLUMNS) | row | {"score": round(row["score"], 4)} for row in rows], COLUMNS, as_json
    )


def _refuse(way: str, **options: str) -> None:
    for name, value in options.items():
        if way and value:
            raise UserError(f"{name} {value}: a search by {way} looks at no {name}; leave --{name} out")


def _like(lake: Lake, like: str, by: str, camera: str, layer: str, where: str, limit: int) -> list[Any]:
    from lwd_core.features import files
    from lwd_core.search.moments import like_frame, like_states

    name, at, step = like.rpartition("@")
    if not at or not name or not _STEP.fullmatch(step):
        raise UserError(f"like {like}: no moment; give EPISODE@STEP, as in 3fa4c2@120")
    episode = lake.episode(name)
    frames = by == "frames" or camera or layer or (not by and episode.cameras and files.layers(lake.place))
    if by == "states" or not frames:
        return like_states(lake, episode, int(step), where=where, limit=limit)
    return like_frame(lake, episode, int(step), camera=camera, layer=layer, where=where, limit=limit)
