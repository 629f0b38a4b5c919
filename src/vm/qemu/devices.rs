//! Which devices a QEMU has.

/// Those that are not in the text of `-device help` (`name "pvpanic-pci", bus PCI`).
pub fn lacking<'n>(help: &str, names: &[&'n str]) -> Vec<&'n str> {
    let has = |device: &str| help.lines().any(|line| line.starts_with(&format!("name \"{device}\"")));
    names.iter().copied().filter(|device| !has(device)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_counts_by_its_whole_name() {
        let help = "name \"virtio-blk-pci\", bus PCI, alias \"virtio-blk\"\nname \"virtio-net-pci\", bus PCI\n\
                    name \"vhost-user-rng-pci\", bus PCI\nname \"pvpanic\", bus ISA\nname \"i6300esb\", bus PCI\n";
        let wanted = ["virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci", "pvpanic-pci", "i6300esb"];
        assert_eq!(lacking(help, &wanted), ["virtio-rng-pci", "pvpanic-pci"]);
    }
}
