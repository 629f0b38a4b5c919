#!/bin/sh
# mmdebstrap's hook when all packages are there: the tree of packages becomes the live system. $1 is the tree.
set -eu
root=$1
in_root() { chroot "$root" "$@"; }

cp -a "$BOMA_ISO/root/." "$root/"
chown -R 0:0 "$root/etc/systemd" "$root/etc/sudoers.d" "$root/etc/bash.bashrc" "$root/usr/local/sbin"
chmod 755 "$root/usr/local/sbin/pre-nixos"
chmod 440 "$root/etc/sudoers.d/wheel"

echo nixos > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 nixos\n' > "$root/etc/hosts"
in_root groupadd --system wheel
in_root useradd --create-home --shell /bin/bash --groups wheel nixos
echo nixos:nixos | in_root chpasswd
in_root passwd --lock root
# Debian's own files for root and new users set another prompt.
rm -f "$root/root/.bashrc" "$root/home/nixos/.bashrc"
printf '. /etc/bash.bashrc\n' | tee "$root/root/.bashrc" > "$root/home/nixos/.bashrc"

in_root systemctl enable systemd-networkd.service pre-nixos.service boma-noise.service
# What a machine needs that is installed and lives on, and this one does not: a third of its boot.
in_root systemctl mask $(cat "$BOMA_ISO/masked")
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/usr/lib/systemd/system-generators/*; do
    name=$(basename "$generator")
    [ "$name" = systemd-getty-generator ] || ln -s /dev/null "$root/etc/systemd/system-generators/$name"
done
: > "$root/etc/motd"
# Drivers that an emulated processor asks for, and nothing here does.
printf 'blacklist %s\n' kvm_amd kvm_intel aesni_intel ghash_clmulni_intel cryptd psmouse sg efi_pstore \
    > "$root/etc/modprobe.d/unused.conf"

# Empty, not absent: a first boot would ask and preset. What /usr is newer for has been done by the packages.
: > "$root/etc/machine-id"
: > "$root/etc/fstab"
touch "$root/etc/.updated" "$root/var/.updated"
