"""Tells boma-qemu what Ansible does: one JSON object per line, into the file that BOMA_EVENTS names.

For ansible-core 2.18 and later. A result that `no_log` hides comes here already hidden; nothing of it is written.
What a field means is said at its Rust type (src/ansible/events.rs); a line that does not fit it ends the run.
"""

import functools
import json
import os
import re
import shlex
import time

from ansible import constants as C
from ansible import context
from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase

# Actions that do their work on this side: they never reach a host. Fact gathering does, but proves nothing.
OWN_SIDE = {
    "add_host", "assert", "debug", "fail", "gather_facts", "group_by", "import_playbook", "import_role",
    "import_tasks", "include", "include_role", "include_tasks", "include_vars", "meta", "pause", "set_fact",
    "set_stats", "validate_argument_spec",
}
THIS_SIDE = {"localhost", "127.0.0.1", "::1"}
LONGEST = 2000
# What a task was given is only compared with what was lost: the beginning of each, and not of every item of a long loop.
MOST_GIVEN, MOST_ITEMS = 4000, 50
# Arguments whose names say that their values are secrets, as src/host/secrets.rs has it.
SECRET_NAMES = ("pass", "secret", "token", "key", "credential", "private", "auth", "vault")

# Actions that run a program as it is: its exit code is the result's.
PROGRAMS = {"command", "shell", "raw", "script", "expect"}
# What a shell says of a program that it cannot find: "sh: 1: x: not found", "bash: line 1: x: command not found".
NOT_FOUND = re.compile(r"(: (line )?\d+: .+: (command )?|^\S*sh: .+: command )not found$", re.MULTILINE)
# What is said where the service manager cannot be asked: nothing about the unit.
NO_MANAGER = re.compile(
    r"System has not been booted with systemd|Failed to connect to (\S+ ){0,2}bus\b|Failed to get D-Bus connection"
)
# How the words begin of a task that came to no answer: a template, a module that crashed or that lacks what it needs.
BROKE = (
    "Task failed: ", "Module failed: ", "MODULE FAILURE", "Module result deserialization failed",
    "Unexpected failure during module execution", "Unhandled exception", "An unhandled exception",
    "The task includes an option with an undefined variable", "The conditional check ", "template error",
    "The module interpreter ", "couldn't resolve module/action", "Failed to import the required Python library",
    "Failed to find required executable", "Unable to find required executable", "Error executing command.", "[Errno ",
    "Missing sudo password", "Missing become password", "Incorrect sudo password", "Timeout (", "Timed out after",
)
# Ends of a play that a playbook may ask for.
ENDS = {"end_play", "end_host", "end_batch", "end_role"}
# The variable that a verify playbook hands its checks over by.
HANDS_OVER = "boma_checks_file"
SOURCES = (".yml", ".yaml", ".json", ".j2", ".py", ".sh")


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


def last(action):
    """The action without its collection."""
    return str(action).rsplit(".", 1)[-1]


def broke(action, result):
    """Whether a task came to no answer: what it runs is not there, crashed, or could not be asked."""
    if "module_stderr" in result or "module_stdout" in result or "timedout" in result or result.get("unreachable"):
        return True
    if str(result.get("msg", "")).startswith(BROKE):
        return True
    if result.get("failed") and NO_MANAGER.search(f"{result.get('msg', '')}\n{result.get('stderr', '')}"):
        return True
    if action not in PROGRAMS or result.get("rc") in (None, 0):
        return False
    return result["rc"] in (126, 127) or bool(NOT_FOUND.search(str(result.get("stderr", ""))))


def skipped(action, result):
    """Whether the task, or the item, did not do its work, whatever its status says."""
    not_needed = action in PROGRAMS and str(result.get("msg", "")).startswith("Did not run command since ")
    return bool(result.get("skipped")) or not_needed


def idle(result):
    """Whether the task, or the item, was not to run: its condition did not hold, or its loop was empty."""
    return "false_condition" in result or result.get("skipped_reason") == "No items in the list"


def left_out(result):
    """Whether it was skipped because it would have gone to another host (boma_others.py)."""
    return str(result.get("false_condition", "")).startswith("boma_skip_delegated:")


def given(action, fields, result):
    """What a task that changed something was given: a program's command line and input, or a module's arguments.

    The arguments are those that the module itself has told, where what it keeps secret is hidden; of an action that
    sends no module they are the task's own. A word that would be cut is left out: half of one means another thing."""
    args = (result.get("invocation") or {}).get("module_args")
    if action in PROGRAMS and not isinstance(args, dict):
        args = fields.get("args")
    if "censored" in result or not isinstance(args, dict):
        return ""
    if action in PROGRAMS:
        line = shlex.join(str(word) for word in args.get("argv") or [])
        line = line or next((str(args[name]) for name in ("_raw_params", "cmd", "command") if args.get(name)), "")
        text = f"{line}\n{args.get('stdin') or ''}".strip()
    else:
        open_ones = (name for name in args if not any(word in name.lower() for word in SECRET_NAMES))
        text = " ".join(f"{name}={args[name]}" for name in open_ones if args[name] not in (None, "", [], {}))
    return text if len(text) <= MOST_GIVEN else (text[:MOST_GIVEN].rsplit(None, 1) or [""])[0]


def in_words(value):
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def held(task, result):
    """Whether a `fail` was skipped by a condition of its own: it looked, and what it fails for is not so."""
    own = task._ds.get("when") if isinstance(task._ds, dict) else None
    return "false_condition" in result and own is not None and str(result["false_condition"]) in in_words(own)


def jobs(action, fields, result):
    """The background jobs that a result tells of, started or asked for; of one that is hidden only that it is."""
    if "censored" in result and fields.get("async_val") and fields.get("poll") == 0:
        return [{"id": "", "finished": False, "file": "", "limit": 0, "become": False, "become_user": None}]
    if not result.get("ansible_job_id") or "could not find job" in str(result.get("msg", "")):
        return []
    return [{
        "id": str(result["ansible_job_id"]),
        "finished": bool(result.get("finished")),
        "file": str(result.get("results_file") or ""),
        "limit": int(fields.get("async_val") or 0),
        # Of a loop's task a template may be left as it is written: then the usual is meant.
        "become": bool(fields.get("become")),
        "become_user": None if "{{" in (user := str(fields.get("become_user") or "")) else user or None,
    }]


def text_of(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def sources(folder):
    """The files in a folder that tasks are made of."""
    for root, _, names in os.walk(folder):
        yield from (os.path.join(root, name) for name in names if name.endswith(SOURCES))


def heard(method):
    """A method that an error of its own does not silence: Ansible would warn, and go on without it."""

    @functools.wraps(method)
    def guarded(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            why = f"{method.__name__}: {type(error).__name__}: {error}"
            self.file.write(json.dumps({"event": "broken", "why": why}) + "\n")
            raise

    return guarded


class Reading:
    """What a playbook may load, found in its texts: nothing has run yet, and an include is read only when it runs.

    A file counts as loaded if a text that counts names it, a role if a text that counts has its name as a word. That
    may be too much, never too little: a role or file whose name is a template may be any."""

    def __init__(self, start):
        self.base = os.path.dirname(os.path.abspath(start))
        self.files, self.texts = [], []
        self.words = {HANDS_OVER}
        paths = [os.path.join(self.base, "roles"), *(C.DEFAULT_ROLES_PATH or []), self.base]
        folders = [entry for path in paths if os.path.isdir(path) for entry in os.scandir(path) if entry.is_dir()]
        self.roles = {entry.path: entry.name for entry in folders if os.path.isdir(os.path.join(entry.path, "tasks"))}

    def hands_over(self, files):
        self.aliases()
        todo = [os.path.abspath(file) for file in files]
        while todo:
            path = todo.pop()
            if path in self.files:
                continue
            self.files.append(path)
            text = text_of(path)
            if any(re.search(rf"\b{re.escape(word)}\b", text) for word in self.words):
                return True
            todo += self.named_in(path, text)
        return False

    def named_in(self, path, text):
        """The files that a text names, and those of the roles."""
        places = [os.path.dirname(path), self.base]
        for name in re.findall(r"[\w./~+-]+\.(?:ya?ml|json|j2|py|sh)\b", text):
            for place in places:
                if os.path.isfile(found := os.path.normpath(os.path.join(place, name))):
                    yield found
        template = re.search(r"(include|import)_(tasks|role)\b[^#\n]*(\n\s+[^\n]*)?\{\{", text)
        if template:
            yield from sources(os.path.dirname(path))
        for role, name in list(self.roles.items()):
            # A role of a collection has a longer name, which ends with the folder's.
            if template or re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text):
                del self.roles[role]
                yield from sources(role)

    def aliases(self):
        """Variables beside the playbook that stand for the file."""
        for folder in ("group_vars", "host_vars"):
            for path in sources(os.path.join(self.base, folder)):
                self.words.update(re.findall(rf"^\s*(\w+)\s*:.*\b{HANDS_OVER}\b", text_of(path), re.MULTILINE))


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "boma_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.play = ""
        self.hosts = []
        self.started = {}
        # An end of a play is told by Ansible only where its condition did not hold: by a skipped result.
        self.ending = None
        path = os.environ.get("BOMA_EVENTS")
        if path is None:
            self.disabled = True
            return
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.file = os.fdopen(fd, "w", buffering=1, encoding="utf-8", errors="replace")

    def tell(self, event, **data):
        if self.ending is not None:
            ending, self.ending = self.ending, None
            self.tell("ended", **ending[1])
        self.file.write(json.dumps({"event": event, **data}, default=str) + "\n")

    @heard
    def v2_playbook_on_start(self, playbook):
        files = [playbook._file_name]
        for play in playbook.get_plays():
            # Imports and roles are loaded by now, from wherever they lie: each task tells its file.
            for block in play.compile():
                files += [path.rsplit(":", 1)[0] for task in block.get_tasks() if (path := task.get_path())]
            roles = [one for role in play.get_roles() for one in (role, *role.get_all_dependencies())]
            files += [path for role in roles for path in sources(role._role_path)]
        self.tell("playbook", hands_over=Reading(playbook._file_name).hands_over(files))

    @heard
    def v2_playbook_on_play_start(self, play):
        self.play = play.get_name().strip()
        self.hosts = in_words(play.hosts)

    def v2_playbook_on_no_hosts_matched(self):
        self.tell("unmatched", play=self.play, hosts=self.hosts)

    @heard
    def v2_playbook_on_task_start(self, task, is_conditional):
        how = (task.args or {}).get("_raw_params") if last(task.action) == "meta" else None
        if how in ENDS:
            self.ending = (
                task._uuid,
                {"how": how, "play": self.play, "task": task.get_name().strip(), "where": task.get_path() or ""},
            )

    def v2_runner_on_start(self, host, task):
        self.started[(host.get_name(), task._uuid)] = time.monotonic()
        self.tell("start", play=self.play, task=task.get_name().strip(), host=host.get_name())

    @heard
    def result(self, result, status, ignored=False):
        task, fields, data = result._task, result._task_fields, result._result
        host = result._host.get_name()
        since = self.started.pop((host, task._uuid), None)
        delegated = fields.get("delegate_to") or None
        target = data.get("_ansible_delegated_vars") or {}
        own_side = delegated in THIS_SIDE or target.get("ansible_connection") == "local"
        action = str(fields.get("action") or task.action)
        name = last(action)
        items = [item for item in data.get("results") or [] if isinstance(item, dict) and "item" in item]
        done = [one for one in items or [data] if one.get("changed")]
        tried = fields.get("check_mode") is True
        if status == "ok" and not items and skipped(name, data):
            status = "skipped"
        self.tell(
            "result",
            play=self.play,
            role=task._role.get_name() if task._role else "",
            task=task.get_name().strip(),
            where=task.get_path() or "",
            handler=isinstance(task, Handler),
            action=action,
            host=host,
            delegated=None if delegated in (None, host) or own_side else str(delegated),
            on_host=not own_side
            and fields.get("connection") in ("ssh", "ansible.builtin.ssh")
            and name not in OWN_SIDE,
            status=status,
            # A host that does not answer is not covered by it.
            ignored=bool(ignored) or (status != "unreachable" and fields.get("ignore_errors") is True),
            changed=bool(data.get("changed")),
            # A task that was skipped by a condition would not have run anyway.
            check_mode=tried and "false_condition" not in data and name not in OWN_SIDE,
            idle=idle(data),
            left_out=any(left_out(one) for one in items or [data]),
            # What no_log hides may be either: a failure that nobody can read is no answer.
            broke=not items and (broke(name, data) or (status == "failed" and "censored" in data)),
            held=name == "fail" and status == "skipped" and all(held(task, one) for one in items or [data]),
            tags=[str(tag) for tag in task.tags or []],
            jobs=[job for one in items or [data] for job in jobs(name, fields, one)],
            rebooted=name == "reboot" and bool(data.get("rebooted")),
            seconds=0 if since is None else round(time.monotonic() - since, 3),
            message=message(data),
            items=[self.item(name, item) for item in items],
            given=[] if tried or own_side else self.all_given(name, fields, done),
            diff="" if items else self.diff(data),
            resolved=data.get("boma_resolved"),
        )

    def all_given(self, action, fields, done):
        """What it was given for each thing that it changed; what only an item of a loop was given is not in the task."""
        texts = [given(action, {} if "item" in one else fields, one) for one in done[:MOST_ITEMS]]
        return [text for text in texts if text]

    def diff(self, result):
        """What a pass in check mode would change. Modules tell one in other runs too, where nobody asked for it."""
        if not context.CLIARGS.get("check") or not result.get("changed") or not result.get("diff"):
            return ""
        all_of_it = result["diff"] if isinstance(result["diff"], list) else [result["diff"]]
        return short(self._get_diff([one for one in all_of_it if isinstance(one, dict)]))

    def item(self, action, item):
        bad = "unreachable" if item.get("unreachable") else "failed" if item.get("failed") else None
        return {
            "label": short(item.get("_ansible_item_label", item["item"])) if "censored" not in item else "hidden",
            "status": bad or ("skipped" if skipped(action, item) else "ok"),
            "broke": broke(action, item),
            "changed": bool(item.get("changed")),
            "idle": idle(item),
            "diff": self.diff(item),
            "message": message(item),
        }

    def v2_runner_on_ok(self, result):
        self.result(result, "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result(result, "failed", ignore_errors)

    def v2_runner_on_skipped(self, result):
        if self.ending is not None and result._task._uuid == self.ending[0]:
            self.ending = None
        self.result(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        self.result(result, "unreachable", result._task_fields.get("ignore_unreachable"))

    def v2_playbook_on_stats(self, stats):
        self.tell("end", hosts={host: stats.summarize(host) for host in stats.processed})
        self.file.flush()
        os.fsync(self.file.fileno())
