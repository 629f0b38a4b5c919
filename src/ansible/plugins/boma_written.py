"""The hosts that playbooks and roles name themselves, past the inventories: `ansible_host` among a play's or a task's
variables, `delegate_to`, `add_host`."""

import inspect
import os
import re

from ansible import constants as C
from ansible.parsing.dataloader import DataLoader

# `ansible-doc -t connection ssh paramiko_ssh winrm psrp`, option host, ansible-core 2.19.
ADDRESSES = ("ansible_host", "ansible_ssh_host", "ansible_paramiko_host", "ansible_winrm_host", "ansible_psrp_host")
ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
# A file without any of these words names no host.
WORDS = re.compile("delegate_to|add_host|" + "|".join(ADDRESSES + ARGUMENTS))
# Gathered facts of another host, by the ways that templates take to them.
FACT = r"ansible_(facts|default_ipv[46]|all_ipv[46]_addresses|fqdn|hostname|nodename|interfaces|eth\d|distribution)\b"
FACTS = re.compile(r"hostvars\b(?!\s*\[\s*inventory_hostname\b)[^\n]*" + FACT)
# The variables of inventories are read with the inventories.
ELSEWHERE = {"group_vars", "host_vars", "inventory", "inventories"}
HERE = {"localhost", "127.0.0.1", "::1"}
# From 2.19 on only what comes from a playbook is a template.
TRUSTED = {"trusted_as_template"} & inspect.signature(DataLoader.load_from_file).parameters.keys()


def is_template(text):
    return "{{" in text or "{%" in text


def files(folders, ends=(".yml", ".yaml")):
    """All YAML files of these folders (or other ones), but for what is no part of a playbook: environments of Python, tests of collections,
    what is hidden."""
    seen = set()
    for top in folders:
        for folder, names, found in os.walk(top, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen or "pyvenv.cfg" in found:
                names[:] = []
                continue
            seen.add(real)
            of_tests = {"tests"} if "ansible_collections" in folder else set()
            names[:] = [name for name in names if name not in ELSEWHERE | of_tests and not name.startswith(".")]
            for name in found:
                if name.endswith(ends):
                    yield os.path.join(folder, name)


class Written:
    """What is written in the playbooks that are run, in those that they import, and in all files of tasks."""

    def __init__(self, secrets, folders, playbooks):
        self.loader = DataLoader()
        self.loader.set_vault_secrets(secrets)
        self.folders = list(folders) + [path for path in C.DEFAULT_ROLES_PATH if os.path.isdir(path)]
        self.run = {os.path.realpath(path) for path in playbooks}

    def all(self):
        """Each value that names a host, with the name of what it is for and the file."""
        waiting, read = sorted(self.run), set()
        while waiting:
            path = waiting.pop()
            if path in read:
                continue
            read.add(path)
            for play in self.load(path) or []:
                name = next((play[key] for key in ("import_playbook", "ansible.builtin.import_playbook") if key in play), "")
                imported = os.path.realpath(os.path.join(os.path.dirname(path), str(name)))
                if name and os.path.isfile(imported):
                    waiting.append(imported)
        for path in sorted(read | {os.path.realpath(path) for path in files(self.folders)}):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    named = WORDS.search(file.read())
            except OSError:
                continue
            content = self.load(path) if named else None
            if path in read or self.is_of_tasks(path, content):
                for name, value in self.values(content):
                    yield name, value, path

    def facts(self):
        """The places that read gathered facts of other hosts than their own."""
        for path in sorted(set(files(self.folders, (".yml", ".yaml", ".j2")))):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield from (f"{path}:{n}" for n, line in enumerate(file, 1) if FACTS.search(line))
            except OSError:
                continue

    def load(self, path):
        # What Ansible cannot read it cannot run either, and it says so itself.
        try:
            content = self.loader.load_from_file(path, **dict.fromkeys(TRUSTED, True))
        except Exception:
            return None
        return content if isinstance(content, (list, dict)) else None

    @staticmethod
    def trusted(text):
        """A text of a playbook as the template that it is."""
        try:
            from ansible.template import trust_as_template
        except ImportError:
            return text
        return trust_as_template(text)

    @staticmethod
    def is_of_tasks(path, content):
        """Whether a file is one of tasks or of a role's variables; not a playbook that nobody runs, nor an inventory."""
        if isinstance(content, dict):
            return bool({"vars", "defaults"} & set(os.path.dirname(path).split(os.sep)))
        return isinstance(content, list) and not any(isinstance(play, dict) and "hosts" in play for play in content)

    def values(self, content):
        if isinstance(content, list):
            for item in content:
                yield from self.values(item)
        elif isinstance(content, dict):
            for key, value in content.items():
                name = str(key).rsplit(".", 1)[-1]
                if name == "add_host":
                    yield from self.added(value)
                if name in ADDRESSES + ARGUMENTS + ("delegate_to",) and isinstance(value, (str, bytes)):
                    yield name, value
                yield from self.values(value)

    @staticmethod
    def added(value):
        if isinstance(value, str):
            value = dict(word.split("=", 1) for word in value.split() if "=" in word)
            yield from ((name, word) for name, word in value.items() if name in ADDRESSES + ARGUMENTS)
        for name in ("name", "hostname", "host"):
            if isinstance(value, dict) and isinstance(value.get(name), str):
                yield "delegate_to", value[name]
