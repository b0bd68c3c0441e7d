//! What the cases share: how a case is described, and clients of the server.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sdk_ivschat::Client;
use aws_sdk_ivschat::config::retry::RetryConfig;
use aws_sdk_ivschat::config::{Config, Region};
use aws_sdk_ivschat::types::ChatTokenCapability;
use aws_smithy_http_client::Builder;

use crate::server::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server};

/// The region of every request, unless a case says otherwise.
pub const REGION: &str = "us-west-2";
/// The account of the root credentials, unless configured otherwise.
pub const ACCOUNT_ID: &str = "123456789012";

type Run = Box<dyn Fn(Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>>>;

/// One thing that is proved; it fails by panicking.
pub struct Case {
    pub name: &'static str,
    pub file: &'static str,
    /// The client that nobody here wrote.
    pub client: &'static str,
    /// Operations, socket actions and frame types that the case would catch if they broke.
    pub covers: &'static [&'static str],
    pub run: Run,
}

impl Case {
    /// A case of `file` whose body is `body`.
    pub fn new<F>(
        (file, client): (&'static str, &'static str),
        name: &'static str,
        covers: &'static [&'static str],
        body: fn(Arc<Stage>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, file, client, covers, run: Box::new(move |stage| Box::pin(body(stage))) }
    }
}

/// The running server, as the cases see it.
pub struct Stage {
    /// An SDK client with the root credentials.
    pub client: Client,
    /// Where the messaging edge listens, as `ws://host:port`.
    pub edge: String,
    api: String,
}

impl Stage {
    pub fn new(server: &Server) -> Self {
        let client = client_of(&server.api, REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        Self { client, edge: server.edge.clone(), api: server.api.clone() }
    }

    /// An SDK client that differs in its region or credentials.
    pub fn other_client(&self, region: &str, access_key_id: &str, secret_access_key: &str) -> Client {
        client_of(&self.api, region, access_key_id, secret_access_key)
    }

    /// An SDK client with the root credentials and its own idea of retries.
    pub fn retrying_client(&self, retries: RetryConfig) -> Client {
        let config = self.client.config().to_builder().retry_config(retries);
        Client::from_conf(config.build())
    }

    /// The ARN of a new room that allows the highest rate.
    pub async fn create_room(&self) -> String {
        let room =
            self.client.create_room().maximum_message_rate_per_second(100).send().await.expect("CreateRoom");
        room.arn.expect("an ARN")
    }

    /// A chat token with every capability.
    pub async fn create_token(&self, room_arn: &str, user_id: &str) -> String {
        let request = self.client.create_chat_token().room_identifier(room_arn).user_id(user_id);
        let request = request.set_capabilities(Some(vec![
            ChatTokenCapability::SendMessage,
            ChatTokenCapability::DeleteMessage,
            ChatTokenCapability::DisconnectUser,
        ]));
        request.send().await.expect("CreateChatToken").token.expect("a token")
    }
}

fn client_of(api: &str, region: &str, access_key_id: &str, secret_access_key: &str) -> Client {
    let config = Config::builder()
        .endpoint_url(api)
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::new(access_key_id, secret_access_key, None, None, "conformance"))
        .http_client(Builder::new().build_http())
        .build();
    Client::from_conf(config)
}
