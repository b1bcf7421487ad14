"""What Weights & Biases is told."""

from pathlib import Path
from typing import Any

from translate.training.log import RunLog
from translate.training.settings import Wandb
from translate.training.symptoms import SYMPTOMS
from translate.training.verdict import Finding


class Tracker:
    """Takes down what a wandb run would be told."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.alerts: list[str] = []
        self.summary: dict[str, Any] = {}

    def log(self, values: dict[str, Any], *, step: int) -> None:
        self.logged.append((step, values))

    def alert(self, *, title: str, text: str) -> None:
        self.alerts.append(f"{title}: {text}")

    def finish(self, *, exit_code: int) -> None:
        self.summary["exit_code"] = exit_code


def test_the_tracker_is_told_what_the_files_are(tmp_path: Path, monkeypatch: Any) -> None:
    settings = {"wandb": Wandb("disabled", None, None), "settings": {}, "is_first": True, "gives_verdict": True}
    tracker = Tracker()
    with RunLog(tmp_path, step=0, total_steps=10, **settings) as log:
        log.tracker = tracker
        finding = Finding(5, SYMPTOMS[0], 5, {"update": 0.5})
        monkeypatch.setattr(log.diagnosis, "take", lambda row: [finding])
        row = {"losses": {"g_l1": 0.25}, "images_per_second": 1.0, "data_wait": 0.0, "epoch": 1.0, "signs": {"a": 2.0}}
        log.metrics({"step": 5, **row})
        log.validation(5, {"l1": 0.5}, {}, is_best=True)
        log.validation(10, {"l1": 0.75}, {}, is_best=False)
        log.conclude(10, "finished")
    plain = {"step": 5, "images_per_second": 1.0, "data_wait": 0.0, "epoch": 1.0}
    assert tracker.logged == [
        (5, {"losses/g_l1": 0.25, "signs/a": 2.0, **plain}),
        (5, {"validation/l1": 0.5}),
        (10, {"validation/l1": 0.75}),
    ]
    assert tracker.alerts == [f"steps too large: {finding.text}"]
    assert log.verdict is not None
    assert "validation l1 rose from 0.5 to 0.75" in log.verdict
    assert tracker.summary == {"best/l1": 0.5, "best/step": 5, "verdict": log.verdict, "exit_code": 0}
