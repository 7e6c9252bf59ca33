"""One npz an episode, in a folder for each task."""

import numpy as np

from lwd_core.extend import Written


class NpzExporter:
    def write(self, selected, folder):
        cameras = set()
        for episode in selected:
            steps = selected.steps(episode)
            frames = {name: np.array(list(jpegs)) for name, jpegs in selected.frames(steps).items()}
            cameras |= frames.keys()
            place = folder / episode["task"]
            place.mkdir(exist_ok=True)
            np.savez(
                place / f"{episode['episode_id']}.npz",
                observations=np.array(steps["state"].to_pylist()),
                actions=np.array(steps["action"].to_pylist()),
                success=np.full(len(steps), episode["outcome"] == "success"),
                **frames,
            )
        return Written(tuple(sorted(cameras)))
