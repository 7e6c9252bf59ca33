"""A connection that breaks when it hurts most: a proxy on 127.0.0.1 before an S3 service."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.lwd_core.lake.servers import free_port


class Cutter:
    """Passes bytes on. While ``word`` is set, a request that holds it loses its connection.

    ``answer_only``: the service gets the request, only its answer is lost. ``times`` bounds the cuts.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.word, self.answer_only, self.times, self.cuts = target, b"", False, 0, 0

    def cut(self, word: str, *, answer_only: bool, times: int) -> None:
        self.word, self.answer_only, self.times, self.cuts = word.encode(), answer_only, times, 0

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def _session(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.target) as server, suppress(OSError):
            doomed = threading.Event()
            back = threading.Thread(target=self._answers, args=(server, client, doomed), daemon=True)
            back.start()
            while data := client.recv(1 << 16):
                if self.word and self.word in data and self.cuts < self.times:
                    self.cuts += 1
                    if not self.answer_only:
                        break
                    doomed.set()
                server.sendall(data)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answers(self, server: socket.socket, client: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if doomed.is_set():
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutter(url: str) -> Iterator[tuple[Cutter, str]]:
    """A proxy before the service at ``url``, and the proxy's own URL."""
    split = urlsplit(url)
    proxy, port = Cutter((split.hostname or "", split.port or 80)), free_port()
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield proxy, f"http://127.0.0.1:{port}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()
