"""Tells what a first profile of a host can be made of: its groups, its way in, the playbooks that select it, ports, names, disks,
interfaces and networks in its variables, tasks that are delegated to other hosts, roles whose names say that they reach out.
Contacts no host."""

import importlib.util
import ipaddress
import os
import re

from ansible import constants as C
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.vars.manager import VariableManager

PORT = re.compile(r"(^|_)(ports?|tcp|published?|listen)(_|$)")
NAME = re.compile(r"(^|_)(domains?|fqdn|hostnames?|server_names?|vhosts?)(_|$)")
# A disk beside the one that a VM boots from, by its name or by the serial number that a VM can have. A partition is named by its
# disk, also in a command's text.
DISK = re.compile(r"/dev/(?:vd|sd|xvd)[b-i](?=\d*(?![\w-]))|/dev/disk/by-id/(?:virtio-|scsi-0QEMU_QEMU_HARDDISK_)[\w-]+?(?=(?:-part\d+)?(?![\w-]))")
# A network card, by the names that variables have and by those that kernels and systemd give.
CARD = re.compile(r"(^|_)(interfaces?|ifaces?|ifname|nics?|netdev|dev|device|wan|uplink)(_|$)")
CARD_NAME = re.compile(r"\A(eth\d+|en[opsx][a-z0-9]+)\Z")
# Who may come in, by the names that variables have: a firewall or sshd that lets only these in keeps us out.
COMES_IN = re.compile(r"(^|_)(ssh|admins?|mgmt|management|bastions?|jump|jumphosts?|trusted|office|allow|allowed|permitted|whitelist)(_|$)")
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


def leaves(value):
    """The values in a value, however deep."""
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from leaves(one)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    else:
        yield value


def is_network(text):
    try:
        return isinstance(text, str) and bool(ipaddress.ip_network(str(text), strict=False))
    except ValueError:
        return False


# A condition that one variable closes: by `false`, or with `not` by `true`.
GATE = re.compile(r"\A(not\s+)?(\w+)((\s*\|\s*(d|default)\s*\(\s*\w+\s*\))?(\s*\|\s*bool)?)\Z")


def conditions(when):
    """What must hold, each part by itself, without what only groups it."""
    for one in in_list(when):
        text = str(one).strip()
        for part in [text] if re.search(r"\bor\b", text) else re.split(r"\band\b", text):
            part = part.strip()
            while part.startswith("(") and part.endswith(")"):
                part = part[1:-1].strip()
            # Brackets about what a filter is put on: `not (x | default(false))`, `(x | default(true)) | bool`.
            yield re.sub(r"\A(not\s*)?\((\w+(?:\s*\|\s*\w+(?:\(\w+\))?)*)\)", r"\1 \2", part).strip()


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
        playbooks, plays = self.playbooks(host)
        roles = self.with_dependencies(plays)
        variables = VariableManager(loader=self.loader, inventory=self.inventory).get_vars(host=host, include_hostvars=True)
        own = dict(self.defaults(roles))
        self.templar = templar = Templar(loader=self.loader, variables={**own, **variables})
        all_of_it = {**own, **{name: variables[name] for name in variables if not name.startswith("ansible_")}}
        self.values = resolved = dict(self.resolved(all_of_it, templar))
        by_play = [play["remote_user"] for play in plays if isinstance(play.get("remote_user"), str)]
        return {
            "groups": sorted(n for n, g in groups.items() if n not in ("all", "ungrouped") and host in g.hosts),
            "user": self.way(("ansible_ssh_user", "ansible_user"), variables, templar, [*by_play, C.DEFAULT_REMOTE_USER]),
            "port": self.way(("ansible_ssh_port", "ansible_port"), variables, templar, [C.DEFAULT_REMOTE_PORT]),
            "playbooks": playbooks,
            "ports": {name: sorted(set(ports(value))) for name, value in resolved.items() if PORT.search(name) and set(ports(value))},
            "names": sorted({str(one).lower() for name, value in resolved.items() if NAME.search(name) for one in in_list(value)
                             if DOMAIN.match(str(one))}),
            "disks": sorted({disk for text in [*leaves(list(resolved.values())), *self.texts_of(plays, roles)] for disk in DISK.findall(str(text))}),
            "networks": {name: [str(one) for one in value] for name, value in resolved.items()
                         if COMES_IN.search(name) and isinstance(value, list) and value and all(map(is_network, value))},
            "interfaces": {name: str(value) for name, value in resolved.items() if CARD.search(name) and CARD_NAME.match(str(value))},
            "delegated": list(self.delegated(plays, roles)),
            "roles": sorted(name for name in roles if REACHES_OUT.search(name)),
            "strangers": list(self.strangers()),
            "by_name": sorted(self.by_name()),
        }

    @staticmethod
    def way(names, variables, templar, others):
        """What the inventory says, else what the first play or ansible.cfg does."""
        said = [variables.get(name) for name in names] + others
        value = next((one for one in said if one not in (None, "")), None)
        return None if value is None else str(templar.template(value))

    @staticmethod
    def resolved(variables, templar):
        for name, value in variables.items():
            if name in ("groups", "hostvars", "vars", "omit"):
                continue
            try:
                yield name, templar.template(value)
            except Exception:
                # What cannot be resolved without facts is no hint.
                continue

    def playbooks(self, host):
        """The playbooks of which a play selects the host, with these plays; `site` is all, where there is one."""
        found = {}
        for place in PLACES:
            folder = os.path.join(self.repo, place)
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                if name.endswith((".yml", ".yaml")):
                    path = os.path.normpath(os.path.join(place, name))
                    if plays := list(self.plays(os.path.join(self.repo, path), host)):
                        found[path] = plays
        sites = [path for path in found if os.path.splitext(os.path.basename(path))[0] in ("site", "main")]
        chosen = sites[:1] or sorted(found)
        return chosen, [play for path in chosen for play in found[path]]

    def plays(self, path, host, seen=()):
        """The plays of a playbook and of those that it imports that select the host, each with its file."""
        content = self.texts.load(path)
        for play in content if isinstance(content, list) else []:
            if not isinstance(play, dict):
                continue
            imported = play.get("import_playbook", play.get("ansible.builtin.import_playbook"))
            if imported and path not in seen:
                yield from self.plays(os.path.join(os.path.dirname(path), str(imported)), host, (*seen, path))
            if "hosts" in play and not written.is_template(str(play["hosts"])):
                pattern = play["hosts"]
                if host in self.inventory.get_hosts(pattern if isinstance(pattern, list) else str(pattern)):
                    yield {**play, "boma_file": path}

    def roles(self, content):
        if isinstance(content, list):
            for one in content:
                yield from self.roles(one)
        elif isinstance(content, dict):
            for key, value in content.items():
                name = str(key).rsplit(".", 1)[-1]
                if name in ("roles", "dependencies"):
                    for role in in_list(value):
                        yield str(role.get("role", role.get("name", "")) if isinstance(role, dict) else role)
                elif name in ("import_role", "include_role") and isinstance(value, dict):
                    yield str(value.get("name", ""))
                else:
                    yield from self.roles(value)

    def with_dependencies(self, plays):
        """The roles of the plays, with those that they depend on and include."""
        found, waiting = set(), list(self.roles(plays))
        while waiting:
            role = waiting.pop()
            if role in found:
                continue
            found.add(role)
            for folder in self.folders([role]):
                for path in written.files([os.path.join(folder, "meta"), os.path.join(folder, "tasks")]):
                    waiting += self.roles(self.texts.load(path))
        return sorted(found)

    def folders(self, roles):
        for path in self.texts.folders:
            for folder in (path, os.path.join(path, "roles")):
                yield from (os.path.join(folder, role) for role in roles if os.path.isdir(os.path.join(folder, role, "tasks")))

    def texts_of(self, plays, roles):
        """What is written in the plays and in the files of the roles."""
        yield from map(str, plays)
        folders = sorted(set(map(os.path.realpath, self.folders(roles))))
        for path in sorted(set(written.files([os.path.join(folder, part) for folder in folders for part in ("tasks", "vars", "templates")], (".yml", ".yaml", ".j2")))):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield "".join(line for line in file if not line.lstrip().startswith("#"))
            except OSError:
                continue

    def defaults(self, roles):
        for folder in self.folders(roles):
            for part in ("defaults", "vars"):
                content = self.texts.load(os.path.join(folder, part, "main.yml"))
                yield from (content.items() if isinstance(content, dict) else ())

    def delegated(self, plays, roles):
        """Tasks that are delegated to another host, with the variable that gates each, if one does."""
        parts = ("pre_tasks", "tasks", "post_tasks", "handlers")
        files = [(play["boma_file"], play.get(part)) for play in plays for part in parts]
        for folder in sorted(set(map(os.path.realpath, self.folders(roles)))):
            paths = sorted(set(written.files([os.path.join(folder, "tasks"), os.path.join(folder, "handlers")])))
            files += [(path, self.texts.load(path)) for path in paths]
        for path, content in files:
            for task, when in self.tasks(content, []):
                to = self.target(str(task["delegate_to"]))
                if to in written.HERE or to == self.name or self.is_this_side(to):
                    continue
                gate, closed = next(self.gates(when), (None, False))
                yield {"task": str(task.get("name", to)), "file": os.path.relpath(os.path.realpath(path), os.path.realpath(self.repo)), "to": to,
                       "gate": gate, "closed": closed}

    def target(self, text):
        """Whom a task is delegated to. What only a run can know (an item of a loop, a fact) stays as it is written."""
        if not written.is_template(text):
            return text
        try:
            return str(self.templar.template(self.texts.trusted(text)))
        except Exception:
            return text

    def is_this_side(self, name):
        host = self.inventory.get_host(name)
        return host is not None and str(host.get_vars().get("ansible_connection", "")) == "local"

    def gates(self, when):
        """The variables of which one alone closes a condition, each with the value that does. One that is more than yes or no
        is read for something else as well."""
        for part in conditions(when):
            match = GATE.match(part)
            if not match or match.group(2) in ("true", "false", "True", "False") or match.group(2).startswith("ansible_"):
                continue
            name, filters = match.group(2), match.group(3)
            if isinstance(self.values.get(name), bool) or (name not in self.values and filters):
                yield name, bool(match.group(1))

    def tasks(self, content, when):
        """The tasks and blocks that are delegated, with all conditions that they are under."""
        for one in content if isinstance(content, list) else []:
            if isinstance(one, dict):
                all_of_it = [*when, *in_list(one["when"])] if "when" in one else when
                if isinstance(one.get("delegate_to"), str):
                    yield one, all_of_it
                    continue
                for block in ("block", "rescue", "always"):
                    yield from self.tasks(one.get(block), all_of_it)

    def by_name(self):
        """The other hosts of which the inventory says no address: a name has to be looked up."""
        for host in self.inventory.get_hosts("all"):
            if host.name == self.name or self.is_this_side(host.name):
                continue
            said = self.address(host)
            if not is_network(said):
                yield str(said)

    def address(self, host):
        variables = VariableManager(loader=self.loader, inventory=self.inventory).get_vars(host=host, include_hostvars=False)
        said = next((variables[name] for name in written.ADDRESSES if variables.get(name)), host.name)
        try:
            return Templar(loader=self.loader, variables=variables).template(said)
        except Exception:
            return said

    def strangers(self):
        """Variables of hosts and groups that the inventory does not have."""
        for kind, known in (("host_vars", self.inventory.hosts), ("group_vars", self.inventory.groups)):
            for base in {self.repo, *(os.path.dirname(str(source)) for source in self.inventory._sources), *map(str, self.inventory._sources)}:
                folder = os.path.join(base, kind)
                for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                    if not name.startswith(".") and os.path.splitext(name)[0] not in known and name not in known:
                        yield os.path.relpath(os.path.join(folder, name), self.repo)
