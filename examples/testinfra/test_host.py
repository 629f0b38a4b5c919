"""What is true of every Debian host that is logged in to."""


def test_sshd_is_enabled_and_runs(host):
    sshd = host.service("ssh")
    assert sshd.is_enabled and sshd.is_running


def test_the_root_file_system_is_writable(host):
    assert "rw" in host.mount_point("/").options


def test_it_is_debian(host):
    assert host.system_info.distribution == "debian"
