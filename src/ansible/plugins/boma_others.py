"""Leaves the other hosts of the inventory the variables that the repository gives them, and lets no ssh go to them.

The extra-vars that say where the VM is are the strongest variables that Ansible knows, and they are those of every host.
Without this, `hostvars` of each real host would have the VM's address, and what is rendered from it would be wrong
without a word. Should Ansible ever take its variables another way, this has no effect: every host is the VM then, and a task
that is delegated to another host is refused all the same, after it ran on the VM.
"""

import functools
import json
import os

from ansible.plugins.callback import CallbackBase
from ansible.vars.manager import VariableManager

THIS_SIDE = {"localhost", "127.0.0.1", "::1"}


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
