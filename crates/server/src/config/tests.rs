//! Settings come from the strongest source, and what is wrong is told by its key.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;

use protocol::limit::Profile;
use protocol::quota::AdjustableQuotas;

use super::{Config, Flag, Loaded, Sources, StoreUrl, load};

/// Loads a file of this text, with these environment variables and flags.
fn load_all(
    text: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Loaded, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grandstand.toml");
    fs::write(&file, text).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let flags = flags.iter().map(|(key, value)| Flag { key, value: (*value).to_owned() }).collect();
    load(&Sources { flags, variables, file: Some(file) }).map_err(|error| error.problems)
}

#[track_caller]
fn assert_problem(text: &str, expected: &str) {
    assert_eq!(load_all(text, &[], &[]).unwrap_err(), [expected]);
}

#[test]
fn nothing_need_be_set() {
    let Loaded { config, warnings } = load(&Sources::default()).unwrap();
    assert_eq!(config.api_addr, "127.0.0.1:4580".parse().unwrap());
    assert_eq!((config.edge.coalescing_window_ms, config.edge.shards), (40, None));
    assert_eq!((&*config.account_id, config.limits.profile), ("123456789012", Profile::Standard));
    assert_eq!((config.chatlog.s3_interval_s, config.review.timeout_ms), (300, 200));
    assert!(config.store.url == StoreUrl::DataDir && config.trusted_proxies.is_empty());
    assert!(config.tls.cert_file.is_none() && config.root.access_key_id.is_none() && warnings.is_empty());
}

#[test]
fn a_flag_is_stronger_than_a_variable_than_the_file_than_the_default() {
    let file = "api_addr = '127.0.0.1:1'\nedge_addr = '127.0.0.1:1'\nadmin_addr = '127.0.0.1:1'";
    let variables =
        [("GRANDSTAND_API_ADDR", "127.0.0.1:2"), ("GRANDSTAND_EDGE_ADDR", "127.0.0.1:2"), ("PATH", "/bin")];
    let Loaded { config, warnings } = load_all(file, &variables, &[("api_addr", "127.0.0.1:3")]).unwrap();
    let ports = [config.api_addr, config.edge_addr, config.admin_addr].map(|address| address.port());
    assert_eq!((ports, warnings), ([3, 2, 1], vec![]));
    assert_eq!(config.data_dir.to_str(), Some("./grandstand-data"));
}

#[test]
fn every_kind_is_read_from_file_and_environment() {
    let file = "account_id = '000000000001'\ntrusted_proxies = ['10.0.0.0/8', '::1']\n\
        [edge]\nshards = 4\n[limits]\nprofile = 'aws'\n[store]\nurl = 'memory:'\n";
    let variables = [
        ("GRANDSTAND_ACCOUNT_ID", "000000000001"),
        ("GRANDSTAND_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("GRANDSTAND_EDGE_SHARDS", "4"),
        ("GRANDSTAND_LIMITS_PROFILE", "aws"),
        ("GRANDSTAND_STORE_URL", "memory:"),
    ];
    let from_file = load_all(file, &[], &[]).unwrap().config;
    let from_environment = load_all("", &variables, &[]).unwrap().config;
    assert_eq!(format!("{from_file:?}"), format!("{from_environment:?}"));
    assert_eq!((&*from_file.account_id, from_file.edge.shards), ("000000000001", Some(4)));
    assert_eq!((from_file.limits.profile, from_file.store.url), (Profile::Aws, StoreUrl::Memory));
    assert!(from_file.trusted_proxies.contain("10.1.2.3".parse().unwrap()));
}

#[test]
fn only_the_profile_aws_has_quotas_of_accounts_and_they_are_aws_s_own_unless_set() {
    let quotas = |text| load_all(text, &[], &[]).unwrap().config.limits.quotas();
    for profile in ["", "[limits]\nprofile = 'standard'", "[limits]\nprofile = 'unlimited'\nrooms = 3"] {
        assert_eq!(quotas(profile), None);
    }
    assert_eq!(quotas("[limits]\nprofile = 'aws'"), Some(AdjustableQuotas::default()));
    let text = "[limits]\nprofile = 'aws'\nrooms = 1\nlogging_configurations = 2\nconnections = 3\n\
        send_message_requests_per_second = 4\ndelete_message_requests_per_second = 5\n\
        disconnect_user_requests_per_second = 6";
    let expected = AdjustableQuotas {
        rooms: 1,
        logging_configurations: 2,
        connections: 3,
        send_message_requests_per_second: 4,
        delete_message_requests_per_second: 5,
        disconnect_user_requests_per_second: 6,
    };
    assert_eq!(quotas(text), Some(expected));
}

#[test]
fn an_unknown_key_is_named_at_any_depth() {
    assert_problem("data_dri = '/tmp'", "`data_dri` in the file is no setting; did you mean `data_dir`?");
    assert_problem(
        "[edge]\nshard = 1",
        "`edge.shard` in the file is no setting; did you mean `edge.shards`?",
    );
    assert_problem("shards = 1", "`shards` in the file is no setting; did you mean `edge.shards`?");
    assert_problem("[colours]\nroom = 'blue'", "`colours` in the file is no setting");
    assert_problem("edge = 1", "`edge` in the file must be a table, `[edge]`");
    assert_problem("[edge.pool]\nsize = 1", "`edge.pool` in the file is no setting");
}

#[test]
fn a_wrong_value_is_told_with_what_is_allowed() {
    let shards = "must be a whole number of threads from 1 to 64";
    for value in ["0", "65", "-1", "1.5", "'4'", "true", "[]", "''x"] {
        let problems = load_all(&format!("[edge]\nshards = {value}"), &[], &[]).unwrap_err();
        let is_syntax = problems[0].contains("is not TOML");
        assert!(is_syntax == (value == "''x") && problems.len() == 1, "{value}: {problems:?}");
        assert!(is_syntax || problems[0] == format!("`edge.shards` in the file {shards}"), "{problems:?}");
    }
    let problems = load_all("", &[("GRANDSTAND_EDGE_SHARDS", "many")], &[("api_addr", "here")]).unwrap_err();
    assert_eq!(
        problems,
        [
            "`api_addr` in --api-addr must be an IP address and port, such as 127.0.0.1:4580 or [::]:4580"
                .to_owned(),
            format!("`edge.shards` in GRANDSTAND_EDGE_SHARDS {shards}"),
        ]
    );
    assert_problem("account_id = 123456789012", "`account_id` in the file must be a text of 12 digits");
    assert_problem("[limits]\nprofile = 'amazon'", {
        "`limits.profile` in the file must be one of `standard`, `aws`, `unlimited`"
    });
    assert_problem("trusted_proxies = ['everyone']", {
        "`trusted_proxies` in the file must be a list of IP addresses and networks, such as 10.0.0.0/8"
    });
    assert_problem("[store]\nurl = 'postgres://chat:hunter2@db/rooms?sslmode=require'", {
        "`store.url` in the file must be `memory:`, `postgres://user:password@host:port/database`, or unset for files \
         in `data_dir` (sslmode must be disable or verify-full: the others do not make sure of the server)"
    });
}

#[test]
fn halves_must_be_set_together() {
    assert_problem("[root]\naccess_key_id = 'AKID'", {
        "`root.access_key_id` and `root.secret_access_key` must be set together, or neither"
    });
    assert_problem(
        "[tls]\nkey_file = 'key.pem'",
        "`tls.cert_file` and `tls.key_file` must be set together, or neither",
    );
}

#[test]
fn a_standard_variable_is_weaker_than_our_own_and_stronger_than_the_file() {
    let file = "[telemetry]\notlp_endpoint = 'http://file'\nservice_name = 'file'\nsampling_ratio = 1\n";
    let standard = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard"),
        ("OTEL_SERVICE_NAME", "standard"),
        ("OTEL_TRACES_SAMPLER_ARG", ""),
    ];
    let read = |variables: &[(&str, &str)]| {
        let Loaded { config, warnings } = load_all(file, variables, &[]).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let telemetry = config.telemetry;
        let endpoint = telemetry.otlp_endpoint.map(|uri| uri.to_string()).unwrap_or_default();
        (endpoint, telemetry.service_name.unwrap_or_default().to_string(), telemetry.sampling_ratio)
    };
    let expected = |endpoint: &str, name: &str, ratio| (endpoint.to_owned(), name.to_owned(), ratio);
    assert_eq!(read(&[]), expected("http://file/", "file", 1.0));
    assert_eq!(read(&standard), expected("http://standard/", "standard", 1.0));
    let own = ("GRANDSTAND_TELEMETRY_OTLP_ENDPOINT", "http://own");
    let all: Vec<_> = standard.into_iter().chain([own]).collect();
    assert_eq!(read(&all), expected("http://own/", "standard", 1.0));
}

#[test]
fn standard_variables_are_nobodys_business_where_nothing_is_exported() {
    let wrong = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_SAMPLER", "xray")];
    assert_eq!(load_all("", &wrong, &[]).unwrap().warnings, Vec::<String>::new());
    let off = ("GRANDSTAND_TELEMETRY_OTLP_ENDPOINT", "");
    let there = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard");
    let all: Vec<_> = wrong.into_iter().chain([there]).collect();
    let problems = load_all("", &all, &[]).unwrap_err();
    assert_eq!(problems.len(), 2);
    assert_eq!(
        problems[0],
        "`telemetry.otlp_protocol` in OTEL_EXPORTER_OTLP_PROTOCOL must be one of `http/protobuf`"
    );
    let switches: [&[(&str, &str)]; 3] = [
        &[off],
        &[("OTEL_SDK_DISABLED", "TRUE")],
        &[("OTEL_TRACES_EXPORTER", "None"), ("OTEL_METRICS_EXPORTER", "none")],
    ];
    for switched_off in switches {
        let all: Vec<_> = all.iter().chain(switched_off).copied().collect();
        let telemetry = load_all("", &all, &[]).unwrap().config.telemetry;
        assert!(telemetry.otlp_endpoint.is_none(), "{switched_off:?}");
    }
    let one = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "otlp")];
    let some: Vec<_> = all.iter().chain(&one).copied().collect();
    assert_eq!(load_all("", &some, &[]).unwrap_err().len(), 2);
    assert!(load_all("[telemetry]\ndisabled = true", &all, &[]).is_ok());
    // Our own are nobody else's.
    let own = [("GRANDSTAND_TELEMETRY_TRACES_SAMPLER", "xray")];
    assert_eq!(load_all("", &own, &[]).unwrap_err().len(), 1);
}

#[test]
fn an_unknown_variable_is_a_warning_only() {
    let variables = [("GRANDSTAND_SERVICE_HOST", "10.0.0.1"), ("GRANDSTAND_PORT", "tcp://10.0.0.1:4580")];
    assert_eq!(
        load_all("", &variables, &[]).unwrap().warnings,
        [
            "the environment variable GRANDSTAND_SERVICE_HOST is no setting and does nothing",
            "the environment variable GRANDSTAND_PORT is no setting and does nothing",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = Sources { file: Some("no/such/file.toml".into()), ..Sources::default() };
    assert!(load(&missing).unwrap_err().problems[0].starts_with("cannot read no/such/file.toml: "));
}

#[test]
fn secrets_stay_hidden() {
    let root = "[root]\naccess_key_id = 'AKID'\nsecret_access_key = 'hunter2'\n";
    let config = load_all(root, &[], &[]).unwrap().config;
    assert_eq!(config.root.secret_access_key.as_ref().map(|secret| secret.expose()), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    let url = "[store]\nurl = 'postgres://chat:hunter2@db/rooms'";
    assert!(!format!("{:?}", load_all(url, &[], &[]).unwrap().config).contains("hunter2"));
    let headers = "[telemetry]\notlp_headers = 'api-key=hunter2'";
    assert!(!format!("{:?}", load_all(headers, &[], &[]).unwrap().config).contains("hunter2"));
    // Neither wrong values, wrong syntax nor unknown keys are quoted.
    for text in [
        "[root]\nsecret_access_key = ['hunter2']",
        "[telemetry]\notlp_headers = 'hunter2'",
        "secret = hunter2",
        "secret = 'hunter2'",
    ] {
        assert!(!format!("{:?}", load_all(text, &[], &[]).unwrap_err()).contains("hunter2"), "{text}");
    }
}

#[test]
fn every_setting_has_documentation_and_its_own_variable() {
    let settings = Config::settings();
    let mut variables: Vec<String> =
        settings.iter().map(|setting| super::source::variable_name(setting.key)).collect();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), settings.len());
    assert!(settings.iter().all(|setting| setting.documentation[0].trim().len() > 10));
}
