"""Watch-demo: left running, the platform finds a new release, judges it, compares it, and tells people.

Run by ``make watch-demo`` and as a step of ``make check``: an empty store, the study `tiny`, one judged release; then
web server and daemon, a webhook on this machine, and a second release that is copied in as a person would do it. After
that nothing but the daemon acts. Ends with 0 only if all of it happened; Ctrl-C ends everything that was started.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from receiver import Received, receiver
from served import Served, wait_for
from steps import HUNG, PROJECT, StepFailedError, command, content_of, must

FIRST, SECOND = "geneformer-small-2k", "geneformer-small-4k"
STUDY = "tiny"
SETTINGS = "# Whom this deployment tells; the address itself is in the environment.\nnotify: {minimum: any}\n"
SHOWN = ["release", "study", "verdict", "data_origin", "provisional"]
Say = Callable[[str], None]


class WatchDemo:
    """One deployment in a temporary folder; ``say`` prints what happens, ``seconds`` bounds each wait."""

    def __init__(self, folder: Path, say: Say, seconds: float) -> None:
        self.store, self.releases, self.log = folder / "store", folder / "releases", folder / "deployment.log"
        self.say, self.seconds = say, seconds
        self.releases.mkdir()
        (folder / "platform.yaml").write_text(SETTINGS)
        kept = {
            key: value for key, value in os.environ.items() if key not in ("INTERP_CONFIG_DIR", "INTERP_DATA_MIRROR")
        }
        self.env = kept | {
            "INTERP_STORE": str(self.store),
            "INTERP_RELEASES": str(self.releases),
            "INTERP_PLATFORM": str(folder / "platform.yaml"),
            "INTERP_STUDIES": STUDY,
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }

    def run(self) -> None:
        """All of it, in order.

        Raises
        ------
        StepFailedError, TimeoutError
            When a part of it did not happen; the deployment's log is printed.
        """
        self.say(f"{FIRST} is judged in study {STUDY} with `interp evaluate`")
        self.copy(FIRST)
        command("interp", "evaluate", "--study", STUDY, env=self.env)
        with receiver() as webhook:
            self.env["INTERP_WEBHOOK_URL"] = webhook.url
            self.say("web server and daemon start; a webhook listens on this machine")
            with Served(self.env, self.log) as deployment:
                self.say(f"asset graph on http://127.0.0.1:{deployment.port}")
                before = {run["id"] for run in deployment.runs()}  # of the evaluation above
                self.say(f"{SECOND} is copied into {self.releases}, file by file, its manifest last")
                self.copy(SECOND)
                self.judged(deployment, before)
                self.compared()
                self.told(webhook)
            self.say("the deployment has ended")
            self.kept_secret(webhook)

    def copy(self, name: str) -> None:
        """Copy a shipped release folder as a person would, with the manifest last."""
        target = self.releases / name
        target.mkdir()
        for file in sorted((PROJECT / "releases" / name).iterdir(), key=lambda path: path.name == "release.json"):
            shutil.copy(file, target)
            time.sleep(0.5)

    def judged(self, deployment: Served, before: set[str]) -> None:
        """Wait for the verdict that the daemon reaches by itself; no run but those ``before`` may fail on the way."""
        seen = set(before)

        def done() -> bool:
            for run in reversed(deployment.runs()):
                if run["id"] not in seen and run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                    seen.add(run["id"])
                    self.say(
                        f"  run of {len(run['assets'])} asset(s) on {run['partition'] or 'everything'}: {run['status']}"
                    )
                    must(run["status"] == "SUCCESS", f"run {run['id']} ended as {run['status']}; log {self.log}")
            return all((self.store / STUDY / SECOND / name).is_file() for name in ("verdict.json", "report.html"))

        wait_for(done, self.seconds, f"the verdict of {SECOND}", every=2)
        self.say(f"{SECOND} is judged: {self.store / STUDY / SECOND / 'report.html'}")

    def compared(self) -> None:
        """Wait for the rows that say what changed, and for the leaderboard."""
        changes = self.rows("verdict_changes.parquet", "what changed")
        self.say("what changed:")
        for sentence in changes["sentence"]:
            self.say(f"  {sentence}")
        board = self.rows("leaderboard.parquet", "its row of the leaderboard")
        known = [name for name in SHOWN if name in board.columns] or list(board.columns[:6])
        self.say("leaderboard:")
        for line in pd.read_parquet(self.store / "leaderboard.parquet")[known].to_string(index=False).splitlines():
            self.say(f"  {line}")

    def rows(self, name: str, what: str) -> pd.DataFrame:
        """Rows of the second release in a table of the store, once there are any."""
        path = self.store / name

        def there() -> bool:
            return path.is_file() and bool((pd.read_parquet(path)["release"] == SECOND).any())

        wait_for(there, self.seconds, f"{what} ({path})", every=2)
        table = pd.read_parquet(path)
        return table[table["release"] == SECOND]

    def told(self, webhook: Received) -> None:
        """Wait for the message, and see that it tells the change and arrived once."""
        wait_for(lambda: any(SECOND in text for text in self.texts(webhook)), self.seconds, "the message", every=1)
        time.sleep(20)  # a tick of the sensor, which must not tell it again
        told = [text for text in self.texts(webhook) if SECOND in text]
        self.say("the webhook received:")
        for line in told[0].splitlines():
            self.say(f"  {line}")
        must(len(set(webhook.keys)) == len(webhook.keys), f"a message was sent twice: {webhook.keys}")
        headers = [message["blocks"][0]["text"]["text"] for message in webhook.messages]
        must(any(SECOND in header for header in headers), f"no message is headed by {SECOND}: {headers}")

    @staticmethod
    def texts(webhook: Received) -> list[str]:
        """What a person reads of every message, as plain text."""
        return [
            "\n".join(
                part["text"]
                for block in message["blocks"]
                for part in ([block["text"]] if "text" in block else block["elements"])
            )
            for message in webhook.messages
        ]

    def kept_secret(self, webhook: Received) -> None:
        """The address of the webhook is in no file of the store, run history and logs included."""
        secret = webhook.url.rsplit("/", 1)[1].encode()
        found = [path for path in self.store.rglob("*") if path.is_file() and secret in path.read_bytes()]
        found += [self.log] if secret in self.log.read_bytes() else []
        must(not found, f"the address of the webhook stands in {found}")
        self.say("the address of the webhook stands in no file of the store, run history and log included")


def watched(seconds: float = HUNG) -> dict[str, dict[str, str]]:
    """The demo as a step of the acceptance run, with lines below the step's own; content of both results folders."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="interp-watch-") as name:
        demo = WatchDemo(Path(name), lambda text: print(f"        {_clock(started)} {text}", flush=True), seconds)
        demo.run()
        return {release: content_of(demo.store / STUDY / release) for release in (FIRST, SECOND)}


def _clock(started: float) -> str:
    seconds = int(time.monotonic() - started)
    return f"{seconds // 60}:{seconds % 60:02d}"


def main() -> int:
    """Run the demo in the terminal; 0 only if everything happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=HUNG, help=f"longest wait for each part; default: {HUNG}")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a child is ended on the way out, as on Ctrl-C
    try:
        watched(options.seconds)
    except KeyboardInterrupt:
        print("interrupted; everything that was started has ended", flush=True)
        return 130
    except (StepFailedError, RuntimeError, TimeoutError, OSError) as failure:
        print(f"FAILED: {failure}", flush=True)
        return 1
    print("done: found, judged, compared and told without a hand", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
