//! TagResource, UntagResource, ListTagsForResource.
//!
//! Their ARN comes in the path, and the keys to remove in the query; they are put among the members of the body, so
//! that one answer can name everything that is wrong.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{StringMap, constraint, read_members, read_object};
use crate::arn::Arn;
use crate::error::ApiError;
use crate::operation::percent_decode;

const RESOURCE_ARN: &str = "resourceArn";
const TAG_KEYS: &str = "tagKeys";

/// TagResource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagResourceRequest {
    /// What gets the tags.
    pub resource: Arn,
    /// The tags.
    pub tags: StringMap,
}

impl TagResourceRequest {
    /// Reads the request from the ARN in its path and its body.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(resource_arn: &str, body: &[u8]) -> Result<Self, ApiError> {
        let mut object = read_object(body)?;
        object.insert(RESOURCE_ARN.to_owned(), Value::from(resource_arn));
        read_members(&object, |members| {
            let resource = members.required(RESOURCE_ARN, constraint::resource_arn);
            let tags = members.required("tags", constraint::tags);
            Ok(Self { resource: resource?, tags: tags? })
        })
    }
}

/// UntagResource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntagResourceRequest {
    /// What loses the tags.
    pub resource: Arn,
    /// The keys of the tags.
    pub tag_keys: Vec<String>,
}

impl UntagResourceRequest {
    /// Reads the request from the ARN in its path and its query (`tagKeys`, once for each key).
    ///
    /// # Errors
    ///
    /// ValidationException. An empty list looks like none on the wire, so it is refused as missing.
    pub fn parse(resource_arn: &str, raw_query: &str) -> Result<Self, ApiError> {
        let mut object = Map::new();
        object.insert(RESOURCE_ARN.to_owned(), Value::from(resource_arn));
        let keys = tag_keys(raw_query);
        if !keys.is_empty() {
            object.insert(TAG_KEYS.to_owned(), Value::Array(keys));
        }
        read_members(&object, |members| {
            let resource = members.required(RESOURCE_ARN, constraint::resource_arn);
            let tag_keys = members.required(TAG_KEYS, constraint::tag_keys);
            Ok(Self { resource: resource?, tag_keys: tag_keys? })
        })
    }
}

/// The values of `tagKeys` in a query; one whose escapes are broken becomes a null, which is no key.
fn tag_keys(raw_query: &str) -> Vec<Value> {
    raw_query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .filter(|(name, _)| percent_decode(name).as_deref() == Some(TAG_KEYS))
        .map(|(_, value)| percent_decode(value).map_or(Value::Null, Value::from))
        .collect()
}

/// ListTagsForResource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTagsForResourceRequest {
    /// Whose tags are wanted.
    pub resource: Arn,
}

impl ListTagsForResourceRequest {
    /// Reads the request from the ARN in its path.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(resource_arn: &str) -> Result<Self, ApiError> {
        let mut object = Map::new();
        object.insert(RESOURCE_ARN.to_owned(), Value::from(resource_arn));
        read_members(&object, |members| {
            Ok(Self { resource: members.required(RESOURCE_ARN, constraint::resource_arn)? })
        })
    }
}

/// The answer to ListTagsForResource.
#[derive(Clone, Debug, Serialize)]
pub struct ListTagsForResourceResponse {
    /// All tags.
    pub tags: StringMap,
}
