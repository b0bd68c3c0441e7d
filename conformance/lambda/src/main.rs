//! Reviews messages: refuses the word `rude`, fails at the word `raise`, and adds to all others who has sent them.

use std::collections::BTreeMap;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    content: String,
    sender: Sender,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sender {
    user_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Verdict {
    review_result: &'static str,
    content: String,
    attributes: Option<BTreeMap<&'static str, &'static str>>,
}

async fn review(event: LambdaEvent<Message>) -> Result<Verdict, Error> {
    let Message { content, sender } = event.payload;
    match content.as_str() {
        "raise" => Err("on purpose".into()),
        "rude" => {
            let attributes = Some(BTreeMap::from([("Reason", "No rude words")]));
            Ok(Verdict { review_result: "DENY", content: String::new(), attributes })
        }
        "as it is" => Ok(Verdict { review_result: "ALLOW", content, attributes: None }),
        _ => {
            let content = format!("{content} [reviewed for {}]", sender.user_id);
            Ok(Verdict { review_result: "ALLOW", content, attributes: None })
        }
    }
}

fn main() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(service_fn(review)))
}
