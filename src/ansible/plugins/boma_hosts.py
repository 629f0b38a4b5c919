"""Tells where every host of the real inventories is: what its address variables say, with templates and vault resolved
by Ansible. Contacts no host.

Each inventory file is read by itself as well as all together: where two files name one host, the later one hides the
earlier one's address, and that is a real address all the same."""

import os
import re

from ansible import constants as C
from ansible.inventory.manager import IGNORED, InventoryManager
from ansible.module_utils.common.text.converters import to_bytes
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.vars.manager import VariableManager

# `ansible-doc -t connection ssh paramiko_ssh winrm psrp`, option host, ansible-core 2.19.
ADDRESSES = ("ansible_host", "ansible_ssh_host", "ansible_paramiko_host", "ansible_winrm_host", "ansible_psrp_host")
# What a file that is an inventory has in it: a plugin's name, groups, a vault around it all, or a line for `sh`.
INVENTORY = re.compile(r"\A(#!|\$ANSIBLE_VAULT)|^\s*[\"']?(plugin|hosts|children)[\"']?\s*:|^\[", re.MULTILINE)
# A playbook, or a list of requirements.
LIST = re.compile(r"\A(\s*(#.*|---.*)?\n)*- ")


def why(error):
    # Only the first line: those after it may show a file's contents.
    return str(error).strip().split("\n")[0][:300] or type(error).__name__


def files(source):
    """The files of a source, by Ansible's own rules for a folder."""
    if not os.path.isdir(source):
        return [source]
    names = [name for name in sorted(os.listdir(source)) if not IGNORED.search(to_bytes(name))]
    return [file for name in names for file in files(os.path.join(source, name))]


def beside(inventory, repo):
    """The files beside an inventory that is one file. In the repository's own folder are other things."""
    folder = os.path.dirname(inventory)
    if os.path.isdir(inventory) or os.path.realpath(folder) == os.path.realpath(repo):
        return []
    names = [name for name in sorted(os.listdir(folder)) if not IGNORED.search(to_bytes(name))]
    paths = [os.path.join(folder, name) for name in names]
    return [path for path in paths if os.path.isfile(path) and not os.path.samefile(path, inventory)]


def looks_like_an_inventory(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 20)
    except OSError:
        return True
    return bool(INVENTORY.search(text)) and not LIST.search(text)


def is_program(path):
    """Whether the kernel could run it. On some file systems every file may be executed (WSL's, FAT)."""
    try:
        with open(path, "rb") as file:
            return file.read(4).startswith((b"#!", b"\x7fELF"))
    except OSError:
        return True


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        asked = self._task.args
        inventory = asked["inventory"]
        self.folders = asked["folders"]
        self.hosts, self.secret, self.unknown, self.skipped = {}, set(), {}, []
        listed, origin = C.config.get_config_value_and_origin("DEFAULT_HOST_LIST")
        # Ansible's own default, where nothing is configured, need not be there.
        listed = [source for source in listed if origin != "default" or os.path.exists(source)]
        self.read([inventory])
        if listed and listed != [inventory]:
            self.read(listed)
        read = {os.path.realpath(file) for source in listed for file in files(source)}
        for path in beside(inventory, asked["repo"]):
            if os.path.realpath(path) not in read:
                self.read_beside(inventory, path)
        told = {"hosts": self.hosts, "secret": sorted(self.secret), "unknown": self.unknown, "skipped": self.skipped}
        return {"changed": False, "boma_resolved": told}

    def read(self, sources):
        """Sources as Ansible takes them together, then each file alone. A file may need another one, for a group or a
        variable, so what cannot be read alone counts only where all of them cannot be read together."""
        paths = [file for source in sources for file in files(source)]
        broken, unknown = self.add(sources)
        self.unknown.update(unknown)
        alone = {path: self.add([path])[0] for path in paths} if len(paths) > 1 else {}
        if broken:
            named = {path: reason for path, reason in alone.items() if reason}
            self.unknown.update(named or {", ".join(sources): broken})

    def read_beside(self, inventory, path):
        # Ansible would run it as an inventory, but nobody has asked for that.
        if os.access(path, os.X_OK) and is_program(path):
            self.unknown[path] = "it is a program beside the inventory, and is not run"
            return
        alone, _ = self.add([path])
        broken, unknown = self.add([inventory, path])
        if not broken:
            self.unknown.update(unknown)
        elif alone and not looks_like_an_inventory(path):
            self.skipped.append(path)
        else:
            self.unknown[path] = broken

    def add(self, sources):
        """Add the hosts of these sources. Why the sources cannot be read, if so, and why the address of which host
        cannot be told."""
        unknown = {}
        try:
            # Variables may also lie beside a playbook, so the folder of each counts.
            for folder in self.folders:
                loader = DataLoader()
                loader.set_vault_secrets(self._loader._vault.secrets)
                loader.set_basedir(folder)
                inventory = InventoryManager(loader=loader, sources=sources)
                variables = VariableManager(loader=loader, inventory=inventory)
                for host in inventory.get_hosts("all", ignore_limits=True):
                    found = self.hosts.setdefault(host.name, [])
                    try:
                        for address in self.addresses(loader, variables, host):
                            if address not in found:
                                found.append(address)
                    except Exception as error:
                        unknown[host.name] = why(error)
        except Exception as error:
            return why(error), unknown
        return None, unknown

    def addresses(self, loader, variables, host):
        of_host = variables.get_vars(host=host, include_hostvars=True)
        templar = Templar(loader=loader, variables=of_host)
        for name in ADDRESSES:
            written = of_host.get(name)
            if written is None or written == "":
                continue
            address = str(templar.template(written)).strip()
            if "{{" in address or "{%" in address:
                raise ValueError("the template in %s was not resolved" % name)
            if hasattr(written, "_ciphertext"):
                self.secret.add(address)
            if address:
                yield address
