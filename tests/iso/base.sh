#!/bin/sh
# The parts that all variants share, in the folder $1: kernel, initial RAM disk, squashfs, boot loaders' programs.
#
# It runs as root in mount and pid namespaces of its own. No mirror is named: mmdebstrap's default is what the machine uses.
set -eu
out=$1
recipe=$(cd "$(dirname "$0")" && pwd)
root=$out/root

BOMA_ISO=$recipe mmdebstrap --quiet --mode=root --variant=minbase --architectures=amd64 --format=directory \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include=linux-image-cloud-amd64,tiny-initramfs,systemd-sysv,udev,dbus,sudo,lvm2,iproute2,kmod,busybox-static,bash \
    --customize-hook='sh "$BOMA_ISO/setup.sh" "$1"' trixie "$root"

mkdir -p "$out/cd/live" "$out/cd/isolinux" "$out/cd/boot/grub"
cp "$root"/boot/vmlinuz-* "$out/cd/live/vmlinuz"

# The initial RAM disk: busybox, our init, and what it takes to reach a CD and unpack what is on it. The tree's own tools
# make it: the machine need not have them.
kernel=$(basename "$root"/lib/modules/*)
initrd=$root/initrd
modules=$initrd/lib/modules/$kernel
mkdir -p "$initrd/bin" "$modules"
cp "$root/bin/busybox" "$initrd/bin/"
cp "$recipe/init" "$recipe/break" "$initrd/"
chmod 755 "$initrd/init" "$initrd/break"
for module in ata_piix ahci sr_mod sd_mod virtio_scsi virtio_blk isofs loop squashfs overlay; do
    chroot "$root" modprobe --set-version "$kernel" --show-depends "$module"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
    # Unpacked: busybox and the kernel need nothing to read them then.
    xz -dc "$root/$file" > "$modules/$(basename "$file" .xz)"
done
chroot "$root" depmod --basedir /initrd "$kernel" 2>/dev/null
chroot "$root" sh -c 'cd /initrd && find . | sort | busybox cpio -o -H newc -R 0:0 2>/dev/null' | zstd -q -10 > "$out/cd/live/initrd"
rm -r "$initrd"

mksquashfs "$root" "$out/cd/live/root.squashfs" -comp zstd -Xcompression-level 6 -quiet -no-progress -e boot
: > "$out/cd/boma-test-iso"

cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$out/cd/isolinux/"
# On a CD, GRUB's root is the ISO and not the EFI image that it was started from: it looks for the ISO, and for its
# configuration there.
cat > "$out/efi.cfg" <<'END'
search --no-floppy --file --set=root /boma-test-iso
set prefix=($root)/boot/grub
END
grub-mkimage -O x86_64-efi -o "$out/bootx64.efi" -p /boot/grub -c "$out/efi.cfg" \
    normal linux iso9660 fat part_gpt part_msdos search search_fs_file configfile serial terminal echo test boot
efi=$out/cd/boot/grub/efi.img
mformat -C -i "$efi" -f 2880 -N 0 ::
mmd -i "$efi" ::/EFI ::/EFI/BOOT
mcopy -i "$efi" "$out/bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI

rm -rf --one-file-system "$root"
