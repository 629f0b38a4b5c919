use super::*;

#[test]
fn the_configuration_pins_the_host_key_and_uses_nothing_of_the_user() {
    let ways = Ways::fresh(std::net::Ipv4Addr::new(10, 9, 8, 7), "ansible");
    let text = config_text(&VmDir::at("/s/vms/askari"), &ways);
    for needed in ["StrictHostKeyChecking yes", "IdentityAgent none", "ControlPath none", "keys/known_hosts"] {
        assert!(text.contains(needed), "{needed} is missing in\n{text}");
    }
}

#[test]
fn a_client_that_is_not_ours_gets_the_same_pins_and_the_way_that_answered_last() {
    let mut ways = Ways::fresh(std::net::Ipv4Addr::new(10, 9, 8, 7), "ansible");
    ways.current = Way { port: 2222, user: "deploy".into() };
    let options = foreign(&VmDir::at("/s/vms/askari"), &ways);
    for needed in [
        ("HostName", "10.9.8.7"),
        ("Port", "2222"),
        ("User", "deploy"),
        ("StrictHostKeyChecking", "yes"),
        ("IdentityAgent", "none"),
    ] {
        assert!(options.iter().any(|(name, value)| (*name, value.as_str()) == needed), "{needed:?} {options:?}");
    }
    let text = config_text(&VmDir::at("/s/vms/askari"), &ways);
    let pinned = options.iter().filter(|(name, _)| !matches!(*name, "Port" | "User"));
    pinned.for_each(|(name, value)| assert!(text.contains(&format!("    {name} {value}\n")), "{name}"));
}

#[test]
fn a_command_goes_through_the_namespaces_prefix() {
    let ssh = Ssh::new(&VmDir::at("/s"), vec!["enter".into(), "--".into()]);
    assert_eq!(ssh.argv(&["-t"], &["id".into()]).join(" "), "enter -- ssh -F /s/keys/ssh_config -t vm id");
}
