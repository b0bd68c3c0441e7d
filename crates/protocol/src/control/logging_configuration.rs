//! CreateLoggingConfiguration, GetLoggingConfiguration, ListLoggingConfigurations, UpdateLoggingConfiguration,
//! DeleteLoggingConfiguration.

use serde::Serialize;

use super::field::{Failed, Field};
use super::{StringMap, constraint, read_body};
use crate::arn::Arn;
use crate::error::ApiError;

/// Where chat logs go: the model's union `DestinationConfiguration`, of which exactly one member is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum DestinationConfiguration {
    /// An S3 bucket.
    #[serde(rename = "s3", rename_all = "camelCase")]
    S3 {
        /// Its name.
        bucket_name: String,
    },
    /// A CloudWatch Logs log group.
    #[serde(rename = "cloudWatchLogs", rename_all = "camelCase")]
    CloudWatchLogs {
        /// Its name.
        log_group_name: String,
    },
    /// A Firehose delivery stream.
    #[serde(rename = "firehose", rename_all = "camelCase")]
    Firehose {
        /// Its name.
        delivery_stream_name: String,
    },
}

fn read_destination(field: &mut Field<'_>) -> Result<DestinationConfiguration, Failed> {
    const UNION: [&str; 3] = ["s3", "cloudWatchLogs", "firehose"];
    let chosen: Vec<&str> =
        UNION.into_iter().filter(|member| field.present_members().contains(member)).collect();
    let &[chosen] = chosen.as_slice() else {
        return Err(field.fail(&format!("must be a structure with exactly one of {}", UNION.join(", "))));
    };
    field.structure(|members| {
        members.required(chosen, |field| {
            field.structure(|members| match chosen {
                "s3" => members
                    .required("bucketName", constraint::bucket_name)
                    .map(|bucket_name| DestinationConfiguration::S3 { bucket_name }),
                "cloudWatchLogs" => members
                    .required("logGroupName", constraint::log_group_name)
                    .map(|log_group_name| DestinationConfiguration::CloudWatchLogs { log_group_name }),
                _ => members
                    .required("deliveryStreamName", constraint::delivery_stream_name)
                    .map(|delivery_stream_name| DestinationConfiguration::Firehose { delivery_stream_name }),
            })
        })
    })
}

/// CreateLoggingConfiguration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateLoggingConfigurationRequest {
    /// Name.
    pub name: Option<String>,
    /// Where chat logs go.
    pub destination: DestinationConfiguration,
    /// Tags.
    pub tags: StringMap,
}

impl CreateLoggingConfigurationRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let name = members.optional("name", constraint::name);
            let destination = members.required("destinationConfiguration", read_destination);
            let tags = members.optional("tags", constraint::tags);
            Ok(Self { name: name?, destination: destination?, tags: tags?.unwrap_or_default() })
        })
    }
}

/// GetLoggingConfiguration, DeleteLoggingConfiguration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingConfigurationIdentifierRequest {
    /// ARN of the logging configuration.
    pub identifier: Arn,
}

impl LoggingConfigurationIdentifierRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            Ok(Self {
                identifier: members.required("identifier", constraint::logging_configuration_identifier)?,
            })
        })
    }
}

/// UpdateLoggingConfiguration. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateLoggingConfigurationRequest {
    /// ARN of the logging configuration.
    pub identifier: Arn,
    /// Name.
    pub name: Option<String>,
    /// Where chat logs go.
    pub destination: Option<DestinationConfiguration>,
}

impl UpdateLoggingConfigurationRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let identifier = members.required("identifier", constraint::logging_configuration_identifier);
            let name = members.optional("name", constraint::name);
            let destination = members.optional("destinationConfiguration", read_destination);
            Ok(Self { identifier: identifier?, name: name?, destination: destination? })
        })
    }
}

/// ListLoggingConfigurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListLoggingConfigurationsRequest {
    /// Where the page begins; not opened yet. An empty text is none.
    pub next_token: Option<String>,
    /// Most entries of the page.
    pub page_size: Option<usize>,
}

impl ListLoggingConfigurationsRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let next_token = members.optional("nextToken", constraint::page_token);
            let page_size = members.optional("maxResults", constraint::page_size);
            Ok(Self { next_token: next_token?.filter(|text| !text.is_empty()), page_size: page_size? })
        })
    }
}

/// The answer to CreateLoggingConfiguration, GetLoggingConfiguration and UpdateLoggingConfiguration, and an entry of
/// ListLoggingConfigurations.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggingConfigurationResponse {
    /// ARN.
    pub arn: String,
    /// Id.
    pub id: String,
    /// May be empty.
    pub name: String,
    /// `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub create_time: String,
    /// `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub update_time: String,
    /// Where chat logs go.
    pub destination_configuration: DestinationConfiguration,
    /// Always [`ACTIVE`]: a logging configuration works as soon as it is there.
    pub state: &'static str,
    /// Always there.
    pub tags: StringMap,
}

/// The state of a logging configuration that works.
pub const ACTIVE: &str = "ACTIVE";

/// The answer to ListLoggingConfigurations.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListLoggingConfigurationsResponse {
    /// At most a page of them, latest update first.
    pub logging_configurations: Vec<LoggingConfigurationResponse>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}
