"""A mirrored host as a fixture: `host.reboot(mode)` comes back with the proof, or fails the test with the reason."""

import json
import os
import subprocess

import pytest


class Host:
    def __init__(self, name):
        self.name = name

    def boma(self, *words):
        """Run boma-qemu; what it prints for programs: one object for each event."""
        argv = [os.environ.get("BOMA", "boma-qemu"), "--json", *words]
        ran = subprocess.run(argv, capture_output=True, text=True)
        if ran.returncode != 0:
            pytest.fail(f"{' '.join(argv)} ended with {ran.returncode}:\n{ran.stderr}", pytrace=False)
        return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]

    def run(self, command):
        """What a command in the guest prints."""
        argv = [os.environ.get("BOMA", "boma-qemu"), "ssh", self.name, "--", command]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def reboot(self, mode="guest"):
        """Restart the host, and return the proof: the mode, the boot ids before and after, and the evidence."""
        results = [one["result"] for one in self.boma("reboot", self.name, "--via", mode) if one["event"] == "result"]
        return results[-1]["reboot"]


@pytest.fixture
def host():
    return Host(os.environ["BOMA_HOST"])
