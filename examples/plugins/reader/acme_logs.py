"""Logs of Acme's arms: per episode one line of JSON, then rows of float32, state beside action."""

import json

import numpy as np

from lwd_core.extend import ArrayReader, TabularEpisode, UnreadableLog

MAGIC = b'{"acme": 1'


def episodes(source):
    with source.open() as file:
        while line := file.readline():
            about = json.loads(line)
            n, width = about["rows"], about["state"] + about["action"]
            data = file.read(4 * n * width)
            if len(data) < 4 * n * width:
                raise UnreadableLog(f"cut off within {about['task']}")
            state, action = np.split(np.frombuffer(data, "<f4").reshape(n, width), [about["state"]], axis=1)
            said = {"task": about["task"], "outcome": about["result"], "robot_id": about["arm"]}
            yield TabularEpisode({"state": state, "action": action}, facts=said)


READER = ArrayReader("acme", lambda source, head: head.startswith(MAGIC), episodes)
