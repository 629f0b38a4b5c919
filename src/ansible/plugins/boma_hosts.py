"""Tells where every host of the real inventories is: what its address variables say, with templates and vault resolved
by Ansible. Contacts no host.

Each inventory file is read by itself as well as all together: where two files name one host, the later one hides the
earlier one's address, and that is a real address all the same. Bastions that ssh goes by, and hosts that playbooks name
themselves, are real hosts, too."""

import importlib.util
import os
import re

from ansible import constants as C
from ansible.inventory.manager import IGNORED, InventoryManager
from ansible.module_utils.common.text.converters import to_bytes
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.vars.manager import VariableManager



def beside_this(name):
    """A module that lies beside this plugin: a plugin cannot import it by its name."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Ways = beside_this("boma_ways").Ways
written = beside_this("boma_written")
ADDRESSES = written.ADDRESSES
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
        self.ways = Ways()
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
        texts = written.Written(self._loader._vault.secrets, self.folders, asked["playbooks"])
        self.read_playbooks(inventory, asked["host"], texts)
        told = {"hosts": self.hosts, "secret": sorted(self.secret), "unknown": self.unknown, "skipped": self.skipped,
                "groups": {name: list(hosts) for name, hosts in task_vars["groups"].items()},
                "facts": list(texts.facts())}
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
            self.unknown[path] = ("it is a program beside the inventory, and nobody has named it as one, so it is not run: name it in "
                                  "ansible.cfg's `inventory` if it is one, or move it out of that folder")
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
                    self.hosts.setdefault(host.name, [])
                    try:
                        of_host = variables.get_vars(host=host, include_hostvars=True)
                        self.host(host.name, of_host, Templar(loader=loader, variables=of_host))
                    except Exception as error:
                        unknown[host.name] = why(error)
        except Exception as error:
            return why(error), unknown
        return None, unknown

    def note(self, name, addresses, secret=False):
        found = self.hosts.setdefault(name, [])
        found.extend(address for address in sorted(addresses) if address not in found)
        if secret:
            self.secret.update({name, *addresses})

    def host(self, name, variables, templar):
        """Where a host is, and by which others ssh goes to it."""
        addresses = list(self.addresses(variables, templar))
        # Some addresses are known, whatever comes of the rest.
        for address, secret in addresses:
            self.note(name, [address])
            if secret:
                self.secret.add(address)
        secret = any(hasattr(variables.get(argument), "_ciphertext") for argument in written.ARGUMENTS)
        for address in [address for address, _ in addresses] or [name]:
            itself, bastions = self.ways.of(name, address, variables, templar)
            self.note(name, itself)
            for bastion, at in bastions.items():
                self.note(bastion, at, secret)

    def addresses(self, variables, templar):
        for name in ADDRESSES:
            value = variables.get(name)
            if value is None or value == "":
                continue
            address = str(templar.template(value)).strip()
            if written.is_template(address):
                raise ValueError("the template in %s was not resolved" % name)
            if address:
                yield address, hasattr(value, "_ciphertext")

    def read_playbooks(self, inventory, mirrored, texts):
        """The hosts that playbooks name, with a template as the mirrored host would resolve it."""
        loader = DataLoader()
        loader.set_vault_secrets(self._loader._vault.secrets)
        manager = InventoryManager(loader=loader, sources=[inventory])
        host = manager.get_host(mirrored)
        variables = VariableManager(loader=loader, inventory=manager).get_vars(host=host, include_hostvars=True)
        for name, value, path in texts.all():
            # The words of a task that is delegated may come from anywhere: where it goes is seen when it is run.
            if name == "delegate_to" and (written.is_template(str(value)) or str(value) in written.HERE):
                continue
            try:
                of_file = dict(variables, **{name: value})
                templar = Templar(loader=loader, variables=of_file)
                if name == "delegate_to":
                    if str(value) not in self.hosts:
                        self.host(str(value), {}, templar)
                elif name in ADDRESSES:
                    for address, secret in self.addresses({name: value}, templar):
                        if address not in written.HERE:
                            self.note(address, [], secret)
                else:
                    _, bastions = self.ways.of(mirrored, mirrored, of_file, templar)
                    for bastion, at in bastions.items():
                        self.note(bastion, at, hasattr(value, "_ciphertext"))
            except Exception as error:
                self.unknown["%s in %s" % (name, path)] = why(error)
