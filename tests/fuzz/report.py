"""The results of a run: a table, JSON, a part of the documentation, and files of saved findings."""

import base64
import json
import os
import re
import socket
import zlib
from collections import Counter
from pathlib import Path

from examples import EXAMPLES
from processes import DONE, ERRORS, MICROSECONDS, ROWS, Batch
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs/robustness.md"
KEPT = HERE / "findings"
NAMES = ("target", "executions", "rows", "errors", "findings", "per_second")  # of the columns of a table


class Report:
    """
    Args:
        total: executions, for the time that is left.
        earlier: results that these are added to, as `save` wrote them.
        server: the server that nothing should call.

    Attributes:
        findings: (type, file, function, line) -> the first execution with it, and the number of executions.
    """

    def __init__(self, targets: list[str], total: int, seed: int, server: socket.socket, earlier: dict | None = None):
        self.seed, self.server, self.seconds = seed, server, 0.0
        self.earlier = earlier or {"seeds": [], "seconds": 0, "targets": []}
        self.before = {row["target"]: row for row in self.earlier["targets"] if row["target"] != "all"}
        self.counts = {target: Counter() for target in dict.fromkeys([*self.before, *targets])}
        self.findings: dict[tuple, dict] = {}
        self.bar = tqdm(total=total, unit="", smoothing=0.05)

    def add(self, batch: Batch, counts: list[int], findings: list[dict]) -> None:
        self.counts[batch.target].update(dict(enumerate(counts)))
        for found in findings:
            self._add(found | ({"kept": str(batch.kept[found["execution"]])} if batch.kept else {}))
        self.bar.update(counts[DONE])
        self.bar.set_postfix_str(f"{batch.target}, {len(self.findings)} findings")

    def _add(self, found: dict) -> None:
        key = found["type"], found["file"], found["function"], found["line"]
        if key not in self.findings:
            tqdm.write(
                f"{found['file']}:{found['line']}: {' '.join(found['text'].split())[:200]}\n  {self.command(found)}"
            )
        known = self.findings.setdefault(key, found | {"count": 0})
        known["count"] += 1

    def finish(self, seconds: float) -> None:
        self.bar.close()
        self.seconds = seconds
        try:
            self.server.accept()
        except BlockingIOError:
            return
        self._add(
            {
                "target": "?",
                "execution": 0,
                "type": "Unsound",
                "file": "?",
                "line": 0,
                "function": "?",
                "text": "something called the server of this machine",
            }
        )

    @property
    def seeds(self) -> list[int]:
        return [*self.earlier["seeds"], self.seed]

    def rows(self) -> list[tuple]:
        found = Counter(finding["target"] for finding in self.findings.values())
        rows = [
            (
                target,
                *(
                    number + self.before.get(target, {}).get(name, 0)
                    for name, number in zip(NAMES[1:5], (count[DONE], count[ROWS], count[ERRORS], found[target]))
                ),
                round(1e6 * count[DONE] / count[MICROSECONDS])
                if count[DONE]
                else self.before.get(target, {}).get("per_second", 0),
            )
            for target, count in self.counts.items()
        ]
        total = [sum(row[column] for row in rows) for column in range(1, 5)]
        return [*rows, ("all", *total, round(total[0] / max(self.seconds + self.earlier["seconds"], 1e-9)))]

    def table(self) -> str:
        head = ("target", "executions", "rows", "errors in one line", "findings", "executions/s")
        lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
        lines += [
            "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) + " |"
            for row in self.rows()
        ]
        for _key, found in sorted(self.findings.items(), key=lambda item: (item[0][1], item[0][3])):
            text = " ".join(found["text"].split())[:300]
            lines += [f"\n{found['file']}:{found['line']} {found['function']}: {text}"]
            lines += [f"  {found['count']} times; {self.command(found)}"]
        return "\n".join(lines)

    def command(self, found: dict) -> str:
        if "kept" in found:
            return f"python tests/fuzz --replay {os.path.relpath(found['kept'])}"
        return f"python tests/fuzz --target {found['target']} --seed {self.seed} --execution {found['execution']}"

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        findings = [found | {"command": self.command(found)} for found in self.findings.values()]
        seconds = round(self.seconds + self.earlier["seconds"], 1)
        content = {
            "seeds": self.seeds,
            "seconds": seconds,
            "processor": os.uname().machine,
            "cores": os.cpu_count(),
            "targets": [dict(zip(NAMES, row)) for row in self.rows()],
            "findings": findings,
        }
        path.write_text(json.dumps(content, indent=1) + "\n")

    def write_docs(self) -> None:
        table = self.table().partition("\n\n")[0]
        seeds = ", ".join(map(str, self.seeds))
        said = f"Seeds {seeds}, {self.seconds + self.earlier['seconds']:,.0f} s on {os.cpu_count()} cores:\n\n{table}"
        text = DOCS.read_text("utf-8")
        new = re.sub(
            r"(<!-- executions -->\n).*?(<!-- /executions -->)",
            lambda m: f"{m[1]}\n{said}\n\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
        DOCS.write_text(new, "utf-8")

    def keep(self) -> None:
        """Writes the files of new findings."""
        for (kind, file, function, line), found in self.findings.items():
            target, number = found["target"], found["execution"]
            if target not in EXAMPLES or "kept" in found:
                continue
            files, _ = Batch(target, []).files(self.seed, number, EXAMPLES[target].make())
            path = KEPT / target / f"{kind}-{Path(file).stem}-{re.sub(r'[^a-z_]', '', function)}-{line}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            packed = {name: base64.b64encode(zlib.compress(content, 9)).decode() for name, content in files.items()}
            said = {
                "target": target,
                "seed": self.seed,
                "execution": number,
                "said": f"{file}: {found['text']}".replace(f"{HERE.parents[1]}/", ""),
            }
            path.write_text(json.dumps(said | {"files": packed}, indent=1) + "\n")
