//! The files of `deploy/` that no test can run: the compose file, the manifests and the systemd unit.
//! `tests/image.sh` runs the image, `deploy/cluster.sh` the balancer's file and the configuration.

use std::{collections::BTreeSet, fs};

use thalweg::config::{self, Env};

use super::source_reader::repository;

fn file(name: &str) -> String {
    fs::read_to_string(repository().join("deploy").join(name)).unwrap()
}

/// Named volumes that a service mounts, and those declared at the top.
fn volumes(text: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let mounted = text.lines().filter_map(|line| {
        let (name, folder) = line.trim_start().strip_prefix("- ")?.split_once(':')?;
        (folder.starts_with('/') && !name.contains(['.', '/', '"'])).then_some(name)
    });
    let declared = text.split_once("\nvolumes:\n").map_or("", |(_, rest)| rest);
    let declared = declared.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    (mounted.collect(), declared.collect())
}

#[test]
fn the_compose_file_fits_the_image_and_the_balancer() {
    let text = file("compose.yaml");
    let (mounted, declared) = volumes(&text);
    assert_eq!(mounted, ["postgres"].into());
    assert_eq!(mounted, declared, "{text}");
    // The file is where the image's program looks for it, and the balancer's variables are set.
    assert!(text.contains("\n    - ./config.json:/etc/thalweg/config.json:ro\n"), "{text}");
    let balancer = file("haproxy.cfg");
    for variable in balancer.split("\"${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
        assert!(text.contains(&format!("\n      {variable}: ")), "{variable}");
    }
    // S4.7; limits must not be dropped, so they have a server of their own.
    let server =
        |name: &str| text.split_once(&format!("\n  {name}:\n")).unwrap().1.split("\n  r").next().unwrap();
    let words = |name: &str| server(name).replace(['"', ','], "");
    assert!(words("redis-cache").contains("--maxmemory 256mb --maxmemory-policy allkeys-lru"), "{text}");
    assert!(words("redis-limits").contains("--maxmemory-policy noeviction"), "{text}");
    let image = file("Dockerfile");
    for line in [
        "WORKDIR /etc/thalweg",
        "STATE_DIRECTORY=/var/lib/thalweg",
        "--chown=65532:65532 /image/state /var/lib",
        "VOLUME /var/lib/thalweg",
        "USER 65532:65532",
        "CMD [\"thalweg\", \"healthcheck\"]",
    ] {
        assert!(image.contains(line), "{line}");
    }
}

#[test]
fn the_configuration_of_the_cluster_is_good() {
    let text = file("config.json");
    let variables: Vec<&str> = text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
    assert!(variables.len() >= 4, "{variables:?}");
    // Compose and Kubernetes set each variable that the file names.
    for place in ["compose.yaml", "kubernetes/thalweg.yaml"] {
        let place_text = file(place);
        for variable in &variables {
            assert!(place_text.contains(variable), "{place}: {variable}");
        }
    }
    let values = |name: &str| match name {
        "DATABASE_URL" => "postgres://thalweg@postgres/thalweg",
        "API_KEY" => "sk-clients",
        _ => "redis://redis",
    };
    let env = Env::new(variables.iter().map(|name| (*name, values(name))), |_, _| false);
    config::parse(&text, &env).unwrap();
}

/// The pods, containers and the unit end after the delay and the drain; the balancers notice within the
/// delay.
#[test]
fn the_delays_of_a_stop_fit_together() {
    let config: serde_json::Value = serde_json::from_str(&file("config.json")).unwrap();
    let delay = seconds(config["limits"]["shutdown_delay"].as_str().unwrap());
    let team = fs::read_to_string(repository().join("examples/team.json")).unwrap();
    let team: serde_json::Value = serde_json::from_str(&team).unwrap();
    let drain = seconds(team["limits"]["drain"].as_str().unwrap());
    let manifest = file("kubernetes/thalweg.yaml");
    let number = |text: &str, name: &str| {
        let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("no {name}"));
        seconds(rest.split_whitespace().next().unwrap())
    };
    for (text, name) in [
        (&manifest, "terminationGracePeriodSeconds: "),
        (&file("compose.yaml"), "stop_grace_period: "),
        (&file("thalweg.service"), "TimeoutStopSec="),
    ] {
        assert!(number(text, name) >= delay + drain, "{name}");
    }
    let balancer = file("haproxy.cfg");
    assert!(delay > number(&balancer, " inter ") * number(&balancer, " fall "), "{balancer}");
    assert!(delay > number(&manifest, "periodSeconds: 2\n            failureThreshold: "));
    // The variable of a service named thalweg would be taken for the port.
    assert!(manifest.contains("\n      enableServiceLinks: false\n"));
}

fn seconds(text: &str) -> u32 {
    text.trim_end_matches('s').parse().unwrap()
}

#[test]
fn a_volume_that_is_not_declared_is_found() {
    let text = "services:\n  a:\n    volumes:\n      - data:/var/lib\n      - ./f:/f:ro\n";
    assert_eq!(volumes(text), (["data"].into(), [].into()));
}

#[test]
fn the_unit_can_be_reloaded() {
    let unit = file("thalweg.service");
    assert!(unit.contains("\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n"), "{unit}");
    assert!(
        unit.contains("\nExecStartPre=/usr/local/bin/thalweg check --quiet "),
        "text among the log's JSON"
    );
}
