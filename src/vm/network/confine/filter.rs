//! A filter of system calls (seccomp(2)) for what no namespace holds.
//!
//! Sockets of the families that a playbook needs, and no others: a vsock leads to the hypervisor, whatever the
//! network namespace (vsock(7)). No io_uring, which makes sockets past this filter. No keyrings, which belong to the user and
//! not to a namespace. No typing into terminals.

use crate::network::NetError;
use nix::libc::{self, c_long, sock_filter, sock_fprog};
use std::mem::offset_of;

/// What a word of `seccomp_data` holds.
const NUMBER: u32 = offset_of!(libc::seccomp_data, nr) as u32;
const ARCH: u32 = offset_of!(libc::seccomp_data, arch) as u32;
/// The lower half of an argument; both processors are little-endian, and the kernel takes no more of these.
const fn argument(n: u32) -> u32 {
    offset_of!(libc::seccomp_data, args) as u32 + 8 * n
}

/// The kernel's number for this processor (linux/audit.h): the ELF machine, 64 bits, little-endian.
#[cfg(target_arch = "x86_64")]
const NATIVE: Option<u32> = Some(0xC000_003E);
#[cfg(target_arch = "aarch64")]
const NATIVE: Option<u32> = Some(0xC000_00B7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NATIVE: Option<u32> = None;

/// x86_64's calls with 32-bit pointers have this bit (`__X32_SYSCALL_BIT`); no number elsewhere is as high.
const X32: u32 = 0x4000_0000;

const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
const OF_A_FAMILY: [c_long; 2] = [libc::SYS_socket, libc::SYS_socketpair];
const REFUSED: [c_long; 6] = [
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];
/// They put characters into a terminal's input (ioctl_tty(2), ioctl_console(2)).
const TYPES: [libc::Ioctl; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Filter the system calls of this process and of all that it starts, for good. It takes `no_new_privs`.
pub(super) fn apply() -> Result<(), NetError> {
    let cannot = |source| NetError::Filter { source };
    let native = NATIVE.ok_or_else(|| cannot(std::io::Error::other("it is not written for this processor")))?;
    let mut program = program(native);
    let program = sock_fprog { len: u16::try_from(program.len()).unwrap_or(u16::MAX), filter: program.as_mut_ptr() };
    // SAFETY: the program lives for the call, its length is its own, and the kernel checks it.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(cannot(std::io::Error::last_os_error())),
    }
}

fn program(native: u32) -> Vec<sock_filter> {
    let mut all = vec![
        load(ARCH),
        // Calls of another processor's kind (32 bits) have other numbers and other arguments.
        equal(native, 1, 0),
        refuse(libc::ENOSYS),
        load(NUMBER),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, X32, 0, 1),
        refuse(libc::ENOSYS),
    ];
    for call in REFUSED {
        all.extend([equal(number(call), 0, 1), refuse(libc::EPERM)]);
    }
    let allowed = |value: i32| value.cast_unsigned();
    for call in OF_A_FAMILY {
        all.extend([equal(number(call), 0, 7), load(argument(0))]);
        // To the last word, which allows; the one before it refuses.
        let families = FAMILIES.iter().zip((1..=4).rev());
        all.extend(families.map(|(family, over)| equal(allowed(*family), over, 0)));
        all.extend([refuse(libc::EAFNOSUPPORT), ALLOW]);
    }
    all.extend([equal(number(libc::SYS_ioctl), 0, 5), load(argument(1))]);
    let types = TYPES.iter().zip([1, 0]);
    all.extend(
        types.map(|(request, over)| equal(u32::try_from(*request).unwrap_or_default(), over, u8::from(over == 0))),
    );
    all.extend([refuse(libc::EPERM), ALLOW, ALLOW]);
    all
}

fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

const ALLOW: sock_filter = step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0);

fn refuse(errno: i32) -> sock_filter {
    step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(), 0, 0)
}

fn load(offset: u32) -> sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

/// How many words to pass over if the loaded word is this one, and if it is not.
fn equal(word: u32, if_so: u8, if_not: u8) -> sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, word, if_so, if_not)
}

const fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with the program (its Documentation/networking/filter.rst), as far as it is used here.
    fn judge(arch: u32, number: u32, args: [u64; 2]) -> Option<u32> {
        let program = program(0xC000_003E);
        let (mut at, mut word) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let jump = |so: bool| usize::from(if so { step.jt } else { step.jf });
            match u32::from(step.code) & 0xf7 {
                code if code == (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) => {
                    word = match step.k {
                        NUMBER => number,
                        ARCH => arch,
                        k => args[usize::try_from((k - argument(0)) / 8).unwrap()] as u32,
                    }
                }
                code if code == (libc::BPF_JMP | libc::BPF_JEQ) => at += jump(word == step.k),
                code if code == (libc::BPF_JMP | libc::BPF_JGE) => at += jump(word >= step.k),
                _ if step.k == libc::SECCOMP_RET_ALLOW => return None,
                _ => return Some(step.k & 0xffff),
            }
        }
    }

    #[test]
    fn families_of_a_playbook_pass_and_others_do_not() {
        let native = 0xC000_003E;
        let refused = |errno: i32| Some(errno.cast_unsigned());
        for call in OF_A_FAMILY {
            for family in 0..50_u64 {
                let passes = [1, 2, 10, 16].contains(&family);
                let expected = if passes { None } else { refused(libc::EAFNOSUPPORT) };
                assert_eq!(judge(native, number(call), [family, 0]), expected, "{family}");
                // The kernel looks at the lower half only, and so must we.
                assert_eq!(judge(native, number(call), [family | 1 << 40, 0]), expected, "{family}");
            }
        }
        for call in REFUSED {
            assert_eq!(judge(native, number(call), [1, 0]), refused(libc::EPERM));
        }
        for (request, expected) in [(0x5412, refused(libc::EPERM)), (0x541c, refused(libc::EPERM)), (0x5413, None)] {
            assert_eq!(judge(native, number(libc::SYS_ioctl), [0, request]), expected, "{request:x}");
        }
        assert_eq!(judge(native, number(libc::SYS_read), [40, 0x5412]), None);
        assert_eq!(judge(native, X32 | 41, [1, 0]), refused(libc::ENOSYS), "the x32 kind of the same call");
        assert_eq!(judge(0x4000_0003, 102, [1, 0]), refused(libc::ENOSYS), "i386's socketcall");
    }
}
