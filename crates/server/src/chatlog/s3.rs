//! S3: an object for each room and window, gzip of lines of JSON. What is sent again as it was writes over what
//! was there.

use hyper::Method;
use protocol::limit::chat_log::ANSWER_BYTES_MAX;

use super::object;
use super::parcel::Parcel;
use super::sink::{Consignment, SinkError, deadline};
use crate::aws::{AwsCall, AwsClient, AwsService};

/// Puts a parcel's object into a bucket.
///
/// # Errors
/// See [`SinkError`].
pub(super) async fn put(
    client: &AwsClient,
    consignment: &Consignment,
    parcel: &Parcel,
    bucket: &str,
) -> Result<(), SinkError> {
    let body = object::body(consignment, parcel)
        .map_err(|error| SinkError::other(format!("not compressed: {error}")))?;
    // Bucket and key have no character that a path would have to escape.
    let path = format!("/{bucket}/{}", object::key(consignment, parcel));
    let call = AwsCall {
        service: AwsService::S3,
        region: &consignment.key.scope.region,
        method: Method::PUT,
        path: &path,
        // What the policies of buckets ask of whoever delivers logs (AWS, "Logs sent to Amazon S3").
        headers: &[("content-type", "application/gzip"), ("x-amz-acl", "bucket-owner-full-control")],
        body: body.into(),
        deadline: deadline(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let answer = client.call(call).await?;
    // Every store says what it calls the object's content; whoever else answers with 200 has taken nothing.
    if answer.headers.contains_key("etag") {
        Ok(())
    } else {
        Err(SinkError::other("the answer to PutObject makes no sense"))
    }
}
