"""Leaves the other hosts of the inventory the variables that the repository gives them, and lets no ssh go to them.

The extra-vars that say where the VM is are the strongest variables that Ansible knows, and they are those of every host.
Without this, `hostvars` of each real host would have the VM's address, and what is rendered from it would be wrong
without a word. Should Ansible ever take its variables another way, this has no effect: every host is the VM then, and a task
that is delegated to another host is refused all the same, after it ran on the VM.

Where the overlay says so (`boma_skip_delegated: true`), a task that is delegated to another host is skipped, as by a condition
of its own. Should Ansible ever judge conditions another way, it is refused as without.
"""

import functools
import json
import os

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.playbook.task import Task
from ansible.plugins.callback import CallbackBase
from ansible.vars.manager import VariableManager

THIS_SIDE = {"localhost", "127.0.0.1", "::1"}
# The variable that has tasks for other hosts skipped; boma_events.py knows them by it.
SKIPS = "boma_skip_delegated"


def connection():
    """The extra-vars about the connection, which are the VM's alone."""
    try:
        with open(os.environ["BOMA_CONNECTION"], encoding="utf-8") as file:
            return json.load(file)
    except (KeyError, FileNotFoundError):
        return {}


def of_others(get_vars, vms, names, refuses):
    """`get_vars` for which the extra-vars of `names` are only those of the hosts `vms`."""

    @functools.wraps(get_vars)
    def wrapped(self, play=None, host=None, *args, **kwargs):
        if host is None or host.name in vms:
            return get_vars(self, play, host, *args, **kwargs)
        strongest = self._extra_vars
        self._extra_vars = {name: value for name, value in strongest.items() if name not in names}
        try:
            found = get_vars(self, play, host, *args, **kwargs)
        finally:
            self._extra_vars = strongest
        # Above all that a task or an inventory could say.
        found.update(dict.fromkeys(("ansible_ssh_executable", "ansible_sftp_executable", "ansible_scp_executable"), refuses))
        return found

    return wrapped


def skipped(task, variables, vms):
    """Why a task is skipped whose delegation has been resolved; nothing if it is not."""
    target = task.delegate_to
    if not target or target in vms or not boolean(variables.get(SKIPS, False), strict=False):
        return None
    # Another name of this side, as inventories have it for what the controller does.
    of_target = (variables.get("ansible_delegated_vars") or {}).get(target) or {}
    return None if of_target.get("ansible_connection") == "local" else f"{SKIPS}: it is delegated to {target}"


def with_skips(vms):
    """Have the condition of such a task not hold. Ansible 2.19 asks for it in another way than 2.18."""

    def resolve(own):
        @functools.wraps(own)
        def wrapped(self, conditional, variables, *args, result_context=None, **kwargs):
            holds = own(self, conditional, variables, *args, result_context=result_context, **kwargs)
            # A task's other conditions (`failed_when`) are of what it did, and one that is skipped does nothing.
            why = skipped(self, variables, vms) if holds else None
            if why and result_context is not None:
                result_context.update(false_condition=why)
            return holds and not why

        return wrapped

    def evaluate(own):
        @functools.wraps(own)
        def wrapped(self, templar, all_vars, *args, **kwargs):
            holds, condition = own(self, templar, all_vars, *args, **kwargs)
            why = skipped(self, all_vars, vms) if holds else None
            return (False, why) if why else (holds, condition)

        return wrapped

    for name, patch in (("_resolve_conditional", resolve), ("evaluate_conditional_with_result", evaluate)):
        if hasattr(Task, name):
            setattr(Task, name, patch(getattr(Task, name)))


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "boma_others"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        ours = connection()
        if ours:
            vms = {os.environ["BOMA_HOST"], str(ours.get("ansible_host")), *THIS_SIDE}
            refuses = os.environ["BOMA_REFUSES"]
            VariableManager.get_vars = of_others(VariableManager.get_vars, vms, set(ours), refuses)
            with_skips(vms)
