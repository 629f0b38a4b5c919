"""Looks at a Docker host from inside, until all is well or the time is up. Runs there, as root, Python 3.12 or later.

Usage: inside.py CONTAINER PORT NAME SECONDS [MESH [COORDINATOR]]

CONTAINER publishes PORT; NAME is what it asks the resolver for. MESH is the mesh's interface, and COORDINATOR the
container of its coordinator; where one is empty, it is not looked at. Prints one line of JSON:
{check: {"id": check, "ok": bool, "looked": bool, "detail": text}}. What could not be asked (a program that is missing,
a service manager or a kernel that does not answer, a time-out) did not look: it is neither well nor ill.
"""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request

TRY_SECONDS = 2.0
PERIOD_SECONDS = 0.1
COMMAND_SECONDS = 20
# All that `systemctl is-active` says of a unit.
UNIT_STATES = {
    "active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing", "unknown",
}


class CannotLook(Exception):
    """Why there is no answer, good or bad. Where waiting cannot help, it is for good."""

    def __init__(self, why, for_good=False):
        super().__init__(why)
        self.for_good = for_good


def run(*argv):
    """A command's exit code, its output and its errors."""
    try:
        done = subprocess.run(argv, capture_output=True, errors="replace", timeout=COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CannotLook(f"{argv[0]} did not answer within {COMMAND_SECONDS} s") from None
    except OSError as error:
        raise CannotLook(f"cannot run {argv[0]}: {error.strerror}", for_good=True) from None
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def no_answer(program, code, said):
    return CannotLook(f"{program} gave no answer (exit code {code}): {said or 'it said nothing'}")


def docker_active():
    code, state, error = run("systemctl", "is-active", "docker.service")
    # It says the state of a unit that does not run, too; without one, nothing was asked.
    if state not in UNIT_STATES:
        raise no_answer("systemctl", code, error or state)
    return state == "active", f"docker.service is {state}"


def resolver():
    """The first resolver that is not this host itself: something beyond the host that answers."""
    for path in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                for address in re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$", file.read(), re.MULTILINE):
                    if not address.startswith("127."):
                        return address
    return None


def socket_in(pid):
    """A UDP socket in the network namespace of process `pid`: it stays there when this thread goes home."""
    with open("/proc/self/ns/net", "rb") as home, open(f"/proc/{pid}/ns/net", "rb") as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        finally:
            os.setns(home.fileno(), os.CLONE_NEWNET)


def inspected(container, form):
    """What Docker says of a container; none if there is no such container, and why."""
    code, said, error = run("docker", "inspect", "--format", form, container)
    if code == 0:
        return said, error
    # A daemon that is dead runs no container, and one that does not know it neither.
    if not re.search(r"no such (object|container)|cannot connect to the docker daemon", error, re.IGNORECASE):
        raise no_answer("docker", code, error or said)
    return None, error


def pid_of(container):
    """The process of a container; none if it does not run, and why."""
    pid, error = inspected(container, "{{.State.Pid}}")
    if pid is not None and pid.isdigit() and pid != "0":
        return pid, ""
    return None, error or f"pid {pid}"


def container_reaches_out(container, name):
    """A question to the host's resolver, asked from the container's network. Any answer to it will do."""
    pid, why = pid_of(container)
    if pid is None:
        return False, f"container {container} does not run ({why})"
    server = resolver()
    if server is None:
        raise CannotLook("the host has no resolver outside itself, so there is nothing to reach")
    number = os.urandom(2)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = number + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    way = f"from container {container} to resolver {server}"
    try:
        asking = socket_in(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False, f"container {container} has just ended"
    except OSError as error:
        raise CannotLook(f"cannot enter the network of container {container}: {error}") from None
    try:
        with asking:
            asking.settimeout(TRY_SECONDS)
            asking.connect((server, 53))
            asking.send(question)
            answer = asking.recv(4096)
    except OSError as error:
        return False, f"{way}: {error}"
    return answer[:2] == number, f"{way}: an answer of {len(answer)} bytes"


def port_is_forwarded(port):
    """Whether Docker's DNAT rule for the port has seen packets.

    Where the rule is gone, docker-proxy may answer in its place, and hide that nothing is forwarded."""
    code, rules, error = run("iptables", "-t", "nat", "-nvxL", "DOCKER")
    if code != 0 and "No chain/target/match by that name" not in error:
        raise no_answer("iptables", code, error)
    found = re.search(rf"^\s*(\d+)\s+\d+\s+DNAT\s.*\bdpt:{port}\b.*$", rules, re.MULTILINE)
    if not found:
        return False, f"Docker has no DNAT rule for port {port}, so only docker-proxy could answer"
    return int(found[1]) > 0, f"{found[1]} packets through the DNAT rule for port {port}"


def forward_chain_accepts():
    """Whether the text of the firewall's forward chain lets anything through. A hint, not a proof: a rule may be there
    and never match."""
    code, chain, error = run("nft", "list", "chain", "inet", "filter", "forward")
    if code != 0 and "No such file or directory" in error:
        return True, "there is no chain inet filter forward"
    if code != 0:
        raise no_answer("nft", code, error)
    text = " ".join(chain.split())
    return "policy accept" in text or " accept " in text, text


def no_failed_units():
    code, failed, error = run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager")
    if code != 0:
        raise no_answer("systemctl", code, error or failed)
    return not failed, f"failed: {' '.join(line.split()[0] for line in failed.splitlines())}" if failed else "none"


def mesh_is_up(interface):
    code, found, error = run("ip", "-4", "-o", "address", "show", "dev", interface)
    if code != 0 and "does not exist" not in error:
        raise no_answer("ip", code, error)
    address = re.search(r" inet (\S+)", found)
    return address is not None, f"{interface} has {address[1]}" if address else f"{interface}: {error or 'no address'}"


def coordinator_answers(container):
    """Whether it hands out an address; its last words, if not. One that ends again and again runs now and then."""
    form = "{{.State.Status}} {{.RestartCount}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    state, error = inspected(container, form)
    if state is None:
        return False, f"container {container} does not run ({error})"
    status, restarts, *address = state.split()
    try:
        with urllib.request.urlopen(f"http://{address[0]}:8080/api/peer", timeout=TRY_SECONDS) as answer:
            return True, f"container {container} hands out {answer.read(100).decode(errors='replace').strip()}"
    except (OSError, IndexError, ValueError) as why:
        _, said, words = run("docker", "logs", "--tail", "2", container)
        last = " ".join(f"{said} {words}".split())
        how = f"{status}, restarted {restarts} times, and does not answer ({why})"
        return False, f"container {container} is {how}; its last words: {last}"


def look(name, check):
    """What a check says, and whether it need not be asked again."""
    try:
        ok, detail = check()
    except CannotLook as why:
        return {"id": name, "ok": False, "looked": False, "detail": f"could not look: {why}"}, why.for_good
    return {"id": name, "ok": ok, "looked": True, "detail": detail}, ok


def main(container, port, name, seconds, mesh="", coordinator=""):
    todo = {
        "docker_active": docker_active,
        "container_reaches_out": lambda: container_reaches_out(container, name),
        "port_is_forwarded": lambda: port_is_forwarded(port),
        "forward_chain_accepts": forward_chain_accepts,
        "no_failed_units": no_failed_units,
    }
    if mesh:
        todo["mesh_is_up"] = lambda: mesh_is_up(mesh)
    if coordinator:
        todo["coordinator_answers"] = lambda: coordinator_answers(coordinator)
    seen = {}
    end = time.monotonic() + float(seconds)
    while todo:
        for check in list(todo):
            seen[check], done = look(check, todo[check])
            if done:
                del todo[check]
        if time.monotonic() >= end:
            break
        time.sleep(PERIOD_SECONDS if todo else 0)
    print(json.dumps(seen))


main(*sys.argv[1:])
