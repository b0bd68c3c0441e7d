//! What of calls is in the audit log.

use std::sync::Arc;

use bytes::Bytes;
use protocol::arn::Scope;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::audit::Audit;
use crate::audit::event::Call;

/// Nothing from outside makes a call panic, so this is about what does the work of calls.
#[tokio::test]
async fn a_call_that_panics_is_in_the_audit_log() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("audit.log");
    let audit = Audit::open(&path, Arc::default()).expect("a file");
    let call = Call {
        operation: "DeleteRoom",
        scope: Scope { account_id: "123456789012".into(), region: "eu-west-1".into() },
        access_key_id: "AKIDEXAMPLE".into(),
        client: None,
        user_agent: String::new(),
        body: Bytes::from_static(br#"{"identifier":"arn:room"}"#),
        resource_arn: None,
        tag_keys: Vec::new(),
    };
    let work = async { if path.exists() { panic!("on purpose") } else { Ok(Bytes::new()) } };
    let outcome = crate::control::carry_out(Some((&audit, call)), "request", work).await;
    assert!(outcome.is_err());
    let line: Value = serde_json::from_slice(&std::fs::read(&path).expect("a line")).expect("JSON");
    assert_eq!(
        (&line["errorCode"], &line["requestParameters"]["identifier"]),
        (&json!("InternalServerException"), &json!("arn:room"))
    );
}
