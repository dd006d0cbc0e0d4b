use std::error::Error as _;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use crate::error::RpcError;
use crate::gen::{WatchTokenRequest, WatchTokenResponse};
use crate::options::ClientBuilder;

/// The longest message that is taken, in bytes.
const MESSAGE_MAX: usize = 4 << 20;

/// One connection to the broker, for one stream or one call. It is closed when it is dropped.
pub(crate) struct Connection {
    grpc: Grpc<Channel>,
    bearer: Option<String>,
}

impl Connection {
    pub async fn open(options: &ClientBuilder) -> Result<Connection, RpcError> {
        let bearer = options.bearer()?;
        let endpoint = options.endpoint()?;
        let connect = options.timing.connect;
        let channel = timeout(connect, endpoint.connect())
            .await
            .map_err(|_| RpcError::unavailable(format!("no connection to {} within {connect:?}", options.uri)))?
            .map_err(|error| {
                let failed = RpcError::no_connection(error.source().unwrap_or(&error));
                RpcError { words: format!("no connection to {}: {}", options.uri, failed.words), ..failed }
            })?;
        Ok(Connection { grpc: Grpc::new(channel).max_decoding_message_size(MESSAGE_MAX), bearer })
    }

    pub async fn watch(&mut self, request: WatchTokenRequest) -> Result<Streaming<WatchTokenResponse>, RpcError> {
        self.ready().await?;
        let request = self.showing(request);
        let path = PathAndQuery::from_static("/lingpai.v1.TokenService/WatchToken");
        let answer = self.grpc.server_streaming(request, path, ProstCodec::default()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| RpcError::of_call(&status))
    }

    pub async fn unary<In, Out>(&mut self, path: &'static str, request: In) -> Result<Out, RpcError>
    where
        In: Message + Send + Sync + 'static,
        Out: Message + Default + Send + Sync + 'static,
    {
        self.ready().await?;
        let request = self.showing(request);
        let answer = self.grpc.unary(request, PathAndQuery::from_static(path), ProstCodec::<In, Out>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| RpcError::of_call(&status))
    }

    async fn ready(&mut self) -> Result<(), RpcError> {
        self.grpc.ready().await.map_err(|error| RpcError::no_connection(&error))
    }

    fn showing<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(value) = self.bearer.as_deref().and_then(authorization) {
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
}

/// None for what no header can have.
fn authorization(key: &str) -> Option<AsciiMetadataValue> {
    let mut value: AsciiMetadataValue = format!("Bearer {key}").parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    #[test]
    fn r18_the_key_is_marked_as_a_secret_for_whoever_logs_headers() {
        let value = super::authorization("SECRET").unwrap();
        assert_eq!((value.to_str().unwrap(), value.is_sensitive()), ("Bearer SECRET", true));
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
