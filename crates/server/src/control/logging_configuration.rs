//! CreateLoggingConfiguration, GetLoggingConfiguration, ListLoggingConfigurations, UpdateLoggingConfiguration,
//! DeleteLoggingConfiguration.

use protocol::arn::{Arn, ResourceKind, Scope};
use protocol::control::logging_configuration::{
    ACTIVE, CreateLoggingConfigurationRequest, DestinationConfiguration, ListLoggingConfigurationsRequest,
    ListLoggingConfigurationsResponse, LoggingConfigurationIdentifierRequest, LoggingConfigurationResponse,
    UpdateLoggingConfigurationRequest,
};
use protocol::error::ApiError;
use protocol::limit::member;
use protocol::operation::Operation;
use protocol::page::PagedList;
use protocol::time::Timestamp;

use super::{ControlPlane, own_id, quota, store_error};
use crate::quota::Allowance;
use crate::store::{Destination, LoggingConfiguration, LoggingConfigurationChange, NewLoggingConfiguration};

pub(super) async fn create(
    control: &ControlPlane,
    scope: &Scope,
    allowance: Option<&Allowance>,
    request: CreateLoggingConfigurationRequest,
) -> Result<LoggingConfigurationResponse, ApiError> {
    let new = NewLoggingConfiguration {
        name: request.name.unwrap_or_default(),
        destination: destination(request.destination),
        tags: request.tags,
    };
    let _turn = quota::reserve(control, scope, allowance, ResourceKind::LoggingConfiguration).await?;
    let created = control.store.create_logging_configuration(scope, new).await;
    created.map(response).map_err(|error| store_error(error, scope))
}

pub(super) async fn get(
    control: &ControlPlane,
    scope: &Scope,
    request: &LoggingConfigurationIdentifierRequest,
) -> Result<LoggingConfigurationResponse, ApiError> {
    let id = own_id(scope, &request.identifier)?;
    let found = control.store.get_logging_configuration(scope, id).await;
    found.map(response).map_err(|error| store_error(error, scope))
}

pub(super) async fn update(
    control: &ControlPlane,
    scope: &Scope,
    request: UpdateLoggingConfigurationRequest,
) -> Result<LoggingConfigurationResponse, ApiError> {
    let id = own_id(scope, &request.identifier)?;
    let change =
        LoggingConfigurationChange { name: request.name, destination: request.destination.map(destination) };
    let updated = control.store.update_logging_configuration(scope, id, change).await;
    if let Some(chat_logs) = &control.chat_logs {
        chat_logs.configuration_changed(scope, id);
    }
    updated.map(response).map_err(|error| store_error(error, scope))
}

pub(super) async fn delete(
    control: &ControlPlane,
    scope: &Scope,
    request: &LoggingConfigurationIdentifierRequest,
) -> Result<(), ApiError> {
    let id = own_id(scope, &request.identifier)?;
    if let Some(chat_logs) = &control.chat_logs {
        chat_logs.configuration_goes(&control.store, scope, id).await;
    }
    let deleted = control.store.delete_logging_configuration(scope, id).await;
    deleted.map_err(|error| store_error(error, scope))
}

pub(super) async fn list(
    control: &ControlPlane,
    scope: &Scope,
    request: ListLoggingConfigurationsRequest,
) -> Result<ListLoggingConfigurationsResponse, ApiError> {
    let list = PagedList { operation: Operation::ListLoggingConfigurations, scope, filters: &[] };
    let after = control.open_page_token(&list, request.next_token.as_deref()).await?;
    let page_size = request.page_size.unwrap_or(member::PAGE_SIZE_MAX);
    let page = control
        .store
        .list_logging_configurations(scope, after, page_size)
        .await
        .map_err(|error| store_error(error, scope))?;
    Ok(ListLoggingConfigurationsResponse {
        logging_configurations: page.entries.into_iter().map(response).collect(),
        next_token: page.next.map(|after| control.seal_page_token(&list, after)).transpose()?,
    })
}

fn destination(configuration: DestinationConfiguration) -> Destination {
    match configuration {
        DestinationConfiguration::S3 { bucket_name } => Destination::S3(bucket_name),
        DestinationConfiguration::CloudWatchLogs { log_group_name } => {
            Destination::CloudWatchLogs(log_group_name)
        }
        DestinationConfiguration::Firehose { delivery_stream_name } => {
            Destination::Firehose(delivery_stream_name)
        }
    }
}

fn destination_configuration(destination: Destination) -> DestinationConfiguration {
    match destination {
        Destination::S3(bucket_name) => DestinationConfiguration::S3 { bucket_name },
        Destination::CloudWatchLogs(log_group_name) => {
            DestinationConfiguration::CloudWatchLogs { log_group_name }
        }
        Destination::Firehose(delivery_stream_name) => {
            DestinationConfiguration::Firehose { delivery_stream_name }
        }
    }
}

fn response(configuration: LoggingConfiguration) -> LoggingConfigurationResponse {
    let arn = Arn::new(configuration.scope, ResourceKind::LoggingConfiguration, configuration.id);
    LoggingConfigurationResponse {
        arn: arn.to_string(),
        id: configuration.id.to_string(),
        name: configuration.name,
        create_time: Timestamp::from_micros(configuration.create_time).to_millis_text(),
        update_time: Timestamp::from_micros(configuration.order_key).to_millis_text(),
        destination_configuration: destination_configuration(configuration.destination),
        state: ACTIVE,
        tags: configuration.tags,
    }
}
