use super::*;
use std::time::Instant;
use vm::serial::{How, Login, SerialError};

/// Plays getty and login, then gives a shell.
const GETTY: &str = r#"
while :; do
    printf '\r\naskari login: '; read -r user || exit
    [ "$user" ] || continue
    stty -echo; printf 'Password: '; read -r password; stty echo; printf '\r\n'
    if [ "$password" = secret ]; then break; fi
    printf 'Login incorrect\r\n'
done
printf 'Linux askari 6.12\r\nLast login: never $\r\n'
exec sh
"#;

fn who(password: &str) -> Credentials {
    Credentials::with_password("boma-rescue", password)
}

async fn login(guest: &mut Guest, who: &Credentials) -> Result<(Login, Serial<Typist>), SerialError> {
    let mut serial = guest.serial().await;
    let login = serial.login(&Dialect::debian(), who, &soon()).await?;
    Ok((login, serial))
}

#[tokio::test]
async fn a_login_goes_through_while_the_kernel_writes_into_every_word() {
    for noise in [Noise::Never, Noise::Every(5), Noise::Every(11), Noise::Random(42, 3)] {
        let mut guest = Guest::run(GETTY, noise, None);
        let (login, mut serial) = login(&mut guest, &who("secret")).await.unwrap();
        assert_eq!(login.how, How::Password);
        assert_eq!(serial.run("echo $((6 * 7))", LIMIT).await.unwrap().output, "42\n");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_at_once_and_not_shown() {
    let (mut guest, start) = (Guest::run(GETTY, Noise::Never, None), Instant::now());
    let error = login(&mut guest, &who("guess")).await.err().unwrap();
    assert!(matches!(&error, SerialError::Refused { user, .. } if user == "boma-rescue"), "{error}");
    assert!(!error.to_string().contains("guess") && !guest.shown().contains("guess"));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_password_that_nobody_knows_is_said_at_once() {
    let (mut guest, start) = (Guest::run(GETTY, Noise::Never, None), Instant::now());
    let error = login(&mut guest, &Credentials::user("nixos")).await.err().unwrap();
    assert!(error.to_string().contains("login of nixos asks for a password, and none is known"), "{error}");
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_name_that_arrived_damaged_is_given_again() {
    // The first name is taken for another, as when getty throws away what came before it was ready.
    let script = GETTY
        .replace(
            "read -r user || exit\n",
            "read -r user || exit; [ $first ] || { user=x; printf '\\033[1A'; stty -echo; }; ",
        )
        .replace("\"$password\" = secret", "\"$first\" -a \"$password\" = secret")
        .replace("printf 'Login incorrect\\r\\n'", "first=no; printf 'Login incorrect\\r\\n'");
    // Its echo is not what was typed.
    let script = format!(
        "stty -echo; {}",
        script.replace("[ $first ] ||", "[ $first ] && echo $user || echo nix; [ $first ] ||")
    );
    let mut guest = Guest::run(&script, Noise::Never, None);
    let (login, _serial) = login(&mut guest, &who("secret")).await.unwrap();
    assert_eq!(login.how, How::Password);
}

#[tokio::test]
async fn a_prompt_that_nobody_stands_behind_is_not_a_shell() {
    let mut guest = Guest::run(&format!("printf 'boma# '; read -r lost; {GETTY}"), Noise::Never, None);
    login(&mut guest, &who("secret")).await.unwrap();
}

#[tokio::test]
async fn a_prompt_that_was_run_over_is_asked_for_again() {
    let script = GETTY.replacen(
        "read -r user",
        "[ $over ] || { over=1; sleep 0.3; printf '[  OK  ] Finished x.\\r\\n'; }; read -r user",
        1,
    );
    let (mut guest, start) = (Guest::run(&script, Noise::Never, None), Instant::now());
    // So that the prompt is gone by the time that it is looked for.
    tokio::time::sleep(Duration::from_millis(600)).await;
    login(&mut guest, &who("secret")).await.unwrap();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_live_user_with_colours_and_a_title_in_the_prompt_is_logged_in_already() {
    // The prompt of a NixOS installer's user, as its /etc/bashrc sets it.
    let ps1 = r"\n\[\033[1;32m\][\[\e]0;\u@\h: \w\a\]\u@\h:\w]\$\[\033[0m\] ";
    let script = format!("printf 'nixos login: nixos (automatic login)\\r\\n\\r\\n'; PS1='{ps1}' exec bash --norc -i");
    for noise in [Noise::Never, Noise::Random(5, 6)] {
        let mut guest = Guest::run(&script, noise, None);
        let mut serial = guest.serial().await;
        let nixos = Dialect::named("nixos").unwrap();
        let login = serial.login(&nixos, &Credentials::user("nixos"), &soon()).await.unwrap();
        assert_eq!(login.how, How::ShellWasThere);
        assert_eq!(serial.run("exit 9", LIMIT).await.unwrap().code, 9);
        serial.end().await.unwrap();
    }
}

#[tokio::test]
async fn a_boot_loader_is_left_alone() {
    let mut guest = Guest::run(
        "printf 'GNU GRUB\\r\\n Press enter to boot '; read -r line; echo touched; sleep 60",
        Noise::Never,
        None,
    );
    let mut serial = guest.serial().await;
    let error =
        serial.login(&Dialect::debian(), &who("x"), &Deadline::after(Duration::from_secs(6))).await.unwrap_err();
    assert!(matches!(error, SerialError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("Press enter to boot") && !guest.shown().contains("touched"), "{error}");
}

#[tokio::test]
async fn a_console_at_which_nobody_can_log_in_is_left_alone() {
    let mut guest = Guest::run("printf '\\r\\n(initramfs) '; read -r line; echo touched; sleep 60", Noise::Never, None);
    while guest.shown().trim() != "(initramfs)" {
        tokio::task::yield_now().await;
    }
    let error = login(&mut guest, &who("x")).await.err().unwrap();
    assert!(matches!(error, SerialError::Stuck { .. }), "{error}");
    assert!(!guest.shown().contains("touched"));
}

#[tokio::test]
async fn a_command_that_somebody_left_behind_is_ended() {
    let (guest, mut serial) = shell(Noise::Never).await;
    // As when the program that asked is killed.
    serial.type_in(b"sleep 600\r").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    serial.login(&Dialect::debian(), &who("x"), &soon()).await.unwrap();
    println!("{:?}", start.elapsed());
    assert_eq!(serial.run("echo on", LIMIT).await.unwrap().output, "on\n");
    drop(guest);
}
