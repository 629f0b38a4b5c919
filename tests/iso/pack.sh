#!/bin/sh
# One ISO of the parts in $1: to the file $2, with kernel arguments $3. Without a serial console if $4 is `screen`.
set -eu
base=$1 out=$2 args=$3 console=$4
cd=$base/cd
serial= terminal=
if [ "$console" = serial ]; then
    serial='SERIAL 0 115200'
    terminal='serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console'
fi
cat > "$cd/isolinux/isolinux.cfg" <<END
$serial
DEFAULT live
PROMPT 1
TIMEOUT 10

LABEL live
  MENU LABEL ^Live system
  LINUX /live/vmlinuz
  INITRD /live/initrd
  APPEND $args

LABEL debug
  MENU LABEL Live system, ^debug
  LINUX /live/vmlinuz
  INITRD /live/initrd
  APPEND $args systemd.log_level=debug
END
cat > "$cd/boot/grub/grub.cfg" <<END
$terminal
set default=0
set timeout=1
menuentry 'Live system' --class gnu-linux {
  linux /live/vmlinuz $args
  initrd /live/initrd
}
menuentry 'Live system, debug' --class gnu-linux {
  linux /live/vmlinuz $args systemd.log_level=debug
  initrd /live/initrd
}
END
xorriso -as mkisofs -quiet -R -J -V BOMA_TEST -o "$out" \
    -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table \
    -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin \
    -eltorito-alt-boot -e boot/grub/efi.img -no-emul-boot -isohybrid-gpt-basdat "$cd"
