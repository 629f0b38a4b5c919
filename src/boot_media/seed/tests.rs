use super::*;
use serde_json::Value;

fn seed() -> Seed {
    Seed {
        instance: "boma-it-askari-7f3a".parse().unwrap(),
        host: "askari".parse().unwrap(),
        mac: "52:54:00:12:34:56".parse().unwrap(),
        interface: None,
        user: "ansible".into(),
        secrets: Secrets {
            client: "ssh-ed25519 AAAAclient boma-qemu".into(),
            own: vec!["ssh-ed25519 AAAAown me@home".into(), "ssh-ed25519 AAAAclient boma-qemu".into()],
            host: HostKey::named("-----BEGIN-----\nx\n-----END-----\n", "AAAAhost root@askari\n"),
            rescue_hash: "$6$rounds=5000$salt$hash".into(),
        },
    }
}

#[test]
fn the_texts_are_these() {
    let seed = seed();
    insta::assert_snapshot!("user-data", seed.user_data());
    insta::assert_snapshot!("meta-data", seed.meta_data());
    insta::assert_snapshot!("network-config", seed.network_config());
    assert_eq!(seed.smbios_serial(), "ds=nocloud;i=boma-it-askari-7f3a;dsmode=net");
}

#[test]
fn an_interface_that_is_to_have_a_name_is_known_to_netplan_by_it() {
    let text = Seed { interface: Some("eth0".parse().unwrap()), ..seed() }.network_config();
    let config: Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({"eth0": {
        "match": {"macaddress": "52:54:00:12:34:56"}, "set-name": "eth0", "dhcp4": true, "dhcp-identifier": "mac"
    }});
    assert_eq!(config["ethernets"], expected);
}

#[test]
fn root_is_let_in_by_key_where_the_inventory_logs_in_as_root() {
    let text = Seed { user: "root".into(), ..seed() }.user_data();
    let config: Value = serde_json::from_str(text.trim_start_matches("#cloud-config\n")).unwrap();
    assert_eq!(config["disable_root"], false);
    assert_eq!(config["users"][0]["name"], "root");
    assert_eq!(config["users"][0]["ssh_authorized_keys"].as_array().unwrap().len(), 2);
}

#[test]
fn the_texts_are_yaml_too() {
    let seed = seed();
    for text in [seed.user_data(), seed.meta_data(), seed.network_config()] {
        let yaml: Value = serde_saphyr::from_str(&text).unwrap();
        let json: Value = serde_json::from_str(text.trim_start_matches("#cloud-config\n")).unwrap();
        assert_eq!(yaml, json);
    }
}

#[test]
fn the_rescue_user_has_no_way_in_by_ssh() {
    let text = seed().user_data();
    let config: Value = serde_json::from_str(text.trim_start_matches("#cloud-config\n")).unwrap();
    let rescue = &config["users"][1];
    assert_eq!(rescue["name"], RESCUE_USER);
    assert!(rescue.get("ssh_authorized_keys").is_none());
    assert_eq!(config["ssh_pwauth"], false);
    assert!(config.get("ssh_authorized_keys").is_none());
}

#[test]
fn the_same_seed_gives_the_same_medium() {
    assert_eq!(seed().image(0).unwrap(), seed().image(0).unwrap());
    assert_ne!(seed().image(0).unwrap(), seed().image(1).unwrap());
}
