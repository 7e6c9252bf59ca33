"""Rerun, opened at a moment of an episode. One viewer at a time: the next takes the place of the last."""

import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lwd_core.lake.store import Lake
from lwd_core.studio.desk import Desk


class RerunWindow:
    """Viewers of one server; `close` ends the one that is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._open = ExitStack()

    def show(self, episode_id: str, step: int) -> str:
        """Serve the episode and return the address that opens it at a step. Rerun is an extra, `view`."""
        from lwd_core.reports.viewer import serve, write_recording

        episode = self._desk.episode(episode_id)
        lake: Lake = self._desk.lake
        with ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="lwd-studio-"))
            file = Path(folder, f"{episode_id[:12]}.rrd")
            with self._desk.lock:
                write_recording(lake.place, episode, episode.embodiment, file)
            self.close()
            _, url = opened.enter_context(serve(file, _free_port(), _free_port()))
            self._open = opened.pop_all()
        return f"{url}%23when%3Dstep%40{step}"

    def close(self) -> None:
        """End the viewer, if there is one."""
        self._open.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
