"""A server that is killed or ended, and started again on the same ports and the same directory."""

import json
import pathlib
import subprocess
import time

START_S = 60
END_S = 20


class Server:
    """The program in a process of its own; `config` is the text of its configuration file."""

    def __init__(self, binary, folder, settings=(), config="", word="dev"):
        self.binary, self.folder, self.settings, self.word = binary, pathlib.Path(folder), settings, word
        (self.folder / "trunkline.toml").write_text(config)
        self.public = self.private = "127.0.0.1:0"
        self.log = open(self.folder / "log", "ab")
        self.start()

    def start(self):
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        command = [self.binary, self.word, "--config", self.folder / "trunkline.toml", "--ready-file", ready]
        own = [f"server.public_listen={self.public}", f"server.private_listen={self.private}", f"store.dir={self.folder / 'data'}"]
        for setting in [*own, *self.settings]:
            command += ["--set", setting]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)
        end = time.monotonic() + START_S
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not start: {self.told()[-2000:]}")
            time.sleep(0.005)
        told = json.loads(ready.read_text())
        self.public, self.private, self.addresses = told["public"], told["private"], told

    def told(self):
        """Its log."""
        return (self.folder / "log").read_text()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """In order."""
        self.process.terminate()
        self.process.wait(timeout=END_S)

    def close(self):
        """For good."""
        self.kill()
        self.log.close()

    def port(self, door):
        """Of `mqtt_tls` and the like, where the configuration opens one."""
        return int(self.addresses[door].rsplit(":", 1)[1])

    @property
    def address(self):
        host, port = self.public.rsplit(":", 1)
        return host, int(port)
