"""Which other hosts an ssh connection goes by: bastions in ssh's arguments and configuration. Asks ssh itself, which makes
no connection for that."""

import os
import re
import shlex
import subprocess

from ansible import constants as C
from ansible.plugins.loader import connection_loader

# The arguments that ssh, sftp and scp get, in their order (`ansible-doc -t connection ssh`, ansible-core 2.19).
COMMON = ("ssh_args", "ssh_common_args")
OWN = ("ssh_extra_args", "sftp_extra_args", "scp_extra_args")
# Ways of connecting that are not by ssh.
OTHER = re.compile(r"^(?!ssh$|smart$|paramiko)")
# An address, or a name with a dot in it, perhaps with a user and a port.
HOST = re.compile(r"^(?:[\w.+-]+@)?\[?([0-9a-fA-F:]*:[0-9a-fA-F:.]+|[\w-]+(?:\.[\w-]+)+)\]?(?::\d+)?\.?$")


class Ways:
    """The bastions of all hosts."""

    def __init__(self):
        connection_loader.get("ssh", class_only=True)
        self.asked = {}

    def of(self, host, address, variables, templar):
        """Where ssh itself says that the host is, and every bastion with where it is; names or addresses."""
        if OTHER.search(str(variables.get("ansible_connection") or "ssh")):
            return set(), {}
        target, bastions = set(), {}
        common = self.arguments(COMMON, variables, templar)
        for own in OWN:
            args = common + self.arguments([own], variables, templar)
            if args != common or own == OWN[0]:
                target.add(self.follow(args, address, bastions, host))
        command = variables.get("ansible_paramiko_proxy_command")
        if command:
            self.command(str(templar.template(command)), address, bastions)
        return target - {address}, bastions

    def arguments(self, options, variables, templar):
        args = []
        for option in options:
            value = C.config.get_config_value(option, plugin_type="connection", plugin_name="ssh", variables=variables)
            value = str(templar.template(value) or "")
            if "{{" in value or "{%" in value:
                raise ValueError("the template in %s was not resolved" % option)
            args += shlex.split(value)
        return args

    def ask(self, args):
        """What ssh would do with these arguments, by the names of its settings."""
        key = tuple(args)
        if key not in self.asked:
            done = subprocess.run(["ssh", "-G", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
            if done.returncode:
                said = done.stderr.strip().split("\n")[-1][:200]
                raise ValueError("ssh does not understand its arguments: %s" % said)
            pairs = [line.split(" ", 1) for line in done.stdout.split("\n") if " " in line]
            self.asked[key] = {name: value for name, value in reversed(pairs)}
        return self.asked[key]

    def follow(self, args, address, bastions, host=None):
        """Note the bastions on the way to a host; where it is by ssh's configuration."""
        told = self.ask(args + [address])
        # For a bastion ssh reads its configuration again, and no other argument (ssh_config(5), ProxyJump).
        of_bastion = [word for n, arg in enumerate(args) if arg == "-F" for word in args[n:n + 2]]
        for hop in told.get("proxyjump", "none").split(","):
            if hop != "none":
                self.bastion(of_bastion, hop, bastions)
        command = told.get("proxycommand", "none")
        if command != "none":
            self.command(command, address, bastions)
        return told.get("hostname", address)

    def bastion(self, args, hop, bastions):
        name = re.sub(r"^ssh://", "", hop).rsplit("@", 1)[-1]
        name = re.sub(r":\d+$", "", name) if name.count(":") == 1 or "]" in name else name
        name = name.strip("[]")
        if name and name not in bastions:
            bastions[name] = set()
            bastions[name] |= {self.follow(args, name, bastions)} - {name}

    def command(self, command, address, bastions):
        """A command that makes the connection. If it is ssh, ssh knows the host; otherwise its words are looked through."""
        words = shlex.split(command)
        for token, text in (("%h", address), ("%p", "22"), ("%r", "root"), ("%n", address)):
            words = [word.replace(token, text) for word in words]
        at = next((n for n, word in enumerate(words) if os.path.basename(word) == "ssh"), None)
        if at is not None and not set(words) & {"|", ";", "&&", "||", "&"}:
            told = self.ask(words[at + 1:])
            self.bastion([word for n, arg in enumerate(words) if arg == "-F" for word in words[n:n + 2]],
                         told.get("host") or told["hostname"], bastions)
            bastions.setdefault(told["hostname"], set())
            return
        found = {match.group(1) for match in map(HOST.match, words[1:]) if match} - {address}
        if not found:
            raise ValueError("its ProxyCommand (%s …) does not say in plain words by which host it goes" % words[0])
        for name in found:
            bastions.setdefault(name, set())
