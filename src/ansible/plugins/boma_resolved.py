"""Tells which way a task's connection would go: what the connection plugin itself has resolved. Makes no connection."""

from ansible.plugins.action import ActionBase

TOLD = ("host", "port", "remote_user", "private_key_file", "host_key_checking", "ssh_args", "ssh_common_args",
        "ssh_extra_args", "ssh_executable")


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        connection = self._connection
        told = {"connection": connection.transport}
        # Another plugin has other options: its name alone will be refused.
        if connection.transport == "ssh":
            told.update({name: connection.get_option(name) for name in TOLD})
            told["password"] = bool(connection.get_option("password"))
        return {"changed": False, "boma_resolved": told}
