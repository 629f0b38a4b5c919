def test_what_was_synced_survives_a_power_loss(host):
    host.run("echo kept | sudo tee /var/lib/kept >/dev/null && sync")
    proof = host.reboot("power-loss")
    assert proof["boot_id_before"] != proof["boot_id_after"]
    assert host.run("cat /var/lib/kept") == "kept\n"
