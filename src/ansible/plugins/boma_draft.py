"""Tells what a first profile of a host can be made of: its groups, its way in, the playbooks that select it, ports and names
in its variables, tasks that are delegated to other hosts, roles whose names say that they reach out. Contacts no host."""

import importlib.util
import os
import re

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.vars.manager import VariableManager

PORT = re.compile(r"(^|_)(ports?|tcp|published?|listen)(_|$)")
NAME = re.compile(r"(^|_)(domains?|fqdn|hostnames?|server_names?|vhosts?)(_|$)")
# A disk beside the one that a VM boots from. A partition is named by its disk.
DISK = re.compile(r"\A/dev/(vd|sd|xvd)([b-i])\d*\Z")
DOMAIN = re.compile(r"\A[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+\Z", re.IGNORECASE)
# Where playbooks lie by custom; in other folders they are parts of something else.
PLACES = ("", "playbooks", "plays")
# What connects a host with others, by the names that roles have.
REACHES_OUT = re.compile(
    r"mesh|netbird|tailscale|headscale|zerotier|wireguard|vpn|backup|restic|borg|monitor|prometheus|exporter|zabbix|icinga|"
    r"telegraf|loki|promtail|syslog|mail|postfix|smtp|dns|letsencrypt|acme|certbot|register|join|cluster|consul|k3s|runner|agent",
    re.IGNORECASE,
)


def beside_this(name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


written = beside_this("boma_written")


def in_list(value):
    return value if isinstance(value, list) else [value]


def ports(value):
    """The ports in a value: a number, or of `8443:443` and `127.0.0.1:8443:443/tcp` the one that is open to others."""
    for one in in_list(value):
        if isinstance(one, dict):
            one = one.get("port", one.get("published", ""))
        words = str(one).split("/")[0].split(":")
        if len(words) == 3 and words[0].startswith("127."):
            continue
        word = words[-2] if len(words) > 1 else words[0]
        if word.isdigit() and 0 < int(word) < 65536 and not isinstance(one, bool):
            yield int(word)


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        asked = self._task.args
        self.repo, self.name = asked["repo"], asked["host"]
        self.loader = DataLoader()
        self.loader.set_vault_secrets(self._loader._vault.secrets)
        self.loader.set_basedir(self.repo)
        self.inventory = InventoryManager(loader=self.loader, sources=[asked["inventory"]])
        self.texts = written.Written(self._loader._vault.secrets, [self.repo], [])
        host = self.inventory.get_host(self.name)
        found = {"hosts": sorted(self.inventory.hosts), "host": None}
        if host is not None:
            found["host"] = self.draft(host)
        return {"changed": False, "boma_resolved": found}

    def draft(self, host):
        groups = self.inventory.groups
        playbooks, roles = self.playbooks(host)
        variables = VariableManager(loader=self.loader, inventory=self.inventory).get_vars(host=host, include_hostvars=True)
        own = dict(self.defaults(roles, variables))
        templar = Templar(loader=self.loader, variables={**own, **variables})
        all_of_it = {**own, **{name: variables[name] for name in variables if not name.startswith("ansible_")}}
        resolved = dict(self.resolved(all_of_it, templar))
        return {
            "groups": sorted(n for n, g in groups.items() if n not in ("all", "ungrouped") and host in g.hosts),
            "user": self.way(("ansible_ssh_user", "ansible_user"), variables, templar),
            "port": self.way(("ansible_ssh_port", "ansible_port"), variables, templar),
            "playbooks": playbooks,
            "ports": {name: sorted(set(ports(value))) for name, value in resolved.items() if PORT.search(name) and set(ports(value))},
            "names": sorted({str(one).lower() for name, value in resolved.items() if NAME.search(name) for one in in_list(value)
                             if DOMAIN.match(str(one))}),
            "disks": sorted({match.group(0).rstrip("0123456789") for value in resolved.values() for one in in_list(value)
                             if (match := DISK.match(str(one)))}),
            "delegated": list(self.delegated(roles)),
            "roles": sorted(name for name in roles if REACHES_OUT.search(name)),
            "strangers": list(self.strangers()),
        }

    @staticmethod
    def way(names, variables, templar):
        value = next((variables[name] for name in names if variables.get(name) not in (None, "")), None)
        return None if value is None else str(templar.template(value))

    @staticmethod
    def resolved(variables, templar):
        for name, value in variables.items():
            if PORT.search(name) or NAME.search(name) or "/dev/" in str(value):
                try:
                    yield name, templar.template(value)
                except Exception:
                    # What cannot be resolved without facts is no hint.
                    continue

    def playbooks(self, host):
        """The playbooks of which a play selects the host, with the roles of these plays; `site` is all, where there is one."""
        found, roles = {}, {}
        for place in PLACES:
            folder = os.path.join(self.repo, place)
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                if name.endswith((".yml", ".yaml")):
                    path = os.path.normpath(os.path.join(place, name))
                    plays, of_it = self.plays(os.path.join(self.repo, path), host)
                    if plays:
                        found[path], roles[path] = plays, of_it
        sites = [path for path in found if os.path.splitext(os.path.basename(path))[0] in ("site", "main")]
        chosen = sites[:1] or sorted(found)
        return chosen, sorted({role for path in chosen for role in roles[path]})

    def plays(self, path, host, seen=()):
        content = self.texts.load(path)
        plays, roles = 0, set()
        for play in content if isinstance(content, list) else []:
            if not isinstance(play, dict):
                continue
            imported = play.get("import_playbook", play.get("ansible.builtin.import_playbook"))
            if imported and path not in seen:
                more, of_it = self.plays(os.path.join(os.path.dirname(path), str(imported)), host, (*seen, path))
                plays, roles = plays + more, roles | of_it
            if "hosts" in play and not written.is_template(str(play["hosts"])):
                pattern = play["hosts"]
                if host in self.inventory.get_hosts(pattern if isinstance(pattern, list) else str(pattern)):
                    plays += 1
                    roles |= set(self.roles(play))
        return plays, roles

    def roles(self, content):
        if isinstance(content, list):
            for one in content:
                yield from self.roles(one)
        elif isinstance(content, dict):
            for key, value in content.items():
                name = str(key).rsplit(".", 1)[-1]
                if name == "roles":
                    for role in in_list(value):
                        yield str(role.get("role", role.get("name", "")) if isinstance(role, dict) else role)
                elif name in ("import_role", "include_role") and isinstance(value, dict):
                    yield str(value.get("name", ""))
                else:
                    yield from self.roles(value)

    def folders(self, roles):
        for path in self.texts.folders:
            for folder in (path, os.path.join(path, "roles")):
                yield from (os.path.join(folder, role) for role in roles if os.path.isdir(os.path.join(folder, role, "tasks")))

    def defaults(self, roles, variables):
        for folder in self.folders(roles):
            content = self.texts.load(os.path.join(folder, "defaults", "main.yml"))
            yield from (content.items() if isinstance(content, dict) else ())

    def delegated(self, roles):
        """Tasks that are delegated to another host, with the variable that gates each, if one does."""
        for folder in sorted(set(map(os.path.realpath, self.folders(roles)))):
            for path in sorted(set(written.files([os.path.join(folder, "tasks"), os.path.join(folder, "handlers")]))):
                for task in self.tasks(self.texts.load(path)):
                    to = str(task["delegate_to"])
                    if to in written.HERE or written.is_template(to) or to == self.name:
                        continue
                    when = in_list(task.get("when", ""))
                    gate = re.match(r"\A(\w+)(\s*\|\s*(default\((true|True)\)|bool))*\Z", str(when[0]).strip()) if len(when) == 1 else None
                    yield {"task": str(task.get("name", to)), "file": os.path.relpath(path, os.path.realpath(self.repo)), "to": to,
                           "gate": gate.group(1) if gate else None}

    def tasks(self, content):
        for one in content if isinstance(content, list) else []:
            if isinstance(one, dict):
                if isinstance(one.get("delegate_to"), str):
                    yield one
                for block in ("block", "rescue", "always"):
                    yield from self.tasks(one.get(block))

    def strangers(self):
        """Variables of hosts and groups that the inventory does not have."""
        for kind, known in (("host_vars", self.inventory.hosts), ("group_vars", self.inventory.groups)):
            for base in {self.repo, *(os.path.dirname(str(source)) for source in self.inventory._sources), *map(str, self.inventory._sources)}:
                folder = os.path.join(base, kind)
                for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                    if not name.startswith(".") and os.path.splitext(name)[0] not in known and name not in known:
                        yield os.path.relpath(os.path.join(folder, name), self.repo)
