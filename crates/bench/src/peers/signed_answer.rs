//! The limit of a control plane: the same HTTP library, a verified signature, and then always the same answer. No
//! operations, no store, no JSON: what a server that lists rooms costs beyond it is what listing costs.

use std::convert::Infallible;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use protocol::sigv4::{Credential, Dialect, RequestView, verify};
use protocol::time::Timestamp;
use tokio::net::TcpListener;

use crate::control::credential;
use crate::failure::Failure;

/// The hidden subcommand that runs this server; its argument is the file that has the answer.
pub const SUBCOMMAND: &str = "serve-signed-answer";

/// Serves on a free port of the loopback until the process is ended.
///
/// # Errors
/// The system's.
pub fn serve(answer: &std::path::Path) -> Result<(), Failure> {
    let answer = Bytes::from(std::fs::read(answer).map_err(Failure::io("read the answer"))?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::io("start a runtime"))?;
    runtime.block_on(accept(answer, Arc::new(credential())))
}

async fn accept(answer: Bytes, credential: Arc<Credential>) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Failure::io("listen"))?;
    let address = listener.local_addr().map_err(Failure::io("read the listener's address"))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, r#"{{"event":"ready","edge":"ws://{address}","api":"http://{address}"}}"#)
        .map_err(Failure::io("say that it is ready"))?;
    loop {
        let (socket, _) = listener.accept().await.map_err(Failure::io("accept"))?;
        socket.set_nodelay(true).map_err(Failure::io("set TCP_NODELAY"))?;
        let (answer, credential) = (answer.clone(), Arc::clone(&credential));
        let service = service_fn(move |request| respond(request, answer.clone(), Arc::clone(&credential)));
        tokio::spawn(async move {
            // A connection that breaks is the load generator's to notice.
            drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: Bytes,
    credential: Arc<Credential>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let view = RequestView {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_seconds(now.as_secs());
    let verified = verify(&view, Dialect::IVSCHAT, now, |_| Some(&*credential));
    let mut response = Response::new(Full::new(answer));
    if verified.is_err() {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
