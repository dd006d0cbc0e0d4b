//! The golden vectors of test/conformance/wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::prelude::{Engine, BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use prost::Message;
use serde_json::Value;
use tokio::runtime;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::builder;
use crate::client::{Client, Handle, Inner};
use crate::error::RpcError;
use crate::gen::force_refresh_request::Rejected;
use crate::gen::watch_token_response::Event as Told;
use crate::gen::{ForceRefreshOutcome, ForceRefreshRequest, ForceRefreshResponse, GetRequest, GetResponse, WatchTokenRequest};
use crate::gen::{TokenState, WatchTokenResponse};
use crate::{Error, Reason};

fn vectors(part: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test/conformance/wire/vectors.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    all.pointer(part).unwrap().as_array().unwrap().clone()
}

fn text(from: &Value) -> String {
    from.as_str().unwrap_or_default().to_owned()
}

fn number(from: &Value) -> u64 {
    text(from).parse().unwrap_or_default()
}

fn bytes(vector: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(text(&vector["binary"])).unwrap()
}

#[test]
fn requests_are_as_the_vectors_say() {
    for vector in vectors("/requests") {
        let json = &vector["json"];
        let app_id = text(&json["appId"]);
        let made = match &*text(&vector["message"]) {
            "WatchTokenRequest" => {
                let known = json["knownGenerations"].as_object().into_iter().flatten();
                let request = WatchTokenRequest {
                    app_ids: json["appIds"].as_array().unwrap().iter().map(text).collect(),
                    known_generations: known.map(|(app, generation)| (app.clone(), number(generation))).collect::<BTreeMap<_, _>>(),
                };
                assert_eq!(WatchTokenRequest::decode(&*bytes(&vector)).unwrap(), request);
                request.encode_to_vec()
            }
            "GetRequest" => GetRequest { app_id, min_generation: number(&json["minGeneration"]) }.encode_to_vec(),
            _ => {
                let value = json["rejectedToken"].as_str().map(|value| Rejected::RejectedToken(value.into()));
                let rejected = value.or(Some(Rejected::RejectedGeneration(number(&json["rejectedGeneration"]))));
                ForceRefreshRequest { app_id, rejected }.encode_to_vec()
            }
        };
        if vector["exact"] == true {
            assert_eq!(made, bytes(&vector), "{}", vector["name"]);
        }
    }
}

/// Has a source take a state, and compares what it holds then.
fn compare(name: &str, state: TokenState, now: Option<prost_types::Timestamp>, expect: &Value) {
    let app = text(&expect["app"]);
    let inner = Inner::new(builder("127.0.0.1:1", &[&app]).0, Some(runtime::Handle::current()));
    let source = Client { handle: Arc::new(Handle { inner: Arc::clone(&inner) }) }.app(&app).unwrap();
    source.app.take(&inner, state, now).unwrap();
    let life = |until: Option<Instant>| until.map(|until| (until - Instant::now()).as_millis() as u64);
    match source.token() {
        Ok(token) => {
            assert_eq!((token.id(), token.generation()), (&*text(&expect["tokenId"]), number(&expect["generation"])), "{name}");
            assert_eq!(life(token.until), expect["lifeMs"].as_u64(), "{name}");
            let previous = token.previous().map(|previous| (previous.id(), life(previous.until)));
            assert_eq!(previous, expect["previousId"].as_str().map(|id| (id, expect["previousLifeMs"].as_u64())), "{name}");
        }
        Err(Error::NoToken { reason, words, .. }) => {
            assert!(expect["tokenId"].is_null(), "{name}");
            assert_eq!((reason.to_string(), words), (text(&expect["status"]), text(&expect["statusReason"])), "{name}");
            assert_ne!(reason, Reason::Waiting);
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn messages_say_what_the_vectors_say() {
    for vector in vectors("/messages") {
        let (name, expect, bytes) = (text(&vector["name"]), &vector["expect"], bytes(&vector));
        match &*text(&vector["message"]) {
            "GetResponse" => {
                let message = GetResponse::decode(&*bytes).unwrap();
                compare(&name, message.state.unwrap(), message.server_time, expect);
            }
            "ForceRefreshResponse" => {
                let message = ForceRefreshResponse::decode(&*bytes).unwrap();
                let outcome = ForceRefreshOutcome::try_from(message.outcome).map_or("UNKNOWN", |outcome| outcome.as_str_name());
                assert_eq!(outcome.trim_start_matches("FORCE_REFRESH_OUTCOME_"), text(&expect["outcome"]), "{name}");
                compare(&name, message.state.unwrap(), message.server_time, expect);
            }
            _ => {
                let message = WatchTokenResponse::decode(&*bytes).unwrap();
                let event = match message.event {
                    Some(Told::State(state)) => {
                        compare(&name, state, message.server_time, expect);
                        Some("state")
                    }
                    Some(Told::Removed(removed)) => {
                        assert_eq!(removed.app_id, text(&expect["app"]), "{name}");
                        Some("removed")
                    }
                    Some(Told::Goaway(goaway)) => {
                        let after = goaway.reconnect_after.map_or(Duration::ZERO, crate::error::duration_of);
                        assert_eq!(Some(after.as_millis() as u64), expect["reconnectAfterMs"].as_u64(), "{name}");
                        Some("goaway")
                    }
                    Some(Told::Heartbeat(_)) => Some("heartbeat"),
                    None => None,
                };
                assert_eq!(event, expect["event"].as_str(), "{name}");
            }
        }
    }
}

#[test]
fn errors_say_what_the_vectors_say() {
    for vector in vectors("/errors") {
        let (trailers, expect) = (&vector["grpcTrailers"], &vector["expect"]);
        let details = BASE64_STANDARD_NO_PAD.decode(text(&trailers["grpc-status-details-bin"]).trim_end_matches('=')).unwrap();
        let code = Code::from_i32(text(&trailers["grpc-status"]).parse().unwrap());
        let error = RpcError::of_call(&Status::with_details(code, text(&expect["message"]), details.into()));
        assert_eq!((error.code, &error.reason, &error.app), (&*text(&expect["code"]), &text(&expect["reason"]), &text(&expect["app"])));
        assert_eq!(error.retry_after.as_millis() as u64, expect["retryMs"].as_u64().unwrap_or_default());
    }
}

#[tokio::test]
async fn a_value_is_taken_or_not_as_the_vectors_say() {
    for vector in vectors("/limits/values") {
        let Some(Told::State(state)) = WatchTokenResponse::decode(&*bytes(&vector)).unwrap().event else { panic!("no state") };
        let inner = Inner::new(builder("127.0.0.1:1", &[&state.app_id]).0, Some(runtime::Handle::current()));
        let client = Client { handle: Arc::new(Handle { inner: Arc::clone(&inner) }) };
        let taken = client.app(&state.app_id.clone()).unwrap().app.take(&inner, state, Some(SystemTime::UNIX_EPOCH.into()));
        assert_eq!(taken.is_ok(), vector["expect"]["isAccepted"] == true, "{}", vector["name"]);
    }
}
