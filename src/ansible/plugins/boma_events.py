"""Tells boma-qemu what Ansible does: one JSON object per line, into the file that BOMA_EVENTS names.

For ansible-core 2.18 and later. A result that `no_log` hides comes here already hidden; nothing of it is written.
"""

import json
import os
import time

from ansible.plugins.callback import CallbackBase

# Actions that do their work on this side: they never reach a host. Fact gathering does, but proves nothing.
OWN_SIDE = {
    "add_host", "assert", "debug", "fail", "gather_facts", "group_by", "import_playbook", "import_role",
    "import_tasks", "include", "include_role", "include_tasks", "include_vars", "meta", "pause", "set_fact",
    "set_stats", "validate_argument_spec",
}
THIS_SIDE = {"localhost", "127.0.0.1", "::1"}
LONGEST = 2000


def short(text):
    """A message of bounded length; what matters tends to stand at both ends."""
    text = str(text).strip()
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"


def message(result):
    """Why a result is what it is, in its own words."""
    if "censored" in result:
        return "hidden by no_log"
    said = [result.get("msg"), result.get("reason"), result.get("module_stderr"), result.get("stderr")]
    said = [short(text) for text in said if isinstance(text, str) and text.strip()]
    if not said and isinstance(result.get("stdout"), str):
        said = [short(result["stdout"])]
    if result.get("rc") not in (None, 0):
        # The module's own "non-zero return code" says less.
        said = [text for text in said if text != "non-zero return code"]
        said.insert(0, f"exit code {result['rc']}")
    return short(": ".join(said))


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "boma_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.play = ""
        self.started = {}
        path = os.environ.get("BOMA_EVENTS")
        if path is None:
            self.disabled = True
            return
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.file = os.fdopen(fd, "w", buffering=1, encoding="utf-8", errors="replace")

    def tell(self, event, **data):
        self.file.write(json.dumps({"event": event, **data}, default=str) + "\n")

    def v2_playbook_on_play_start(self, play):
        self.play = play.get_name().strip()

    def v2_runner_on_start(self, host, task):
        self.started[(host.get_name(), task._uuid)] = time.monotonic()
        self.tell("start", play=self.play, task=task.get_name().strip(), host=host.get_name())

    def result(self, result, status, ignored=False):
        task, fields, data = result._task, result._task_fields, result._result
        host = result._host.get_name()
        since = self.started.pop((host, task._uuid), None)
        delegated = fields.get("delegate_to") or None
        target = data.get("_ansible_delegated_vars") or {}
        own_side = delegated in THIS_SIDE or target.get("ansible_connection") == "local"
        action = str(fields.get("action") or task.action)
        items = [item for item in data.get("results") or [] if isinstance(item, dict) and "item" in item]
        self.tell(
            "result",
            play=self.play,
            task=task.get_name().strip(),
            where=task.get_path() or "",
            action=action,
            host=host,
            delegated=None if delegated in (None, host) or own_side else str(delegated),
            on_host=not own_side
            and fields.get("connection") in ("ssh", "ansible.builtin.ssh")
            and action.rsplit(".", 1)[-1] not in OWN_SIDE,
            status=status,
            ignored=bool(ignored),
            changed=bool(data.get("changed")),
            seconds=0 if since is None else round(time.monotonic() - since, 3),
            message=message(data),
            items=[self.item(item) for item in items],
            resolved=data.get("boma_resolved"),
        )

    def item(self, item):
        return {
            "label": short(item.get("_ansible_item_label", item["item"])) if "censored" not in item else "hidden",
            "ok": not (item.get("failed") or item.get("unreachable")),
            "message": message(item),
        }

    def v2_runner_on_ok(self, result):
        self.result(result, "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result(result, "failed", ignore_errors)

    def v2_runner_on_skipped(self, result):
        self.result(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        self.result(result, "unreachable", result._task_fields.get("ignore_unreachable"))

    def v2_playbook_on_stats(self, stats):
        self.tell("end", hosts={host: stats.summarize(host) for host in stats.processed})
        self.file.flush()
        os.fsync(self.file.fileno())
