//! Where a service is: the first of `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, and its public endpoint in the region.
//! `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true` leaves only the last.

use hyper::Uri;

use super::AwsSettings;

/// The services that are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AwsService {
    /// AWS Lambda: message review handlers.
    Lambda,
    /// Amazon S3, addressed by path.
    S3,
    /// Amazon CloudWatch Logs.
    CloudWatchLogs,
    /// Amazon Data Firehose.
    Firehose,
    /// AWS Security Token Service: credentials of a role.
    Sts,
}

impl AwsService {
    /// The name in credential scopes and public host names.
    #[must_use]
    pub const fn signing_name(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::S3 => "s3",
            Self::CloudWatchLogs => "logs",
            Self::Firehose => "firehose",
            Self::Sts => "sts",
        }
    }

    /// The variable that sets its endpoint.
    #[must_use]
    pub const fn endpoint_variable(self) -> &'static str {
        match self {
            Self::Lambda => "AWS_ENDPOINT_URL_LAMBDA",
            Self::S3 => "AWS_ENDPOINT_URL_S3",
            Self::CloudWatchLogs => "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
            Self::Firehose => "AWS_ENDPOINT_URL_FIREHOSE",
            Self::Sts => "AWS_ENDPOINT_URL_STS",
        }
    }
}

/// The endpoint that the settings name for the service, if they name one.
#[must_use]
pub fn configured(settings: &AwsSettings, service: AwsService) -> Option<&str> {
    if settings.is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
        return None;
    }
    settings.get(service.endpoint_variable()).or_else(|| settings.get("AWS_ENDPOINT_URL"))
}

/// The endpoint of the service in a region.
#[must_use]
pub fn endpoint(settings: &AwsSettings, service: AwsService, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let public = || format!("https://{}.{region}.{suffix}", service.signing_name());
    configured(settings, service).map_or_else(public, |url| url.trim_end_matches('/').to_owned())
}

/// Whether the service is AWS's own: nothing names an endpoint, or the one of a VPC or the like does.
#[must_use]
pub fn is_of_aws(settings: &AwsSettings, service: AwsService) -> bool {
    let is_of_aws = |url: &str| {
        let uri: Uri = url.parse().unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|suffix| host.ends_with(suffix))
    };
    configured(settings, service).is_none_or(is_of_aws)
}

/// An endpoint in two: scheme and authority, and the path before all paths (mostly empty).
pub(super) fn split(endpoint: &str) -> (&str, &str) {
    let authority_at = endpoint.find("://").map_or(0, |at| at + 3);
    let path_at = endpoint[authority_at..].find('/').map_or(endpoint.len(), |at| authority_at + at);
    endpoint.split_at(path_at)
}

/// As the connection will write it: without the port that goes with the scheme.
pub(super) fn host_header(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    match uri.port_u16() {
        Some(port) if port != usual => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{AwsService, AwsSettings, configured, endpoint, split};

    fn settings(variables: &[(&str, &str)]) -> AwsSettings {
        AwsSettings::from_variables(
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn the_nearest_setting_wins() {
        let one = ("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1/");
        let all = ("AWS_ENDPOINT_URL", "http://127.0.0.1:2");
        let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True");
        for (variables, lambda, s3) in [
            (vec![], "https://lambda.us-west-2.amazonaws.com", "https://s3.us-west-2.amazonaws.com"),
            (vec![one], "http://127.0.0.1:1", "https://s3.us-west-2.amazonaws.com"),
            (vec![all], "http://127.0.0.1:2", "http://127.0.0.1:2"),
            (vec![one, all], "http://127.0.0.1:1", "http://127.0.0.1:2"),
            (
                vec![one, all, ignored],
                "https://lambda.us-west-2.amazonaws.com",
                "https://s3.us-west-2.amazonaws.com",
            ),
        ] {
            let settings = settings(&variables);
            assert_eq!(endpoint(&settings, AwsService::Lambda, "us-west-2"), lambda);
            assert_eq!(endpoint(&settings, AwsService::S3, "us-west-2"), s3);
        }
        let none = settings(&[("AWS_ENDPOINT_URL", "")]);
        assert_eq!(configured(&none, AwsService::Lambda), None);
        let china = endpoint(&none, AwsService::CloudWatchLogs, "cn-north-1");
        assert_eq!(china, "https://logs.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn an_endpoint_of_aws_is_known_by_its_host() {
        let is_of_aws = |url| super::is_of_aws(&settings(&[("AWS_ENDPOINT_URL", url)]), AwsService::Lambda);
        for url in
            ["", "https://vpce-1.lambda.us-west-2.vpce.amazonaws.com", "https://lambda.us-west-2.api.aws/"]
        {
            assert!(is_of_aws(url), "{url}");
        }
        for url in [
            "http://127.0.0.1:9000",
            "https://amazonaws.com.example.org",
            "nonsense",
            "http://notamazonaws.com",
        ] {
            assert!(!is_of_aws(url), "{url}");
        }
    }

    #[test]
    fn an_endpoint_may_have_a_path() {
        assert_eq!(split("http://127.0.0.1:1"), ("http://127.0.0.1:1", ""));
        assert_eq!(split("http://127.0.0.1:1/aws"), ("http://127.0.0.1:1", "/aws"));
    }
}
