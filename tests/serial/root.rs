use super::*;
use std::time::Instant;
use vm::serial::{How, SerialError};

/// A user that is what the variable says.
const ID: &str = "#!/bin/sh\n[ \"$1\" = -u ] && echo ${FAKE_UID:-1000} && exit\n[ \"${FAKE_UID:-1000}\" = 0 ] && echo root || echo nixos\n";
/// As sudo is seen from outside: `-n` works if the file is there, `-p PROMPT` takes one password three times.
const SUDO: &str = r#"#!/bin/sh
case "$1" in
-n) [ -e "$FAKES/nopasswd" ] || { echo 'sudo: a password is required' >&2; exit 1; }
    [ "$2" = true ] && exit 0 ;;
-p) for try in 1 2 3; do
        stty -echo; printf %s "$2" >/dev/tty; read -r p </dev/tty; stty echo; echo
        [ "$p" = secret ] && break
        echo 'Sorry, try again.'
        [ $try = 3 ] && { echo 'sudo: 3 incorrect password attempts'; exit 1; }
    done ;;
esac
FAKE_UID=0 PS1='[root@nixos:~]# ' exec bash --norc -i
"#;
const SU: &str = r#"#!/bin/sh
stty -echo; printf 'Password: ' >/dev/tty; read -r p </dev/tty; stty echo; echo
[ "$p" = root ] || { echo 'su: Authentication failure'; exit 1; }
FAKE_UID=0 exec sh
"#;

/// A shell of an ordinary user, with such programs.
async fn user(fakes: &[(&str, &str)], noise: Noise) -> (Guest, Serial<Typist>) {
    let mut guest =
        Guest::run("until [ -e $FAKES/ready ]; do :; done; PS1='nixos@nixos:~$ ' exec bash --norc -i", noise, None);
    guest.fake("id", ID);
    for (name, text) in fakes {
        guest.fake(name, text);
    }
    guest.fake("ready", "");
    let mut serial = guest.serial().await;
    let login = serial.login(&Dialect::debian(), &Credentials::user("nixos"), &soon()).await.unwrap();
    assert_eq!((login.uid, login.user.as_str()), (1000, "nixos"));
    (guest, serial)
}

async fn uid(serial: &mut Serial<Typist>) -> String {
    serial.run("id -u", LIMIT).await.unwrap().output
}

#[tokio::test]
async fn sudo_without_a_password_gives_root_while_the_kernel_writes() {
    for noise in [Noise::Never, Noise::Random(3, 9)] {
        let (_guest, mut serial) = user(&[("sudo", SUDO), ("nopasswd", "")], noise).await;
        assert_eq!(uid(&mut serial).await, "1000\n");
        let root = serial.become_root(&Dialect::debian(), &Credentials::user("nixos"), &soon()).await.unwrap();
        assert_eq!((root.uid, root.how), (0, How::FromShell));
        assert_eq!(uid(&mut serial).await, "0\n");
    }
}

#[tokio::test]
async fn a_sudo_that_asks_for_a_password_nobody_knows_is_named_at_once() {
    let (_guest, mut serial) = user(&[("sudo", SUDO), ("su", SU)], Noise::Never).await;
    let start = Instant::now();
    let error = serial.become_root(&Dialect::debian(), &Credentials::user("nixos"), &soon()).await.unwrap_err();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    let said = error.to_string();
    assert!(said.contains("`sudo -n -i`: sudo: a password is required"), "{said}");
    assert!(said.contains("`sudo -i`: asks for the user's password, and none is known"), "{said}");
    assert!(said.contains("`su -`: asks for root's password, and none is known"), "{said}");
    assert_eq!(uid(&mut serial).await, "1000\n", "the user's shell still answers");
}

#[tokio::test]
async fn passwords_are_given_to_sudo_and_to_su_and_stand_nowhere() {
    // Again and again: whether our own prompt or sudo's is seen first is chance.
    for seed in 1..6 {
        let who = Credentials::with_password("nixos", "secret");
        let (_guest, mut serial) = user(&[("sudo", SUDO)], Noise::Random(seed, 5)).await;
        serial.become_root(&Dialect::debian(), &who, &soon()).await.unwrap();
        assert_eq!(uid(&mut serial).await, "0\n");
    }
    let who = Credentials::with_password("nixos", "secret");
    let (guest, mut serial) = user(&[("sudo", SUDO)], Noise::Random(11, 9)).await;
    serial.become_root(&Dialect::debian(), &who, &soon()).await.unwrap();
    assert_eq!(uid(&mut serial).await, "0\n");
    assert!(!guest.shown().contains("secret"));
    let no_sudo = "#!/bin/sh\necho 'nixos is not in the sudoers file.'; exit 1\n";
    let who = Credentials { root_password: Some("root".into()), ..who };
    let (_guest, mut serial) = user(&[("sudo", no_sudo), ("su", SU)], Noise::Never).await;
    serial.become_root(&Dialect::debian(), &who, &soon()).await.unwrap();
    assert_eq!(uid(&mut serial).await, "0\n");
}

#[tokio::test]
async fn wrong_passwords_are_refused_at_once_and_the_shell_goes_on() {
    let who = Credentials { root_password: Some("no".into()), ..Credentials::with_password("nixos", "guess") };
    let (_guest, mut serial) = user(&[("sudo", SUDO), ("su", SU)], Noise::Never).await;
    let start = Instant::now();
    let error = serial.become_root(&Dialect::debian(), &who, &soon()).await.unwrap_err();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    let said = error.to_string();
    assert!(matches!(error, SerialError::NotRoot { .. }) && said.contains("Sorry, try again"), "{said}");
    assert!(said.contains("su: Authentication failure") && !said.contains("guess"), "{said}");
    assert_eq!(uid(&mut serial).await, "1000\n");
}
