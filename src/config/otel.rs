//! The trace exporter's settings: the section `otel`, or the variables that OpenTelemetry's SDKs read.
//! Without an endpoint there are no traces.
//!
//! The section precedes the variables.

use percent_encoding::percent_decode_str;

use super::{
    env::Env,
    problem::{Problem, ValueError},
    provider, scalar,
    section::Section,
};
use crate::{
    telemetry::otlp::OtlpEncoding,
    upstream::{BaseUrl, Target},
};

const SERVICE: &str = "thalweg";

/// In the words of OpenTelemetry's variables.
pub(super) const PROTOCOLS: [(&str, OtlpEncoding); 2] =
    [("http/protobuf", OtlpEncoding::Protobuf), ("http/json", OtlpEncoding::Json)];

/// A collector that accepts OTLP over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct OtelSettings {
    pub target: Target,
    /// `service.name`.
    pub service: String,
    /// The exported share of the traces that begin here, from 0 to 1.
    pub sample: f64,
    pub encoding: OtlpEncoding,
}

impl OtelSettings {
    /// All traces to this collector.
    #[must_use]
    pub fn plain(base: BaseUrl) -> Self {
        let (service, encoding) = (SERVICE.to_owned(), OtlpEncoding::default());
        Self { target: Target::plain("otel", base), service, sample: 1.0, encoding }
    }
}

/// A collector's base URL. Its paths begin at the root, while a provider's begin at `/v1`.
fn endpoint_at(text: &str) -> Result<BaseUrl, ValueError> {
    let base = provider::base_url(text)?;
    let has_v1 = text.trim().trim_end_matches('/').ends_with("/v1");
    Ok(if &*base.path == "/v1" && !has_v1 { BaseUrl { path: "".into(), ..base } } else { base })
}

/// `None`: there is no valid endpoint, which has been reported.
pub(super) fn read(section: &mut Section<'_, '_, '_>) -> Option<OtelSettings> {
    let endpoint = section.required("endpoint").and_then(|mut field| {
        let text = field.resolved()?;
        field.read(|_| endpoint_at(&text))
    });
    let headers = section.field("headers").map_or_else(Vec::new, |mut field| provider::headers(&mut field));
    let service = section.read("service", scalar::label);
    let sample = section.read("sample", scalar::share);
    let encoding = section.read("protocol", scalar::choice(&PROTOCOLS));
    let mut settings = OtelSettings::plain(endpoint?);
    settings.target.headers = headers;
    settings.service = service.unwrap_or(settings.service);
    settings.sample = sample.unwrap_or(settings.sample);
    settings.encoding = encoding.unwrap_or_default();
    Some(settings)
}

/// Reads `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_PROTOCOL` and
/// `OTEL_SERVICE_NAME`. `None`: no endpoint, or one that speaks gRPC, which gets a note: the variables may be
/// meant for every program of the machine.
pub(super) fn from_env(
    env: &Env,
    notes: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Option<OtelSettings> {
    const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let endpoint = env.variable(ENDPOINT)?;
    let protocol = env.variable(PROTOCOL).unwrap_or(PROTOCOLS[0].0);
    if protocol.eq_ignore_ascii_case("grpc") {
        notes.push(format!("{PROTOCOL} is grpc, which thalweg does not speak: no traces are exported"));
        return None;
    }
    let encoding =
        scalar::word(protocol, &PROTOCOLS).map_err(|error| problems.push(Problem::new(PROTOCOL, error)));
    let base = endpoint_at(endpoint).map_err(|error| problems.push(Problem::new(ENDPOINT, error)));
    let mut settings = OtelSettings { encoding: encoding.ok()?, ..OtelSettings::plain(base.ok()?) };
    for pair in env
        .variable(HEADERS)
        .into_iter()
        .flat_map(|text| text.split(','))
        .filter(|pair| !pair.trim().is_empty())
    {
        let parsed = pair.split_once('=').and_then(|(name, value)| {
            // The values are percent-encoded, as in W3C's baggage.
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((name.trim().parse().ok()?, provider::header_value(&value).ok()?))
        });
        match parsed {
            Some(header) => settings.target.headers.push(header),
            None => problems.push(Problem::new(HEADERS, "expected name=value, separated by commas")),
        }
    }
    if let Some(service) = env.variable("OTEL_SERVICE_NAME") {
        service.clone_into(&mut settings.service);
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_begins_at_its_root() {
        for (text, base) in [
            ("http://c:4318", "http://c:4318"),
            ("http://c:4318/", "http://c:4318"),
            ("http://c:4318/otlp", "http://c:4318/otlp"),
            ("http://c:4318/v1/", "http://c:4318/v1"),
        ] {
            assert_eq!(endpoint_at(text).unwrap().to_string(), base, "{text}");
        }
        assert!(endpoint_at("c:4318").is_err());
    }

    #[test]
    fn the_variables_of_the_sdks_are_read() {
        let pairs = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a=b, x-other=Bearer%20c"),
            ("OTEL_SERVICE_NAME", "gateway"),
        ];
        let env = Env::new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())), |_, _| false);
        let mut problems = Vec::new();
        let mut notes = Vec::new();
        let settings = from_env(&env, &mut notes, &mut problems).unwrap();
        assert!(problems.is_empty() && notes.is_empty());
        assert_eq!(settings.encoding, OtlpEncoding::Protobuf);
        assert_eq!(settings.target.headers[1].1, "Bearer c");
        assert_eq!((settings.target.headers.len(), settings.service.as_str()), (2, "gateway"));
        assert_eq!(settings.target.headers[0].1, "a=b");
    }

    /// CASES D13.
    #[test]
    fn the_protocol_is_the_variables() {
        let read = |protocol: &str| {
            let pairs =
                [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
            let (mut notes, mut problems) = (Vec::new(), Vec::new());
            let settings = from_env(&Env::new(pairs, |_, _| false), &mut notes, &mut problems);
            (settings.map(|settings| settings.encoding), notes.len(), problems.len())
        };
        assert_eq!(read("http/json"), (Some(OtlpEncoding::Json), 0, 0));
        assert_eq!(read("http/protobuf"), (Some(OtlpEncoding::Protobuf), 0, 0));
        assert_eq!(read("grpc"), (None, 1, 0), "another program's setting keeps nothing from starting");
        assert_eq!(read("http"), (None, 0, 1));
    }
}
